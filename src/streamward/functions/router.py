"""From a URL path to a function: static, dynamic and catch-all segments, apps below their path, rewrites.

Built from the routes ``scan`` found; does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from msgspec import Struct

from streamward.functions.project import RewriteRule, rewrite_regex
from streamward.functions.settings import FunctionConfig, Problem

APP_KINDS = frozenset({"asgi", "wsgi", "handler"})  # these also receive every path below their own
RESERVED = ("v1", "_streamward")  # the gateway and the control endpoints cannot be shadowed

Params = dict[str, str | list[str]]


class Route(Struct, frozen=True):
    """One function file: where it is served and how it runs."""

    path: str
    """In file notation: ``/api/users/[id]``."""
    file: str
    tree: str
    kind: str
    methods: tuple[str, ...]
    config: FunctionConfig
    entrypoint: str = ""
    ignored: tuple[str, ...] = ()
    problem: Problem | None = None

    @property
    def segments(self) -> list[str]:
        return [segment for segment in self.path.split("/") if segment]


class Match(Struct, frozen=True):
    route: Route
    params: Params
    query: str = ""
    """What a rewrite's destination adds to the query string."""


class Node:
    """One position in the tree of routes."""

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.dynamic: list[tuple[str, Node]] = []
        self.catch_all: list[tuple[str, Route]] = []
        self.optional: list[tuple[str, Route]] = []
        self.route: Route | None = None


class Router:
    """Matches paths against routes; a trailing slash makes no difference."""

    def __init__(self, routes: tuple[Route, ...] = (), rewrites: tuple[RewriteRule, ...] = ()) -> None:
        self.routes = routes
        self.root = Node()
        self.rewrites = [(rewrite_regex(rule.source), rule.destination) for rule in rewrites]
        for route in routes:
            self.add(route)

    def add(self, route: Route) -> None:
        node = self.root
        for segment in route.segments:
            kind, name = segment_kind(segment)
            if kind == "catch_all":
                node.catch_all.append((name, route))
                return
            if kind == "optional":
                node.optional.append((name, route))
                return
            if kind == "static":
                node = node.static.setdefault(segment, Node())
                continue
            below = next((child for known, child in node.dynamic if known == name), None)
            if below is None:
                below = Node()
                node.dynamic.append((name, below))
            node = below
        if node.route is None or route.problem is not None:
            node.route = route

    def match(self, raw_path: str) -> Match | None:
        """The function for *raw_path* (percent-encoded, without query), or None."""
        parts = split_path(raw_path)
        if parts is None or (parts and parts[0] in RESERVED):
            return None
        return self.lookup(parts) or self.rewrite(raw_path)

    def lookup(self, parts: list[str]) -> Match | None:
        below: list[tuple[int, Match]] = []
        exact = walk(self.root, parts, 0, {}, below)
        if exact is not None:
            return exact
        return max(below, key=lambda found: found[0])[1] if below else None  # the deepest app, the first of equals

    def rewrite(self, raw_path: str) -> Match | None:
        path = raw_path[:-1] if raw_path.endswith("/") and len(raw_path) > 1 else raw_path
        for regex, destination in self.rewrites:
            found = regex.fullmatch(path) or regex.fullmatch(raw_path)
            if found is None:
                continue
            target, _, query = fill(destination, found).partition("?")
            parts = split_path(target)
            if parts is None:
                return None
            match = self.lookup(parts) or (self.lookup(parts[:-1]) if parts and parts[-1] == "index" else None)
            return Match(match.route, match.params, query) if match is not None else None
        return None


def walk(node: Node, parts: list[str], at: int, params: Params, below: list[tuple[int, Match]]) -> Match | None:
    """Depth first in order of preference. Apps passed on the way are noted in *below*."""
    if at == len(parts):
        if node.route is not None:
            return Match(node.route, params)
        return Match(node.optional[0][1], {**params, node.optional[0][0]: []}) if node.optional else None
    if node.route is not None and node.route.kind in APP_KINDS:
        below.append((at, Match(node.route, params)))
    part, rest = parts[at], parts[at:]
    if part in node.static:
        found = walk(node.static[part], parts, at + 1, params, below)
        if found is not None:
            return found
    if part:
        for name, child in node.dynamic:
            found = walk(child, parts, at + 1, {**params, name: part}, below)
            if found is not None:
                return found
    if all(rest):
        for name, route in (*node.catch_all, *node.optional):
            return Match(route, {**params, name: rest})
    return None


def split_path(raw_path: str) -> list[str] | None:
    """Decoded segments, a trailing slash dropped; None for what is never served (``..``, dotfiles, NUL)."""
    if not raw_path.startswith("/"):
        return None
    parts = [unquote(part) for part in raw_path[1:].split("/")]
    if parts and not parts[-1]:
        parts.pop()
    if any(part.startswith(".") or "\0" in part for part in parts):
        return None
    return parts


def segment_kind(segment: str) -> tuple[str, str]:
    """("static" | "dynamic" | "catch_all" | "optional", name) of one segment in file notation."""
    found = re.fullmatch(r"\[\[\.\.\.([^\[\]]+)\]\]|\[\.\.\.([^\[\]]+)\]|\[([^\[\].][^\[\]]*)\]", segment)
    if found is None:
        return "static", segment
    if found[1]:
        return "optional", found[1]
    return ("catch_all", found[2]) if found[2] else ("dynamic", found[3])


def fill(destination: str, found: re.Match[str]) -> str:
    """Put what the source matched into *destination*: ``:name``, ``:name*``, ``$1``."""
    named = found.groupdict()
    out = re.sub(r":(\w+)[*+?]?", lambda m: (named[m[1]] or "") if m[1] in named else m[0], destination)
    groups = found.groups()
    return re.sub(r"\$(\d)", lambda m: (groups[int(m[1]) - 1] or "") if 0 < int(m[1]) <= len(groups) else m[0], out)


def with_query(query: str, params: Params, extra: str = "") -> str:
    """*query* with path values in place of parameters of the same name, and *extra* appended."""
    query = f"{query}&{extra}" if query and extra else query or extra
    if not params:
        return query
    kept = [part for part in query.split("&") if part and unquote(part.partition("=")[0].replace("+", " ")) not in params]
    return "&".join([*kept, *(urlencode([pair], quote_via=quote) for pair in pairs(params))])


def pairs(params: Params) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, item


def query_table(query: str) -> dict[str, Any]:
    """``req.query`` of pages functions: a string, or a list when a name comes more than once."""
    out: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in out:
            out[name] = value
        elif isinstance(out[name], list):
            out[name].append(value)
        else:
            out[name] = [out[name], value]
    return out
