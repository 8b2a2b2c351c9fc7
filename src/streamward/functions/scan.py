"""Find the functions of a project folder and everything wrong with it, without importing user code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from streamward.functions.exports import FileFacts, inspect
from streamward.functions.project import Project, read_project
from streamward.functions.router import Route, segment_kind
from streamward.functions.settings import FunctionConfig, Problem, build_config

SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})
MAX_DEPTH = 32  # folders below a tree: a link that loops ends here
MAX_SOURCE_BYTES = 4 << 20  # a function file larger than this is data


class Found(Struct, frozen=True):
    """A file that must hold a function."""

    file: str
    tree: str
    path: str


class Scan(Struct, frozen=True):
    """A project as it is on disk now: configuration, routes in order of their path, problems in order of place."""

    project: Project
    routes: tuple[Route, ...]
    problems: tuple[Problem, ...]

    def table(self) -> dict[str, Any]:
        """The route table as ``streamward routes --json`` prints it."""
        rows = [
            {
                "path": route.path,
                "file": route.file,
                "kind": route.kind,
                "methods": list(route.methods),
                "config": msgspec.to_builtins(route.config),
            }
            for route in self.routes
            if route.problem is None
        ]
        return {"routes": rows, "problems": [msgspec.to_builtins(problem) for problem in self.problems]}


def scan(folder: Path, environment: Mapping[str, str] | None = None) -> Scan:
    """Read the whole project. A broken file becomes a route with a ``problem``; its URL is known either way."""
    project = read_project(folder, environment)
    found = sorted(find_files(folder), key=lambda item: item.file)
    problems = list(project.problems)
    conflicts, others = find_conflicts(found)
    routes: list[Route] = []
    for item in found:
        facts = read_facts(folder, item)
        mine = [*conflicts.get(item.file, ()), *facts.problems]
        problems += mine
        config = effective_config(project, item.file, facts)
        routes.append(
            Route(
                path=item.path, file=item.file, tree=item.tree, kind=facts.kind, methods=facts.methods, config=config,
                entrypoint=facts.entrypoint, ignored=facts.ignored, problem=mine[0] if mine else others.get(item.file),
            )
        )  # fmt: skip
    for pattern in (*project.toml_patterns, *project.vercel_patterns):
        if not any(pattern.matches(item.file) for item in found):
            said = f"`{pattern.glob}` matches no function"
            problems.append(Problem(pattern.file, pattern.line, "UNUSED_FUNCTION", said))
    routes.sort(key=lambda route: (route.path, route.file))
    return Scan(project, tuple(routes), tuple(sorted(set(problems))))


def effective_config(project: Project, file: str, facts: FileFacts) -> FunctionConfig:
    layers = [project.defaults]
    for patterns in (project.vercel_patterns, project.toml_patterns):
        first = next((pattern for pattern in patterns if pattern.matches(file)), None)
        if first is not None:
            layers.append(first.settings)
    return build_config([*layers, facts.config])


def read_facts(folder: Path, item: Found) -> FileFacts:
    path = folder / item.file
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_SOURCE_BYTES + 1)
        if len(data) > MAX_SOURCE_BYTES:
            raise ValueError(f"larger than {MAX_SOURCE_BYTES} bytes")
        source = decode_source(data)
    except (OSError, ValueError, LookupError, SyntaxError) as exc:
        said = f"cannot be read: {exc if isinstance(exc, ValueError) else type(exc).__name__}"
        return FileFacts("", "", (), {}, (), (Problem(item.file, 1, "SYNTAX_ERROR", said),))
    return inspect(source, item.file, item.tree, (path.parent, folder))


def decode_source(data: bytes) -> str:
    """Source text by its PEP 263 declaration or byte order mark."""
    declared = re.match(rb"(?:[^\n]*\n)?[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)", data)
    return data.decode(declared[1].decode() if declared else "utf-8-sig")


def find_files(folder: Path) -> Iterator[Found]:
    for below in walk(folder / "app"):
        if below[-1] == "route.py":
            parts = [part for part in below[:-1] if not re.fullmatch(r"\([^()]*\)", part)]
            if parts and parts[0] == "api":
                yield Found("/".join(("app", *below)), "app", "/" + "/".join(parts))
    for root, tree in (("api", "api"), ("pages/api", "pages")):
        for below in walk(folder / root):
            if below[-1].endswith(".py"):
                stem = below[-1][:-3]
                parts = [*below[:-1], *([] if stem == "index" else [stem])]
                yield Found("/".join((root, *below)), tree, "/" + "/".join(("api", *parts)))


def walk(root: Path, below: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of the files under *root* that are not private, as tuples of names."""
    try:
        entries = sorted(os.scandir(root.joinpath(*below)), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        if entry.name.startswith(("_", ".")) or entry.name in SKIPPED_FOLDERS:
            continue
        if entry.is_dir():
            if len(below) < MAX_DEPTH:
                yield from walk(root, (*below, entry.name))
        elif entry.is_file():
            yield (*below, entry.name)


def find_conflicts(found: list[Found]) -> tuple[dict[str, list[Problem]], dict[str, Problem]]:
    """Problems of paths by file, and for the earlier file of each clash the problem it shares with the later."""
    out: dict[str, list[Problem]] = {}
    others: dict[str, Problem] = {}
    first: dict[tuple[str, ...], str] = {}
    for item in found:
        kinds = [segment_kind(part) for part in item.path.split("/") if part]
        names = [name for kind, name in kinds if kind != "static"]
        for name in sorted({name for name in names if names.count(name) > 1}):
            said = f"`{name}` stands twice in {item.path}"
            out.setdefault(item.file, []).append(Problem(item.file, 1, "CONFLICTING_PATH_SEGMENT", said))
        pattern = tuple(name if kind == "static" else f"[{kind}]" for kind, name in kinds)
        other = first.setdefault(pattern, item.file)
        if other != item.file:
            said = f"{item.path} is also served by {other}"
            others[other] = Problem(item.file, 1, "CONFLICTING_FILE_PATH", said)
            out.setdefault(item.file, []).append(others[other])
    return out, others
