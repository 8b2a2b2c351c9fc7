"""What a function file says about itself, read from its syntax tree; user code is never imported.

Finds the shape (methods, asgi, wsgi, handler class, pages) and the config exports. Which kinds a tree allows and
which values an export may have are tables here and in ``settings``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from streamward.functions.settings import ALIASES, EXPORT_NAMES, FUNCTION_KEYS, IGNORED_EXPORTS, Problem, near_export

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")
APP_NAMES = ("app", "application")
HANDLER_BASES = frozenset({"BaseHTTPRequestHandler", "SimpleHTTPRequestHandler", "CGIHTTPRequestHandler"})
ALLOWED_KINDS = {
    "app": frozenset({"methods", "asgi", "wsgi"}),
    "api": frozenset({"methods", "asgi", "wsgi", "handler"}),
    "pages": frozenset({"pages"}),
}
MAX_IMPORT_HOPS = 4  # `from main import app` is followed inside the project this far

WSGI_ROOTS = frozenset({"flask", "bottle", "pyramid", "werkzeug", "cherrypy", "webob", "pecan", "apiflask"})
WSGI_CALLS = frozenset({"get_wsgi_application", "WSGIHandler", "ASGItoWSGI", "ASGIMiddlewareToWSGI", "Flask"})


class Entry(Struct, frozen=True):
    """One candidate entry point: its kind, the name it is bound to, its line, and what is wrong with it."""

    kind: str
    name: str
    line: int
    wrong: str | None = None


class FileFacts(Struct, frozen=True):
    """Everything known of a function file. ``kind`` is "" when ``problems`` explain why there is none."""

    kind: str
    entrypoint: str
    methods: tuple[str, ...]
    config: dict[str, Any]
    ignored: tuple[str, ...]
    problems: tuple[Problem, ...]


class Module:
    """The top-level bindings of one parsed file, in source order, including those inside ``if``/``try``/``with``."""

    def __init__(self, tree: ast.Module, folders: tuple[Path, ...]) -> None:
        self.folders = folders
        self.bound: dict[str, ast.stmt] = {}
        self.imported: dict[str, str] = {}
        self.conditional: set[str] = set()
        for node, nested in statements(tree.body, nested=False):
            for name in bound_names(node):
                self.bound[name] = node
                if nested:
                    self.conditional.add(name)
            for name, source in imports(node):
                self.bound[name] = node
                self.imported[name] = source


def inspect(source: str, file: str, tree: str, folders: tuple[Path, ...] = ()) -> FileFacts:
    """The facts of one file of *tree* ("app", "api", "pages"); *folders* are where its imports are looked up."""
    try:
        parsed = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        line = getattr(exc, "lineno", None) or 1
        said = getattr(exc, "msg", None) or str(exc) or type(exc).__name__
        return FileFacts("", "", (), {}, (), (Problem(file, line, "SYNTAX_ERROR", said),))
    module = Module(parsed, folders)
    config, ignored, problems = read_config(module, file)
    entries = sorted(find_entries(module, tree), key=lambda entry: entry.line)
    kind, name, found = judge(entries, file, tree)
    methods = tuple(m for m in METHODS if any(e.name == m for e in entries)) if kind == "methods" else ("*",)
    if kind == "handler":
        methods = handler_methods(module, name)
    return FileFacts(kind, name, methods, config, ignored, (*found, *problems))


def judge(entries: list[Entry], file: str, tree: str) -> tuple[str, str, list[Problem]]:
    """(kind, entry name, problems) from the candidates in source order."""
    if not entries:
        wanted = {"pages": "a `handler(req, res)` function", "app": "GET, POST, ... functions or an `app`"}.get(
            tree, "GET, POST, ... functions, an `app`, or a `handler` class"
        )
        return "", "", [Problem(file, 1, "NO_ENTRYPOINT", f"expected {wanted}")]
    first = entries[0]
    for entry in entries[1:]:
        if family(entry.kind) != family(first.kind):
            said = f"`{entry.name}` ({entry.kind}) beside `{first.name}` ({first.kind}) on line {first.line}: keep one"
            return "", "", [Problem(file, entry.line, "AMBIGUOUS_ENTRYPOINT", said)]
    problems = [
        Problem(file, entry.line, "INVALID_ENTRYPOINT", f"`{entry.name}`: {entry.wrong}") for entry in entries if entry.wrong
    ]
    if not problems and first.kind not in ALLOWED_KINDS[tree]:
        said = f"`{first.name}` is of kind {first.kind}, which `{tree}/` does not serve"
        problems = [Problem(file, first.line, "INVALID_ENTRYPOINT", said)]
    return ("", "", problems) if problems else (first.kind, first.name, [])


def family(kind: str) -> str:
    return "app" if kind in ("asgi", "wsgi") else kind


def find_entries(module: Module, tree: str) -> Iterator[Entry]:
    for name, node in module.bound.items():
        if name in METHODS:
            yield Entry("methods", name, node.lineno, wrong_params(node, 0, 2, "(), (request) or (request, params)"))
        elif name in APP_NAMES and not ("app" in module.bound and name == "application"):
            kind, wrong = app_kind(module, name, MAX_IMPORT_HOPS)
            yield Entry(kind, name, node.lineno, wrong)
        elif name.lower() == "handler":
            yield from handler_entry(module, name, node, tree)


def handler_entry(module: Module, name: str, node: ast.stmt, tree: str) -> Iterator[Entry]:
    is_class = isinstance(node, ast.ClassDef)
    if is_class and not derives(module, name, MAX_IMPORT_HOPS):
        yield Entry("handler", name, node.lineno, "the class must derive from http.server.BaseHTTPRequestHandler")
    elif is_class or (tree != "pages" and imports_handler_class(module, name)):
        yield Entry("handler", name, node.lineno)
    elif name == "handler" and (tree == "pages" or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
        yield Entry("pages", name, node.lineno, wrong_params(node, 1, 2, "(req) or (req, res)"))


def wrong_params(node: ast.stmt, low: int, high: int, wanted: str) -> str | None:
    """What is wrong with the parameters of a ``def``; nothing can be said of other bindings."""
    if isinstance(node, ast.ClassDef):
        return f"a class, expected a function taking {wanted}"
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    positional = [*node.args.posonlyargs, *node.args.args]
    required_keywords = [arg for arg, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value is None]
    required = len(positional) - len(node.args.defaults)
    enough = len(positional) >= low or node.args.vararg is not None
    if required <= high and enough and not required_keywords:
        return None
    return f"takes ({', '.join(arg.arg for arg in positional)}), expected {wanted}"


def app_kind(module: Module, name: str, hops: int) -> tuple[str, str | None]:
    """("asgi" | "wsgi", what is wrong). An app whose kind cannot be seen counts as ASGI; the worker looks again."""
    node = module.bound.get(name)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return callable_kind(node, method=False)
    if isinstance(node, ast.ClassDef):
        return "asgi", "a class, expected an ASGI or WSGI application object"
    if name in module.imported:
        other, attribute = follow(module, name)
        return app_kind(other, attribute, hops - 1) if other is not None and hops else ("asgi", None)
    value = getattr(node, "value", None)
    if isinstance(value, ast.Name) and value.id in module.bound and hops:
        return app_kind(module, value.id, hops - 1)
    if isinstance(value, ast.Constant | ast.Dict | ast.List | ast.Set | ast.Tuple | ast.JoinedStr):
        return "asgi", "not callable, expected an ASGI or WSGI application"
    if isinstance(value, ast.Lambda):
        count = len(value.args.posonlyargs) + len(value.args.args)
        return ("wsgi", None) if count == 2 else ("asgi", None)
    return called_kind(module, value), None


def callable_kind(node: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> tuple[str, str | None]:
    count = len(node.args.posonlyargs) + len(node.args.args) - (1 if method else 0)
    if isinstance(node, ast.AsyncFunctionDef):
        said = None if count == 3 else f"async with {count} parameters, ASGI takes (scope, receive, send)"
        return "asgi", said
    said = None if count == 2 else f"{count} parameters, WSGI takes (environ, start_response), ASGI is `async def`"
    return "wsgi", said


def called_kind(module: Module, value: ast.expr | None) -> str:
    """The kind of ``app = Something(...)`` by where ``Something`` comes from or what its ``__call__`` takes."""
    if not isinstance(value, ast.Call):
        return "asgi"
    path = dotted(value.func)
    root = path.split(".")[0]
    definition = module.bound.get(root)
    if isinstance(definition, ast.ClassDef):
        for item in definition.body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name == "__call__":
                return callable_kind(item, method=True)[0]
    source = module.imported.get(root, root)
    wsgi_falcon = source.split(".")[0] == "falcon" and "asgi" not in f"{source}.{path}"
    if wsgi_falcon or source.split(".")[0] in WSGI_ROOTS or path.split(".")[-1] in WSGI_CALLS:
        return "wsgi"
    for item in getattr(definition, "body", ()) if isinstance(definition, ast.FunctionDef) else ():
        if isinstance(item, ast.Return | ast.Assign) and called_kind(module, item.value) == "wsgi":
            return "wsgi"  # an application factory: def create_app(): app = Flask(...); return app
    return "asgi"


def derives(module: Module, name: str, hops: int) -> bool:
    """Whether the class *name* derives from a request handler, as far as can be seen without importing."""
    node = module.bound.get(name)
    if name in module.imported:
        if module.imported[name].split(".")[-1] in HANDLER_BASES:
            return True
        other, attribute = follow(module, name)
        return other is None or (hops > 0 and derives(other, attribute, hops - 1))
    if not isinstance(node, ast.ClassDef):
        return False
    for base in node.bases:
        path = dotted(base)
        if path.split(".")[-1] in HANDLER_BASES:
            return True
        if hops and "." not in path and path in module.bound and derives(module, path, hops - 1):
            return True
    return False


def imports_handler_class(module: Module, name: str) -> bool:
    other, attribute = follow(module, name)
    return other is not None and isinstance(other.bound.get(attribute), ast.ClassDef)


def handler_methods(module: Module, name: str) -> tuple[str, ...]:
    """Methods of the ``do_*`` functions of the class, or ("*",) when it inherits some from elsewhere."""
    node = module.bound.get(name)
    if not isinstance(node, ast.ClassDef) or any(dotted(base).split(".")[-1] not in HANDLER_BASES for base in node.bases):
        return ("*",)
    if any(dotted(base).split(".")[-1] != "BaseHTTPRequestHandler" for base in node.bases):
        return ("*",)
    names = {n[3:] for item in node.body for n in bound_names(item) if n.startswith("do_")}
    return (*(m for m in METHODS if m in names), *sorted(names.difference(METHODS)))


def follow(module: Module, name: str) -> tuple[Module | None, str]:
    """The project file an imported name comes from, parsed, and the name there; (None, "") when it is not ours."""
    source = module.imported.get(name, "")
    path, _, attribute = source.rpartition(".")
    if not path:
        return None, ""
    relative = path.lstrip(".").replace(".", "/")
    for folder in module.folders:
        for file in (folder / f"{relative}.py", folder / relative / "__init__.py"):
            try:
                return Module(ast.parse(file.read_text("utf-8")), (file.parent, *module.folders)), attribute
            except (OSError, SyntaxError, ValueError, RecursionError):
                continue
    return None, ""


def read_config(module: Module, file: str) -> tuple[dict[str, Any], tuple[str, ...], list[Problem]]:
    config: dict[str, Any] = {}
    ignored: list[str] = []
    problems: list[Problem] = []
    for name, node in module.bound.items():
        near = near_export(name) if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if near is not None:
            problems.append(Problem(file, node.lineno, "UNKNOWN_CONFIG", f"`{name}` has no effect; write `{near}`"))
        if name not in EXPORT_NAMES:
            continue
        try:
            value = literal(module, name, node)
        except ValueError:
            if name in FUNCTION_KEYS or name in ALIASES or isinstance(node, ast.Assign | ast.AnnAssign):
                said = f"`{name}` must be a literal, so that it can be read without running the file"
                problems.append(Problem(file, node.lineno, "NON_LITERAL_CONFIG", said))
            continue
        if name in IGNORED_EXPORTS:
            ignored.append(name)
            continue
        key = ALIASES.get(name, name)
        wanted = FUNCTION_KEYS[key](value)
        if wanted is None:
            config[key] = value
        else:
            said = f"`{name}` must be {wanted}, not {value!r:.100}"
            problems.append(Problem(file, node.lineno, "INVALID_CONFIG_VALUE", said))
    return config, tuple(ignored), problems


def literal(module: Module, name: str, node: ast.stmt) -> object:
    """The literal assigned to *name*. Raises ValueError when it is something else or assigned conditionally."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None or name in module.conditional:
        raise ValueError(name)
    if isinstance(node, ast.Assign) and not all(isinstance(target, ast.Name) for target in node.targets):
        raise ValueError(name)
    try:
        return ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(name) from None


def statements(body: list[ast.stmt], *, nested: bool) -> Iterator[tuple[ast.stmt, bool]]:
    for node in body:
        yield node, nested
        if isinstance(node, ast.If | ast.Try | ast.With):
            blocks = [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
            for block in blocks:
                if not main_guard(node):
                    yield from statements(block, nested=True)


def main_guard(node: ast.stmt) -> bool:
    """``if __name__ == "__main__"``: never runs in a worker."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and dotted(node.test.left) == "__name__"


def bound_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) and node.value is not None else []
    if isinstance(node, ast.AugAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    if isinstance(node, ast.Assign):
        return [item.id for target in node.targets for item in ast.walk(target) if isinstance(item, ast.Name)]
    return []


def imports(node: ast.stmt) -> list[tuple[str, str]]:
    """(bound name, where it comes from) of one import statement."""
    if isinstance(node, ast.Import):
        return [(a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0]) for a in node.names]
    if isinstance(node, ast.ImportFrom):
        source = "." * node.level + (node.module or "")
        return [(alias.asname or alias.name, f"{source}.{alias.name}") for alias in node.names]
    return []


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return dotted(node.func)
    return ""
