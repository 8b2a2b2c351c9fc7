"""Every shape of a function through real sockets: what it returns, and that each chunk travels alone and at once."""

import json
import textwrap

import pytest

from support.functions_server import serve

FILES = {
    "api/values.py": """
        from starlette.responses import HTMLResponse, StreamingResponse
        VALUES = {"str": "é", "bytes": b"\\x00\\x01", "dict": {"a": "é"}, "list": [1, 2], "none": None, "int": 5,
                  "html": HTMLResponse("<p>", status_code=201, headers={"x-a": "1"})}
        async def GET(request):
            return VALUES[request.query_params["v"]]
        def POST(request):
            return VALUES[request.query_params["v"]]
        """,
    "api/agen.py": "async def GET():\n    for i in range(3):\n        yield f'{i};'\n",
    "api/gen.py": "def GET():\n    for i in range(3):\n        yield f'{i};'.encode()\n",
    "api/iterator.py": "async def GET():\n    return iter(['a', 'b'])\n",
    "api/typed.py": "content_type = 'text/event-stream'\n"
    + "def GET():\n    yield 'data: 1\\n\\n'\ndef POST():\n    return 'x'\n",
    "api/empty_first.py": """
        import asyncio
        async def GET():
            yield ""
            await asyncio.sleep(30)
        """,
    "app/api/items/[id]/route.py": """
        async def GET(request, params):
            return {"params": params, "path_params": request.path_params, "query": dict(request.query_params)}
        """,
    "api/rest/[...rest].py": """
        def GET(request, params):
            return {"params": params, "query": request.query_params.multi_items()}
        """,
    "api/sync_body.py": """
        def POST(request):
            return {"json": request.json(), "text": request.text(), "body": len(request.body())}
        def PUT(request):
            return {"pieces": sum(len(piece) for piece in request.stream())}
        def PATCH(request):
            form = request.form()
            return {key: form[key] for key in form}
        """,
    "api/async_body.py": """
        async def POST(request):
            async for piece in request.stream():
                if piece:
                    yield f"{len(piece)};"
        async def PUT(request):
            return {"json": await request.json(), "text": await request.text()}
        """,
    "api/asgi.py": """
        started = []
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                started.append(1)
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
                return
            body = f"{scope['path']}|{scope['root_path']}|{len(started)}|{scope['query_string'].decode()}".encode()
            headers = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"end"})
        """,
    "api/fast.py": """
        from fastapi import FastAPI
        from fastapi.responses import StreamingResponse
        app = FastAPI()
        @app.get("/api/fast/items/{n}")
        def item(n: int):
            return {"n": n}
        @app.get("/api/fast/stream")
        def stream():
            return StreamingResponse(iter(["a", "b"]), media_type="text/plain")
        """,
    "api/flask_app.py": """
        from flask import Flask, Response, request
        app = Flask(__name__)
        @app.get("/api/flask_app/stream")
        def stream():
            return Response((f"{i};" for i in range(3)), mimetype="text/plain")
        @app.post("/api/flask_app/echo")
        def echo():
            return {"got": request.get_json(), "te": request.headers.get("transfer-encoding")}
        """,
    "api/wsgi.py": """
        def app(environ, start_response):
            path = environ["PATH_INFO"]
            if path.endswith("/write"):
                write = start_response("200 OK", [("Content-Type", "text/plain")])
                write(b"w1;"); write(b"w2;")
                return [b"item"]
            if path.endswith("/late"):
                try:
                    start_response("200 OK", [])
                    raise ValueError("before the first byte")
                except ValueError:
                    import sys
                    start_response("418 Teapot", [("X-Late", "1")], sys.exc_info())
                return [b"late"]
            if path.endswith("/empty-then-error"):
                def items():
                    yield b""
                    raise ValueError("nothing was sent yet")
                start_response("200 OK", [])
                return items()
            start_response("200 OK", [("Content-Length", "4")])
            assert environ["wsgi.multithread"] is True and environ["SCRIPT_NAME"] == ""
            return [b"ab", b"cd"]
        """,
    "api/classic.py": """
        from http.server import BaseHTTPRequestHandler
        class handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.endswith("/empty"):
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(b"one;")
                self.wfile.write(self.client_address[0].encode())
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        """,
    "api/classic11.py": """
        from http.server import BaseHTTPRequestHandler
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_GET(self):
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for part in (b"ab", b"cde"):
                    self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part))
                self.wfile.write(b"0\\r\\n\\r\\n")
        """,
    "pages/api/page/[id].py": """
        def handler(req, res):
            if req.query.get("none"):
                return
            if req.query.get("value"):
                return {"returned": True}
            res.status(201).set_header("X-A", ["1", "2"])
            res.setHeader("content-type", "text/plain")
            assert res.write("w1;") is True
            res.write(b"w2;")
            res.end(f"{req.method} {req.query['id']} {req.cookies.get('c')} {req.headers['USER-AGENT']} {req.body}")
        """,
    "pages/api/apage.py": """
        async def handler(req, res):
            data = await req.json() if req.method == "PUT" else req.body
            if req.method == "GET":
                return res.redirect("/elsewhere")
            if req.method == "DELETE":
                return res.send("<p>x")
            res.status(200).json({"body": data if not isinstance(data, bytes) else len(data)})
        """,
    "vercel.json": json.dumps({"rewrites": [{"source": "/x/:id*", "destination": "/api/asgi"}]}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = {name: textwrap.dedent(text) for name, text in FILES.items()}
    with serve(tmp_path_factory.mktemp("shapes") / "project", files) as running:
        yield running


TEXT = "text/plain; charset=utf-8"
VALUES = [
    ("str", 200, TEXT, "é".encode()), ("bytes", 200, "application/octet-stream", b"\0\1"),
    ("dict", 200, "application/json", '{"a":"é"}'.encode()), ("list", 200, "application/json", b"[1,2]"),
    ("none", 204, None, b""), ("html", 201, "text/html; charset=utf-8", b"<p>"), ("int", 500, TEXT, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "kind", "body"), VALUES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_return_values(server, method, name, status, kind, body):
    answer = server.ask(method, f"/api/values?v={name}", body=b"" if method == "POST" else None)

    assert (status, kind, True) == (answer.status, answer.get("content-type"), answer.complete)
    if body is not None:
        assert body == answer.body
    if body:
        assert str(len(body)) == answer.get("content-length")


def test_a_bad_value_is_named_in_the_log(server):
    answer = server.get("/api/values?v=int")

    assert answer.get("x-streamward-error") == "FUNCTION_INVOCATION_FAILED"
    server.report(answer.get("x-streamward-id"))
    assert any("returned int" in entry["message"] for entry in server.logs(answer.get("x-streamward-id")))


STREAMS = [
    ("/api/agen", [b"0;", b"1;", b"2;"], TEXT), ("/api/gen", [b"0;", b"1;", b"2;"], TEXT),
    ("/api/iterator", [b"a", b"b"], TEXT), ("/api/typed", [b"data: 1\n\n"], "text/event-stream"),
    ("/api/flask_app/stream", [b"0;", b"1;", b"2;"], TEXT), ("/api/wsgi/write", [b"w1;", b"w2;", b"item"], "text/plain"),
    ("/api/fast/stream", [b"a", b"b"], TEXT), ("/api/classic", [b"one;", b"127.0.0.1"], "text/plain"),
    ("/api/classic11", [b"ab", b"cde"], None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "chunks", "kind"), STREAMS)
def test_streams_keep_their_chunks(server, path, chunks, kind):
    answer = server.get(path)

    assert (200, chunks, True, kind) == (answer.status, answer.chunks, answer.complete, answer.get("content-type"))
    assert (answer.get("cache-control"), answer.get("x-accel-buffering")) == ("no-cache, no-transform", "no")


def test_the_content_type_export_also_replaces_that_of_strings(server):
    assert server.ask("POST", "/api/typed", body=b"").get("content-type") == "text/event-stream"


def test_an_empty_first_item_sends_the_head(server):
    """The generator then sleeps for 30 s; the head is there at once."""
    connection = server.open("GET", "/api/empty_first", timeout=5)

    assert connection.head().status == 200
    connection.close()


def test_path_values(server):
    answer = server.get("/api/items/a%2Fb?id=x&q=1").json()

    expected = {"params": {"id": "a/b"}, "path_params": {"id": "a/b"}, "query": {"id": "x", "q": "1"}}
    assert expected == answer


def test_path_values_are_query_parameters_in_the_api_tree(server):
    answer = server.get("/api/rest/some/where?rest=x&q=1").json()

    assert answer == {"params": {"rest": ["some", "where"]}, "query": [["q", "1"], ["rest", "some"], ["rest", "where"]]}


def test_bodies_of_sync_functions_are_plain_values(server):
    data = json.dumps({"a": 1}).encode()

    assert {"json": {"a": 1}, "text": data.decode(), "body": len(data)} == server.ask(
        "POST", "/api/sync_body", body=data
    ).json()
    assert server.ask("PUT", "/api/sync_body", body=b"x" * 300_000).json() == {"pieces": 300_000}
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert server.ask("PATCH", "/api/sync_body", form, b"a=1&b=x+y").json() == {"a": "1", "b": "x y"}


def test_bodies_reach_async_functions_as_they_arrive(server):
    """The function answers the first piece before the second is sent."""
    connection = server.open("POST", "/api/async_body", {"transfer-encoding": "chunked"}, b"3\r\nabc\r\n")
    answer = connection.head()

    assert connection.chunk() == b"3;"
    connection.sock.sendall(b"5\r\nabcde\r\n0\r\n\r\n")
    assert (connection.chunk(), connection.rest(answer).complete) == (b"5;", True)
    connection.close()


def test_asgi_apps_see_the_original_path_and_everything_below(server):
    answer = server.get("/api/asgi/deep/er?q=1")

    assert (
        answer.chunks, [value for name, value in answer.headers if name == "set-cookie"],
    ) == ([b"/api/asgi/deep/er||1|q=1", b"end"], ["a=1", "b=2"])  # fmt: skip


def test_rewrites_show_the_original_path(server):
    assert server.get("/x/1/2").chunks[0] == b"/x/1/2||1|"


def test_fastapi_and_flask_apps(server):
    assert server.get("/api/fast/items/7").json() == {"n": 7}
    assert server.get("/api/fast/items/x").status == 422
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    answer = server.ask("POST", "/api/flask_app/echo", headers, b'7\r\n{"a":1}\r\n0\r\n\r\n')
    assert answer.json() == {"got": {"a": 1}, "te": None}


def test_wsgi_rules(server):
    assert ((a := server.get("/api/wsgi/late")).status, a.body, a.get("x-late")) == (418, b"late", "1")
    assert (
        (a := server.get("/api/wsgi/empty-then-error")).status, a.get("x-streamward-error"),
    ) == (500, "FUNCTION_INVOCATION_FAILED")  # fmt: skip
    assert ((a := server.get("/api/wsgi/x")).body, a.get("content-length")) == (b"abcd", "4")


def test_handler_classes(server):
    answer = server.ask("POST", "/api/classic/sub", body=b"hello")
    assert (answer.body, answer.get("content-length")) == (b"hello", "5")
    assert ((a := server.get("/api/classic/empty")).status, a.get("x-streamward-error")) == (502, "NO_RESPONSE_FROM_FUNCTION")
    assert ((a := server.ask("PUT", "/api/classic", body=b"")).status, a.get("allow")) == (405, "GET, POST, HEAD, OPTIONS")


def test_pages(server):
    headers = {"cookie": "c=7", "user-agent": "me", "content-type": "application/json"}
    answer = server.ask("POST", "/api/page/9", headers, b'{"a":1}')

    assert (
        answer.status, [v for n, v in answer.headers if n == "x-a"], answer.chunks,
    ) == (201, ["1", "2"], [b"w1;", b"w2;", b"POST 9 7 me {'a': 1}"])  # fmt: skip
    assert server.get("/api/page/1?value=1").json() == {"returned": True}
    assert ((a := server.get("/api/page/1?none=1")).status, a.get("x-streamward-error")) == (502, "NO_RESPONSE_FROM_FUNCTION")
    assert (
        (a := server.ask("POST", "/api/page/1", headers, b"{")).status, a.get("x-streamward-error"),
    ) == (400, "MALFORMED_REQUEST_BODY")  # fmt: skip


BODIES = [
    ("application/json", b'{"a":[1]}', {"a": [1]}), ("application/x-www-form-urlencoded", b"a=1&b=2", {"a": "1", "b": "2"}),
    ("text/plain", b"hi", "hi"), ("application/octet-stream", b"abc", 3), ("application/json", b"", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "expected"), BODIES)
def test_pages_bodies_by_content_type(server, kind, body, expected):
    assert server.ask("POST", "/api/apage", {"content-type": kind}, body).json() == {"body": expected}


def test_pages_helpers(server):
    assert ((a := server.get("/api/apage")).status, a.get("location")) == (307, "/elsewhere")
    assert server.ask("DELETE", "/api/apage").get("content-type") == "text/html; charset=utf-8"
    assert server.ask("PUT", "/api/apage", body=b"[1]").json() == {"body": [1]}


@pytest.mark.parametrize("body", [b"null", b"true", b"false", b"0", b'""', b"{}"])
def test_every_json_value_can_be_awaited(server, body):
    """As in JavaScript, where the handlers come from."""
    assert server.ask("PUT", "/api/apage", body=body).json() == {"body": json.loads(body)}


def test_methods_that_are_not_defined(server):
    answer = server.ask("PUT", "/api/gen", body=b"")
    assert (
        answer.status, answer.get("x-streamward-error"), answer.get("allow"),
    ) == (405, "INVALID_REQUEST_METHOD", "GET, HEAD, OPTIONS")  # fmt: skip
    assert ((a := server.ask("OPTIONS", "/api/gen")).status, a.get("allow")) == (204, "GET, HEAD, OPTIONS")


def test_head_runs_get_until_its_head_is_known(server):
    assert ((a := server.ask("HEAD", "/api/empty_first")).status, a.get("content-type"), a.body) == (200, TEXT, b"")
    assert server.ask("HEAD", "/api/values?v=str").get("content-length") == "2"
