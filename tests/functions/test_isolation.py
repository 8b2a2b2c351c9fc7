"""One pool for all functions, installed ``vercel.functions``, request bodies under pressure, heads over the limit."""

import socket
import textwrap

import pytest

from support.functions_server import serve

FILES = {
    "streamward.toml": '[functions]\nisolation = "app"\nvercel_compat = true\n'
    "max_body_bytes = 50000000\nmax_header_bytes = 4096\n",
    "api/a.py": "import os\ndef GET(): return str(os.getpid())\n",
    "api/b.py": "import os\ndef GET(): return str(os.getpid())\n",
    "api/broken.py": "import nothing_here\ndef GET(): ...\n",
    "api/compat.py": """
        import asyncio, os
        from vercel.cache.context import get_context
        async def work():
            await asyncio.sleep(0.2)
            print("through vercel")
        async def GET():
            import vercel_runtime
            get_context()["wait_until"](work())
            return {"deadline": vercel_runtime.get_deadline() is not None, "env": os.environ["VERCEL_REGION"]}
        """,
    # what an installed `vercel` package keeps its context in
    "vercel/__init__.py": "",
    "vercel/cache/__init__.py": "",
    "vercel/cache/context.py": """
        from contextvars import ContextVar
        held = ContextVar("held", default={})
        def set_context(**values):
            held.set(values)
        def get_context():
            return held.get()
        """,
    "api/upload.py": """
        import asyncio
        async def POST(request):
            await asyncio.sleep(0.5)
            total = 0
            async for piece in request.stream():
                total += len(piece)
            return {"total": total}
        """,
    "api/slow_reader.py": """
        async def GET():
            for _ in range(40):
                yield b"x" * 65536
        """,
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = {name: textwrap.dedent(text) for name, text in FILES.items()}
    with serve(tmp_path_factory.mktemp("isolation") / "project", files) as running:
        yield running


def test_all_functions_share_a_process(server):
    assert server.get("/api/a").body == server.get("/api/b").body


def test_an_import_error_breaks_only_its_own_function_here_too(server):
    assert (server.get("/api/broken").status, server.get("/api/a").status) == (500, 200)
    server.write("nothing_here.py", "")
    server.wait(lambda: server.get("/api/broken").status == 204, 5)


def test_vercel_functions_find_their_runtime(server):
    answer = server.get("/api/compat")

    assert answer.json() == {"deadline": True, "env": "dev1"}
    assert answer.get("x-vercel-id") == answer.get("x-streamward-id")
    server.report(answer.get("x-streamward-id"))
    assert "through vercel" in [entry["message"] for entry in server.logs(answer.get("x-streamward-id"))]


def test_errors_have_their_twin_header(server):
    assert server.ask("PUT", "/api/a", body=b"").get("x-vercel-error") == "INVALID_REQUEST_METHOD"


def test_a_body_nobody_reads_yet_is_not_piled_up(server):
    """The function sleeps before it reads; the client is held back meanwhile, then everything arrives."""
    connection = server.open("POST", "/api/upload", {"content-length": str(40 << 20)})
    connection.sock.settimeout(0.2)
    block, sent = b"x" * (1 << 20), 0
    try:
        while sent < 40 << 20:
            sent += connection.sock.send(block)
    except TimeoutError:
        pass
    assert sent < 30 << 20

    connection.sock.settimeout(20)
    connection.sock.sendall(b"x" * ((40 << 20) - sent))

    assert connection.rest(connection.head()).json() == {"total": 40 << 20}


def test_a_slow_reader_gets_everything_although_the_function_is_long_done(server):
    connection = server.open("GET", "/api/slow_reader")
    head = connection.head()
    server.wait(lambda: connection.sock.recv(1, socket.MSG_PEEK))

    answer = connection.rest(head)

    assert (len(answer.body), answer.complete) == (40 * 65536, True)


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/api/a", {"x-long": "x" * 5000}, 431, "REQUEST_HEADER_TOO_LARGE"),
        ("/api/a", {"bad name": "1"}, 400, "MALFORMED_REQUEST_HEADER"),
    ],
)
def test_heads_that_are_refused(server, path, headers, status, code):
    answer = server.ask("GET", path, headers)

    assert (status, code, True) == (answer.status, answer.get("x-streamward-error"), bool(answer.get("x-streamward-id")))
