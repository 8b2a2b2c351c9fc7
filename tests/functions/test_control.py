"""Control endpoints, metrics, header rules, limits, and the end of a server."""

import itertools
import os
import signal
import socket
import textwrap
import time
from pathlib import Path

import pytest

from support.functions_server import alive, serve

FILES = {
    "api/echo.py": """
        async def POST(request):
            return {"headers": request.headers.items(), "client": request.client.host, "n": len(await request.body())}
        async def GET():
            yield "a"
            yield "b"
        def PUT():
            from starlette.responses import Response
            headers = {"cache-control": "no-store", "server": "mine", "connection": "close", "x-streamward-id": "forged"}
            return Response("x", headers=headers)
        """,
    "api/own_cache.py": """
        from starlette.responses import StreamingResponse
        async def GET():
            return StreamingResponse(iter(["a"]), headers={"cache-control": "private", "x-accel-buffering": "yes"})
        """,
    "streamward.toml": "[functions]\nmax_body_bytes = 1000\n",
    ".env": "FROM_FILE=1\nBOTH=file\n",
    "api/environment.py": """
        import os
        def GET():
            return {k: os.environ.get(k) for k in ("FROM_FILE", "BOTH", "STREAMWARD", "STREAMWARD_ENV")}
        """,
}  # fmt: skip


def project(files):
    return {name: textwrap.dedent(text) for name, text in files.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("control") / "project", project(FILES), env={"BOTH": "real"}) as running:
        yield running


def test_live_and_ready(server):
    server.wait(lambda: server.get("/_streamward/ready").status == 200)

    assert server.get("/_streamward/ready").json() == {"ready": True}
    assert server.get("/_streamward/live").status == 200


def test_metrics_count_by_file(server):
    before = server.metric("streamward_invocations_total", function="api/echo.py", outcome="ok")
    answer = server.get("/api/echo")
    server.report(answer.get("x-streamward-id"))

    assert server.metric("streamward_invocations_total", function="api/echo.py", outcome="ok") - before == 1
    assert server.metric("streamward_stream_chunks_total", function="api/echo.py") >= 2
    assert server.metric("streamward_workers", function="api/echo.py") == 1
    text = server.get("/_streamward/metrics").text
    for name in (
        "streamward_invoke_duration_seconds_bucket", "streamward_ttfb_seconds_sum", "streamward_init_duration_seconds_count",
        "streamward_stream_bytes_total", "streamward_coldstarts_total", "streamward_worker_memory_bytes",
        "streamward_log_lines_total", "streamward_in_flight", "streamward_queued",
    ):  # fmt: skip
        assert name in text or name == "streamward_log_lines_total"


def test_logs_and_metrics_are_for_the_machine_itself(server):
    for name in ("logs", "metrics"):
        answer = server.get(f"/_streamward/{name}", {"x-forwarded-for": "1.2.3.4"})
        error = answer.json()["error"]
        assert (answer.status, answer.get("x-streamward-error"), error["code"]) == (403, "FORBIDDEN", "FORBIDDEN")
        assert (error["request_id"], "STREAMWARD_ADMIN_TOKEN" in error["message"]) == (answer.get("x-streamward-id"), True)
    assert server.get("/_streamward/nothing").status == 404


def test_a_token_opens_them_instead(tmp_path):
    with serve(tmp_path / "p", {"api/x.py": "def GET(): ...\n"}, env={"STREAMWARD_ADMIN_TOKEN": "t0p"}) as running:
        assert running.get("/_streamward/logs").status == 401
        assert running.get("/_streamward/logs", {"authorization": "Bearer t0p"}).status == 200


def test_forwarding_headers_tell_the_truth(server):
    forged = {
        "x-forwarded-for": "6.6.6.6", "x-forwarded-host": "evil", "x-forwarded-proto": "https", "x-real-ip": "6.6.6.6",
        "forwarded": "for=6.6.6.6", "x-streamward-evil": "1", "x-vercel-id": "1", "x-streamward-id": "forged-forged",
        "traceparent": "00-" + "c" * 32 + "-" + "d" * 16 + "-01",
    }  # fmt: skip
    answer = server.ask("POST", "/api/echo", forged, b"x")
    seen = dict(answer.json()["headers"])

    assert (
        seen["x-forwarded-for"], seen["x-forwarded-host"], seen["x-forwarded-proto"], seen["x-real-ip"],
    ) == ("127.0.0.1", "localhost", "http", "127.0.0.1")  # fmt: skip
    assert not {"forwarded", "x-streamward-evil", "x-vercel-id"} & set(seen)
    assert seen["x-streamward-id"] == answer.get("x-streamward-id") != "forged-forged"
    assert seen["traceparent"].split("-")[1] == "c" * 32


def test_response_headers(server):
    plain = server.ask("POST", "/api/echo", body=b"")
    own = server.ask("PUT", "/api/echo", body=b"")
    streamed = server.get("/api/own_cache")

    assert (
        plain.get("cache-control"), plain.get("x-content-type-options"), plain.get("server"),
    ) == ("public, max-age=0, must-revalidate", "nosniff", "streamward")  # fmt: skip
    assert (own.get("cache-control"), own.get("server"), len(own.get("x-streamward-id"))) == ("no-store", "mine", 24)
    assert (streamed.get("cache-control"), streamed.get("x-accel-buffering")) == ("private, no-transform", "yes")


def test_bodies_over_the_limit(server):
    stated = server.ask("POST", "/api/echo", {"content-length": "1001", "expect": "100-continue"})
    chunked = server.ask("POST", "/api/echo", {"transfer-encoding": "chunked"}, b"3e9\r\n" + b"x" * 1001 + b"\r\n")

    assert [(a.status, a.get("x-streamward-error")) for a in (stated, chunked)] == [(413, "FUNCTION_PAYLOAD_TOO_LARGE")] * 2
    assert server.ask("POST", "/api/echo", body=b"x" * 1000).json()["n"] == 1000


def test_environment(server):
    expected = {"FROM_FILE": "1", "BOTH": "real", "STREAMWARD": "1", "STREAMWARD_ENV": "production"}

    assert expected == server.get("/api/environment").json()


SLOW = {
    "api/slow.py": """
        import asyncio
        content_type = "text/event-stream"
        async def GET(request):
            for i in range(int(request.query_params["n"])):
                yield f"data: {i}\\n\\n"
                await asyncio.sleep(0.05)
        """,
    "api/app.py": """
        import asyncio, pathlib, subprocess
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                pathlib.Path("shutdown-ran").touch()
                await send({"type": "lifespan.shutdown.complete"})
            else:
                child = subprocess.Popen(["sleep", "60"])
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": str(child.pid).encode()})
        """,
    "streamward.toml": "[server]\ndrain_s = 1\n",
}


def test_sigterm_drains_then_cuts(tmp_path):
    """Short streams finish, long ones are cut with a last event, lifespan shutdown runs, exit 0, nothing is left."""
    with serve(tmp_path / "p", project(SLOW)) as running:
        running.get("/api/app")
        pids = [*running.workers(), running.process.pid]
        short, long = running.open("GET", "/api/slow?n=10"), running.open("GET", "/api/slow?n=400")
        heads = short.head(), long.head()

        running.process.send_signal(signal.SIGTERM)
        began = time.monotonic()

        finished, cut = short.rest(heads[0]), long.rest(heads[1])
        assert (len(finished.chunks), finished.complete) == (10, True)
        assert (cut.complete, b"SERVER_DRAINING" in cut.chunks[-1]) == (False, True)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port)).close()
        assert running.process.wait(10) == 0
        assert time.monotonic() - began < 4
        assert (running.folder / "shutdown-ran").exists()
        assert not any(alive(pid) for pid in pids)


def test_no_process_outlives_a_killed_server(tmp_path):
    with serve(tmp_path / "p", project(SLOW)) as running:
        child = int(running.get("/api/app").text)
        pids = [*running.workers(), child]

        running.process.kill()

        running.wait(lambda: not any(alive(pid) for pid in pids), 5)


def test_serve_refuses_a_broken_project(tmp_path):
    with pytest.raises(AssertionError, match=r"api/x\.py:1: NO_ENTRYPOINT"), serve(tmp_path / "p", {"api/x.py": "x = 1\n"}):
        pass


def test_descriptors_come_back(server):
    def count() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    server.get("/api/echo")
    before = count()
    for _ in range(50):
        server.get("/api/echo")

    server.wait(lambda: count() <= before + 2)
    assert Path(f"/proc/{server.process.pid}").exists()


def test_a_second_signal_ends_at_once(tmp_path):
    with serve(tmp_path / "p", project(SLOW) | {"streamward.toml": "[server]\ndrain_s = 30\n"}) as running:
        stream = running.open("GET", "/api/slow?n=400")
        head = stream.head()
        running.process.send_signal(signal.SIGTERM)
        running.wait(lambda: refused(running.port))
        pids = running.workers()

        began = time.monotonic()
        running.process.send_signal(signal.SIGINT)

        assert running.process.wait(5) == 1
        assert time.monotonic() - began < 1
        assert not stream.rest(head).complete
        running.wait(lambda: not any(alive(pid) for pid in pids), 5)


def refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


SPINNERS = {
    "api/spin.py": "max_duration = 2\nasync def GET():\n    while True: pass\ndef POST():\n    while True: pass\n",
    "api/steady.py": """
import asyncio
async def GET():
    for _ in range(150):
        yield 'x'
        await asyncio.sleep(0.02)
""",
    "streamward.toml": "[functions]\nmax_in_flight = 3\n",
}


def test_spinning_functions_do_not_disturb_their_neighbours(tmp_path):
    """No gap over 250 ms in a stream beside two spinning functions; one request more is over max_in_flight."""
    with serve(tmp_path / "p", SPINNERS) as running:
        steady = running.open("GET", "/api/steady")
        steady.head()
        spinning = running.open("GET", "/api/spin"), running.open("POST", "/api/spin", body=b"")
        arrivals = [time.monotonic()]
        while steady.chunk():
            arrivals.append(time.monotonic())
            if len(arrivals) == 20:
                refused_one = running.get("/api/steady")

        assert (refused_one.status, refused_one.get("x-streamward-error")) == (503, "FUNCTION_THROTTLED")
        assert len(arrivals) == 151
        assert max(later - sooner for sooner, later in itertools.pairwise(arrivals)) < 0.25
        assert [connection.head().status for connection in spinning] == [504, 504]
