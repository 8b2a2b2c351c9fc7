"""The client leaves: every shape is told within 100 ms, and what may survive survives."""

import textwrap
import time

import pytest

from support.functions_server import serve

FILES = {
    "api/agen.py": """
        import asyncio
        async def GET():
            try:
                while True:
                    yield "x"
                    await asyncio.sleep(0.02)
            finally:
                print("told")
        async def POST():
            try:
                await asyncio.sleep(30)
            finally:
                print("told")
        """,
    "api/at_yield.py": """
        async def GET():
            try:
                while True:
                    yield b"x" * 65536
            finally:
                print("told")
        """,
    "api/gen.py": """
        import time
        def GET():
            try:
                while True:
                    yield "x"
                    time.sleep(0.02)
            finally:
                print("told")
        """,
    "api/starlette_stream.py": """
        import asyncio, time
        from starlette.responses import StreamingResponse
        async def GET():
            async def items():
                try:
                    while True:
                        yield "x"
                        await asyncio.sleep(0.02)
                finally:
                    print("told")
            return StreamingResponse(items())
        async def POST():
            def items():
                try:
                    while True:
                        yield "x"
                        time.sleep(0.02)
                finally:
                    print("told")
            return StreamingResponse(items())
        """,
    "api/wsgi.py": """
        import time
        class Items:
            def __iter__(self):
                while True:
                    yield b"x"
                    time.sleep(0.02)
            def close(self):
                print("told")
        def app(environ, start_response):
            start_response("200 OK", [])
            return Items()
        """,
    "api/asgi.py": """
        import asyncio
        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise RuntimeError
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await receive()
            if scope["path"].endswith("/receive"):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                print("told" if (await receive())["type"] == "http.disconnect" else "wrong")
            elif scope["path"].endswith("/send"):
                try:
                    while True:
                        await send({"type": "http.response.body", "body": b"x", "more_body": True})
                        await asyncio.sleep(0.02)
                except OSError:
                    print("told")
            else:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    print("told")
                    raise
        """,
    "api/classic.py": """
        import time
        from http.server import BaseHTTPRequestHandler
        class handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b"x")
                        time.sleep(0.02)
                except BrokenPipeError:
                    print("told")
        """,
    "pages/api/page.py": """
        import time
        def handler(req, res):
            try:
                while True:
                    res.write("x")
                    time.sleep(0.02)
            except BrokenPipeError:
                print("told")
        """,
    "pages/api/apage.py": """
        import asyncio
        async def handler(req, res):
            req.on("close", lambda: print("closed"))
            res.write("x")
            try:
                await asyncio.sleep(30)
            finally:
                print("told")
        """,
    "api/stubborn.py": """
        import asyncio
        cancel_on_disconnect = False
        async def GET():
            for i in range(10):
                yield "x" * 100_000
                await asyncio.sleep(0.02)
            print("told")
        """,
    "api/background.py": """
        import asyncio, logging, streamward as f
        from datetime import datetime, UTC
        async def later(word):
            await asyncio.sleep(0.3)
            print(word)
        async def fail():
            raise ValueError("in the background")
        async def GET():
            f.wait_until(later("survived"))
            f.wait_until(fail())
            left = (f.get_deadline() - datetime.now(UTC)).total_seconds()
            print("left", 250 < left <= 300)
            try:
                f.wait_until(5)
            except TypeError:
                print("typed")
            yield "x"
            if True:
                await asyncio.sleep(0.01)
        def POST():
            f.wait_until(later("from a thread"))
            return "x"
        async def PUT():
            f.wait_until(later("after leaving"))
            yield "x"
            await asyncio.sleep(30)
        """,
    "api/slow_cleanup.py": """
        import asyncio
        async def GET():
            try:
                yield "x"
                await asyncio.sleep(30)
            finally:
                for _ in range(2):
                    try:
                        await asyncio.sleep(30)
                    except asyncio.CancelledError:
                        pass
        """,
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = {name: textwrap.dedent(text) for name, text in FILES.items()}
    with serve(tmp_path_factory.mktemp("cancel") / "project", files) as running:
        yield running


CASES = [
    ("GET", "/api/agen"), ("GET", "/api/at_yield"), ("GET", "/api/gen"), ("GET", "/api/starlette_stream"),
    ("POST", "/api/starlette_stream"), ("GET", "/api/wsgi"), ("GET", "/api/asgi/receive"), ("GET", "/api/asgi/send"),
    ("GET", "/api/asgi/sleep"), ("GET", "/api/classic"), ("GET", "/api/page"), ("GET", "/api/apage"),
]  # fmt: skip


def entries_of(server, request_id):
    server.report(request_id)
    return server.logs(request_id)


@pytest.mark.parametrize(("method", "path"), CASES)
def test_code_is_told_within_100_ms(server, method, path):
    connection = server.open(method, path)
    request_id = connection.head().get("x-streamward-id")
    connection.file.read(3)

    connection.close()
    left_ms = time.time() * 1000

    entries = entries_of(server, request_id)
    told = next(entry for entry in entries if entry["message"] == "told")
    assert told["timestamp"] - left_ms < 100
    assert (entries[-1]["outcome"], entries[-1]["statusCode"]) == ("cancelled", 499)
    assert not [entry for entry in entries if entry["level"] == "error"]


def test_before_the_first_byte_too(server):
    before = {entry["id"] for entry in server.logs()}
    connection = server.open("POST", "/api/agen")
    server.wait(lambda: server.metric("streamward_in_flight", function="api/agen.py") == 1)

    connection.close()

    def told():
        return [e for e in server.logs() if e["id"] not in before and e["message"] == "told"]

    server.wait(told, 1)


def test_close_callbacks_of_pages_run(server):
    connection = server.open("GET", "/api/apage")
    request_id = connection.head().get("x-streamward-id")

    connection.close()

    assert "closed" in [entry["message"] for entry in entries_of(server, request_id)]


def test_without_cancellation_the_function_runs_to_its_end(server):
    connection = server.open("GET", "/api/stubborn")
    request_id = connection.head().get("x-streamward-id")

    connection.close()

    assert "told" in [entry["message"] for entry in entries_of(server, request_id)]


def test_wait_until_survives_a_normal_end_and_a_disconnect(server):
    answer = server.get("/api/background")
    entries = entries_of(server, answer.get("x-streamward-id"))
    messages = [entry["message"] for entry in entries]

    assert {"survived", "left True", "typed"} <= set(messages)
    assert any("in the background" in entry["message"] and entry["level"] == "error" for entry in entries)
    assert (entries[-1]["outcome"], entries[-1]["durationMs"] >= 300) == ("ok", True)
    answer = server.ask("POST", "/api/background", body=b"")
    assert "from a thread" in [entry["message"] for entry in entries_of(server, answer.get("x-streamward-id"))]
    connection = server.open("PUT", "/api/background")
    request_id = connection.head().get("x-streamward-id")
    connection.close()
    assert "after leaving" in [entry["message"] for entry in entries_of(server, request_id)]


def test_clean_up_that_does_not_end_retires_the_worker(server):
    before = server.metric("streamward_worker_restarts_total", function="api/slow_cleanup.py", reason="timeout")
    connection = server.open("GET", "/api/slow_cleanup")
    request_id = connection.head().get("x-streamward-id")

    connection.close()

    assert any(entry["type"] == "fatal" for entry in entries_of(server, request_id))
    after = server.metric("streamward_worker_restarts_total", function="api/slow_cleanup.py", reason="timeout")
    again = server.open("GET", "/api/slow_cleanup")
    assert (after - before, again.head().status) == (1, 200)
