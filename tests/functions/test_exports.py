"""Shapes and config exports, read without importing."""

import pytest

from streamward.functions.exports import inspect

BASE = "from http.server import BaseHTTPRequestHandler\n"
SHAPES = [
    ("api", "def GET(): return 'x'", "methods", ("GET",)),
    ("app", "async def POST(request, params): ...\ndef GET(request): ...", "methods", ("GET", "POST")),
    ("api", "from lib import GET", "methods", ("GET",)),
    ("api", "PATCH = make()", "methods", ("PATCH",)),
    ("api", "try:\n    import x\nexcept ImportError:\n    x = None\nasync def GET(): ...", "methods", ("GET",)),
    ("api", "async def app(scope, receive, send): ...", "asgi", ("*",)),
    ("api", "def app(environ, start_response): ...", "wsgi", ("*",)),
    ("app", "from fastapi import FastAPI\napp = FastAPI()", "asgi", ("*",)),
    ("api", "from flask import Flask\napp = Flask(__name__)", "wsgi", ("*",)),
    ("api", "import flask\napplication = flask.Flask(__name__)", "wsgi", ("*",)),
    ("api", "import falcon\napp = falcon.App()", "wsgi", ("*",)),
    ("api", "import falcon.asgi\napp = falcon.asgi.App()", "asgi", ("*",)),
    ("api", "from flask import Flask\ndef make():\n    app = Flask(__name__)\n    return app\napp = make()", "wsgi", ("*",)),
    ("api", "class A:\n    def __call__(self, environ, start_response): ...\napp = A()", "wsgi", ("*",)),
    ("api", BASE + "class handler(BaseHTTPRequestHandler):\n    def do_GET(self): ...", "handler", ("GET",)),
    ("api", BASE + "class B(BaseHTTPRequestHandler): ...\nclass Handler(B): ...", "handler", ("*",)),
    ("pages", "def handler(req, res): ...", "pages", ("*",)),
    ("pages", "async def handler(req): ...", "pages", ("*",)),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "source", "kind", "methods"), SHAPES)
def test_shapes_are_found_statically(tree, source, kind, methods):
    facts = inspect(source, "api/x.py", tree)

    assert (kind, methods, ()) == (facts.kind, facts.methods, facts.problems)


PROBLEMS = [
    ("api", "def GET(:\n", "SYNTAX_ERROR", 1),
    ("api", "x = 1\n\ndef GET()\n    pass\n", "SYNTAX_ERROR", 3),
    ("api", "def GET():\n\tif 1:\n        pass\n", "SYNTAX_ERROR", 3),
    ("api", "print(\0)", "SYNTAX_ERROR", 1),
    ("api", "", "NO_ENTRYPOINT", 1),
    ("api", "def get(): ...", "NO_ENTRYPOINT", 1),
    ("pages", "def other(req, res): ...", "NO_ENTRYPOINT", 1),
    ("api", "def GET(): ...\n\napp = object()", "AMBIGUOUS_ENTRYPOINT", 3),
    ("api", "def app(environ, start_response): ...\ndef handler(req, res): ...", "AMBIGUOUS_ENTRYPOINT", 2),
    ("pages", "def GET(): ...", "INVALID_ENTRYPOINT", 1),
    ("pages", "\nasync def app(scope, receive, send): ...", "INVALID_ENTRYPOINT", 2),
    ("api", "def handler(req, res): ...", "INVALID_ENTRYPOINT", 1),
    ("app", "from http.server import BaseHTTPRequestHandler\nclass handler(BaseHTTPRequestHandler): ...",
     "INVALID_ENTRYPOINT", 2),
    ("api", "class handler: ...", "INVALID_ENTRYPOINT", 1),
    ("api", "def GET(a, b, c): ...", "INVALID_ENTRYPOINT", 1),
    ("api", "def GET(request, *, must): ...", "INVALID_ENTRYPOINT", 1),
    ("api", "async def app(a, b): ...", "INVALID_ENTRYPOINT", 1),
    ("api", "def app(a, b, c): ...", "INVALID_ENTRYPOINT", 1),
    ("api", "app = 5", "INVALID_ENTRYPOINT", 1),
    ("pages", "def handler(): ...", "INVALID_ENTRYPOINT", 1),
    ("pages", "def handler(a, b, c): ...", "INVALID_ENTRYPOINT", 1),
    ("api", "def GET(): ...\nMAX_DURATION = 5", "UNKNOWN_CONFIG", 2),
    ("api", "maxduration = 5\ndef GET(): ...", "UNKNOWN_CONFIG", 1),
    ("api", "def GET(): ...\nmaxConcurrency = 5", "UNKNOWN_CONFIG", 2),
    ("api", "def GET(): ...\nmax_duration = 60 * 5", "NON_LITERAL_CONFIG", 2),
    ("api", "from limits import max_duration\ndef GET(): ...", "NON_LITERAL_CONFIG", 1),
    ("api", "def GET(): ...\nif 1:\n    workers = 2", "NON_LITERAL_CONFIG", 3),
    ("api", "def GET(): ...\nmax_duration = 0", "INVALID_CONFIG_VALUE", 2),
    ("api", "def GET(): ...\nmaxDuration = 86401", "INVALID_CONFIG_VALUE", 2),
    ("api", "def GET(): ...\nmax_duration = True", "INVALID_CONFIG_VALUE", 2),
    ("api", "def GET(): ...\nidle_timeout = -1", "INVALID_CONFIG_VALUE", 2),
    ("api", "def GET(): ...\ncancel_on_disconnect = 'yes'", "INVALID_CONFIG_VALUE", 2),
    ("api", "def GET(): ...\nmax_concurrency = 1.5", "INVALID_CONFIG_VALUE", 2),
    ("api", "def GET(): ...\ncontent_type = 'a\\r\\nb'", "INVALID_CONFIG_VALUE", 2),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "source", "code", "line"), PROBLEMS)
def test_each_mistake_has_its_code_and_line(tree, source, code, line):
    facts = inspect(source, "api/x.py", tree)

    assert [("api/x.py", line, code)] == [(p.file, p.line, p.code) for p in facts.problems]


def test_exports_become_settings():
    """Aliases are folded, annotations are fine, ignored names are remembered."""
    facts = inspect("maxDuration: int = 7\nworkers = 2\nruntime = 'edge'\ndef GET(): ...", "api/x.py", "api")

    assert (facts.config, facts.ignored) == ({"max_duration": 7, "workers": 2}, ("runtime",))


def test_an_imported_app_is_followed_inside_the_project(tmp_path):
    """``from main import app`` takes the kind of main.py's app."""
    (tmp_path / "main.py").write_text("from flask import Flask\napp = Flask(__name__)\n")

    assert inspect("from main import app", "api/index.py", "api", (tmp_path,)).kind == "wsgi"
