"""Import a function file and find its entry point, now for real."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from streamward.functions.exports import METHODS
from streamward.functions.link import FunctionSpec


class Loaded:
    """An imported function: its kind and what to call."""

    def __init__(self, spec: FunctionSpec) -> None:
        self.spec = spec
        self.kind = spec.kind
        self.methods: dict[str, Callable[..., Any]] = {}
        self.target: Any = None

    @property
    def method_names(self) -> list[str]:
        if self.kind == "methods":
            return list(self.methods)
        if self.kind == "handler":
            return [name[3:] for name in dir(self.target) if name.startswith("do_")]
        return ["*"]


def load(spec: FunctionSpec, folder: str) -> Loaded:
    """Import the file and check what was found statically. Raises whatever the import raises, or TypeError."""
    path = os.path.join(folder, spec.file)
    here = os.path.dirname(path)
    for entry in (folder, here):
        if entry in sys.path:
            sys.path.remove(entry)
        sys.path.insert(0, entry)
    name = "streamward_function_" + hashlib.blake2s(spec.file.encode(), digest_size=6).hexdigest()
    importlib.invalidate_caches()  # a file made a moment ago may be what a failed import wanted
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise ImportError(f"{spec.file} cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return examine(spec, module)


def examine(spec: FunctionSpec, module: Any) -> Loaded:
    loaded = Loaded(spec)
    if spec.kind == "methods":
        loaded.methods = {name: getattr(module, name) for name in METHODS if callable(getattr(module, name, None))}
        if not loaded.methods:
            raise TypeError(f"{spec.file} defines no method function that can be called")
        return loaded
    loaded.target = getattr(module, spec.entrypoint, None)
    if spec.kind in ("asgi", "wsgi"):
        loaded.kind = app_kind(loaded.target, spec)
    elif spec.kind == "handler":
        if not (isinstance(loaded.target, type) and issubclass(loaded.target, BaseHTTPRequestHandler)):
            raise TypeError(f"`{spec.entrypoint}` in {spec.file} does not derive from BaseHTTPRequestHandler")
    elif not callable(loaded.target):
        raise TypeError(f"`{spec.entrypoint}` in {spec.file} cannot be called")
    return loaded


def app_kind(app: Any, spec: FunctionSpec) -> str:
    """What the object is, by how it can be called: async with 3 parameters (or ``.asgi``), or with 2."""
    if not callable(app):
        raise TypeError(f"`{spec.entrypoint}` in {spec.file} is {type(app).__name__}, which cannot be called")
    call = app if inspect.isroutine(app) else type(app).__call__
    if inspect.iscoroutinefunction(call) or hasattr(app, "asgi"):
        return "asgi"
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except (TypeError, ValueError):
        return spec.kind
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len([p for p in positional if p.default is p.empty]) == 2:
        return "wsgi"
    return "asgi" if len(positional) == 3 else spec.kind


def project_modules(folder: str) -> set[str]:
    """Files under *folder* (installed packages left out) that are imported now."""
    prefix = os.path.join(folder, "")
    found: set[str] = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(prefix) and "site-packages" not in path:
            found.add(path)
    return found
