"""How responses end: properly, or visibly cut; error bodies; deadlines; hostile functions."""

import json
import textwrap
import time

import pytest

from support.functions_server import alive, serve, state

FILES = {
    "api/boom.py": """
        content_type = "text/event-stream"
        def GET(request):
            where = request.query_params["at"]
            if where == "start":
                raise RuntimeError("secret words")
            yield "data: 1\\n\\n"
            if where == "middle":
                yield "data: half"
            raise RuntimeError("secret words")
        """,
    "api/boomtext.py": "async def GET():\n    yield 'partial'\n    raise RuntimeError('x')\n",
    "api/short.py": """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "10")])
            return [b"abc"]
        """,
    "api/badheader.py": """
        from starlette.responses import Response
        async def GET():
            response = Response("x")
            response.raw_headers.append((b"x-a", b"1\\r\\nx-b: 2"))
            return response
        """,
    "api/crash.py": """
        import ctypes, os
        async def GET():
            yield "one"
            print("last words")
            os._exit(3)
        def POST():
            return "fine"
        def PUT():
            ctypes.string_at(0)
        """,
    "api/slow.py": """
        import asyncio, time
        max_duration = 0.5
        told = []
        async def GET(request):
            how = request.query_params["how"]
            if how == "sleep":
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    print("told")
                    raise
            if how == "spin":
                while True:
                    pass
            if how == "stream":
                yield "data: 1\\n\\n"
                await asyncio.sleep(30)
            if how == "quick":
                yield "ok"
        content_type = "text/event-stream"
        def POST(request):
            if request.query_params["how"] == "block":
                time.sleep(30)
            while True:
                pass
        """,
    "api/first.py": """
        import asyncio
        first_byte_timeout = 0.3
        idle_timeout = 0.4
        async def GET(request):
            if "late" in request.query_params:
                await asyncio.sleep(30)
            yield "a"
            await asyncio.sleep(30)
        """,
    "api/beat.py": """
        import asyncio
        sse_heartbeat = 0.2
        content_type = "text/event-stream"
        async def GET():
            await asyncio.sleep(0.5)
            yield "data: 1\\n\\n"
            yield "data: ha"
            await asyncio.sleep(0.5)
            yield "lf\\n\\n"
        """,
    "api/steady.py": """
        import asyncio
        async def GET():
            for _ in range(150):
                yield "x"
                await asyncio.sleep(0.02)
        """,
    "api/cap.py": """
        import asyncio
        max_concurrency = 1
        queue_size = 1
        queue_timeout = 0.5
        async def GET():
            yield "a"
            await asyncio.sleep(1.5)
        """,
    "api/hungry.py": """
        import asyncio
        memory_mb = 128
        kept = []
        def GET():
            try:
                bytearray(300 << 20)
            except MemoryError:
                return "refused"
            return "given"
        async def POST():
            kept.append(bytearray(150 << 20))
            for _ in range(30):
                yield "x"
                await asyncio.sleep(0.1)
        """,
    "api/flood.py": """
        produced = 0
        async def GET():
            global produced
            while True:
                produced += 65536
                yield b"x" * 65536
        async def POST():
            return {"produced": produced}
        """,
    "api/stop_self.py": """
        import os, signal
        async def GET():
            os.kill(os.getpid(), signal.SIGSTOP)
            return "never"
        def POST():
            return "fine"
        """,
    "api/importerror.py": "import nothing_of_that_name\ndef GET(): ...\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = {name: textwrap.dedent(text) for name, text in FILES.items()}
    with serve(tmp_path_factory.mktemp("endings") / "project", files) as running:
        yield running


def test_an_error_before_the_first_byte_has_its_status(server):
    """JSON, HTML or text by preference; no exception text under serve."""
    answers = {
        kind: server.get("/api/boom?at=start", {"accept": accept})
        for kind, accept in (
            ("application/json", "application/json"),
            ("text/html", "text/html,*/*;q=0.8"),
            ("text/plain", "*/*"),
        )
    }

    for kind, answer in answers.items():
        identity = answer.get("x-streamward-id")
        assert (answer.status, answer.get("x-streamward-error")) == (500, "FUNCTION_INVOCATION_FAILED")
        assert answer.get("content-type").startswith(kind)
        assert identity in answer.text
        assert "secret" not in answer.text
    assert {"code", "message", "request_id"} == set(answers["application/json"].json()["error"])
    assert answers["text/plain"].text.split("\n\n")[1] == "FUNCTION_INVOCATION_FAILED"


def test_an_event_stream_that_fails_says_so_at_an_event_boundary(server):
    answer = server.get("/api/boom?at=end")

    event, data, *_ = answer.chunks[-1].decode().split("\n")
    assert (answer.status, answer.chunks[0], event, answer.complete) == (200, b"data: 1\n\n", "event: error", False)
    error = json.loads(data.removeprefix("data: "))["error"]
    assert ("FUNCTION_INVOCATION_FAILED", answer.get("x-streamward-id")) == (error["code"], error["request_id"])


@pytest.mark.parametrize(("path", "last"), [("/api/boom?at=middle", b"data: half"), ("/api/boomtext", b"partial")])
def test_elsewhere_a_failure_is_a_cut(server, path, last):
    answer = server.get(path)

    assert (last, False) == (answer.chunks[-1], answer.complete)
    report = server.report(answer.get("x-streamward-id"))
    assert (report["outcome"], report["statusCode"], report["code"]) == ("error", -1, "FUNCTION_INVOCATION_FAILED")


def test_fewer_bytes_than_announced_never_look_complete(server):
    answer = server.get("/api/short")

    assert (answer.body, answer.complete) == (b"abc", False)


def test_header_injection_is_a_500(server):
    assert server.get("/api/badheader").status == 500


def test_a_crash_cuts_its_own_stream_only(server):
    steady = server.open("GET", "/api/steady")
    begun = steady.head()

    answer = server.get("/api/crash")
    began = time.monotonic()
    after = server.ask("POST", "/api/crash", body=b"")

    assert (answer.chunks, answer.complete) == ([b"one"], False)
    assert (after.status, time.monotonic() - began < 1) == (200, True)
    assert (len(steady.rest(begun).chunks), begun.complete) == (150, True)
    report = server.report(answer.get("x-streamward-id"))
    assert (report["outcome"], report["statusCode"]) == ("crashed", -1)
    assert any(entry["message"] == "last words" for entry in server.logs(answer.get("x-streamward-id")))


def test_a_segfault_leaves_its_stack_in_the_log(server):
    answer = server.ask("PUT", "/api/crash", body=b"")

    assert answer.status == 500
    server.report(answer.get("x-streamward-id"))
    fatal = next(e for e in server.logs(answer.get("x-streamward-id")) if e["type"] == "fatal")
    assert "api/crash.py" in fatal["message"]


ACCEPTS = (("application/json", "application/json"), ("text/html", "text/html,*/*;q=0.8"), ("text/plain", "*/*"))
OVERDUE = [("GET", "sleep"), ("GET", "spin"), ("POST", "block"), ("POST", "spin")]


@pytest.mark.parametrize(("method", "how"), OVERDUE)
def test_the_client_is_answered_at_the_limit_whatever_the_code_does(server, method, how):
    before = set(server.workers())
    began = time.monotonic()
    answer = server.ask(method, f"/api/slow?how={how}")
    took = time.monotonic() - began

    assert (answer.status, answer.get("x-streamward-error")) == (504, "FUNCTION_INVOCATION_TIMEOUT")
    assert 0.45 < took < 0.9
    began = time.monotonic()
    assert server.get("/api/slow?how=quick").body == b"ok"
    assert time.monotonic() - began < 1
    report = server.report(answer.get("x-streamward-id"))
    assert (report["outcome"], report["statusCode"]) == ("timeout", 504)
    entries = server.logs(answer.get("x-streamward-id"))
    if how == "sleep":
        assert "told" in [entry["message"] for entry in entries]
        assert before == set(server.workers())
    else:
        fatal = next(entry for entry in entries if entry["type"] == "fatal")
        assert "api/slow.py" in fatal["message"]
        server.wait(lambda: not all(alive(pid) for pid in before), 2)


def test_a_time_out_in_mid_stream_cuts_with_a_last_event(server):
    answer = server.get("/api/slow?how=stream")

    assert (answer.chunks[0], answer.complete) == (b"data: 1\n\n", False)
    assert b"FUNCTION_INVOCATION_TIMEOUT" in answer.chunks[1]


def test_first_byte_and_idle_limits(server):
    began = time.monotonic()
    assert server.get("/api/first?late=1").status == 504
    assert 0.25 < time.monotonic() - began < 0.7
    began = time.monotonic()
    answer = server.get("/api/first")
    assert (answer.chunks, answer.complete) == ([b"a"], False)
    assert 0.35 < time.monotonic() - began < 0.9


def test_heartbeats_come_only_between_events(server):
    answer = server.get("/api/beat")

    beat = b": keep-alive\n\n"
    assert [beat, beat, b"data: 1\n\n", b"data: ha", b"lf\n\n"] == answer.chunks


def test_a_full_queue_is_throttled(server):
    first = server.open("GET", "/api/cap")
    first.head()
    second = server.open("GET", "/api/cap")
    server.wait(lambda: server.metric("streamward_queued", function="api/cap.py") == 1)

    third = server.get("/api/cap")

    assert (third.status, third.get("x-streamward-error"), third.get("retry-after")) == (503, "FUNCTION_THROTTLED", "1")
    assert server.get("/_streamward/ready").status == 503
    assert server.report(third.get("x-streamward-id"))["outcome"] == "throttled"
    assert second.head().status == 503  # queue_timeout
    first.close()


def test_a_client_that_leaves_the_queue_frees_its_place(server):
    first = server.open("GET", "/api/cap")
    first.head()
    second = server.open("GET", "/api/cap")
    server.wait(lambda: server.metric("streamward_queued", function="api/cap.py") == 1)

    second.close()

    server.wait(lambda: server.metric("streamward_queued", function="api/cap.py") == 0, 1)
    first.close()


def test_memory_limits(server):
    """Twice the limit is refused to the code; over the limit the worker is replaced, its response goes on."""
    assert server.get("/api/hungry").body == b"refused"
    answer = server.ask("POST", "/api/hungry", body=b"")

    assert (len(answer.chunks), answer.complete) == (30, True)
    assert any(entry.get("code") == "MEMORY_LIMIT" for entry in server.logs())
    assert server.metric("streamward_worker_restarts_total", function="api/hungry.py", reason="memory") >= 1


def test_a_client_that_does_not_read_stops_the_producer(server):
    connection = server.open("GET", "/api/flood")
    connection.head()
    connection.file.read(100)
    seen = []

    def settled() -> bool:
        seen.append(server.ask("POST", "/api/flood", body=b"").json()["produced"])
        return len(seen) > 20 and seen[-1] == seen[-20]

    server.wait(settled)
    assert seen[-1] < 16 << 20
    connection.close()


def test_a_frozen_worker_is_passed_by(server):
    """The worker stops itself; a request handed to it afterwards goes to another one."""
    first = server.open("GET", "/api/stop_self")
    server.wait(lambda: any(state(pid) == "T" for pid in server.workers()))

    assert server.ask("POST", "/api/stop_self", body=b"").body == b"fine"
    first.close()


def test_an_import_error_breaks_its_function_only(server):
    answer = server.get("/api/importerror")

    assert (answer.status, answer.get("x-streamward-error")) == (500, "FUNCTION_INVOCATION_FAILED")
    assert any("nothing_of_that_name" in entry["message"] for entry in server.logs())
    (server.folder / "nothing_of_that_name.py").write_text("")
    server.write("api/importerror.py", "import nothing_of_that_name\ndef GET(): return 'cured'\n")
    server.wait(lambda: server.get("/api/importerror").body == b"cured", 5)


def test_not_found(server):
    for path in ("/nope", "/api/../x", "/streamward.toml", "/.env", "/api/nope"):
        answer = server.get(path)
        assert (answer.status, answer.get("x-streamward-error"), bool(answer.get("x-streamward-id"))) == (
            404,
            "NOT_FOUND",
            True,
        )
