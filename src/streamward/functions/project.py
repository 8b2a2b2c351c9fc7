"""The configuration files beside the functions: streamward.toml, pyproject.toml, vercel.json.

Only the tables of the functions host are read here (``[functions]``, ``[[rewrites]]``, ``[[drains]]``, ``[server]``);
the others belong to the gateway. Mistakes become problems with file and line, never exceptions.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from streamward.functions.settings import (
    ALIASES,
    DRAIN_KEYS,
    FUNCTION_KEYS,
    HOST_KEYS,
    SERVER_KEYS,
    VERCEL_IGNORED,
    VERCEL_KEYS,
    VERCEL_MAX_DURATION_S,
    Check,
    DrainConfig,
    HostConfig,
    Problem,
)  # fmt: skip

REWRITE_KEYS = frozenset({"source", "destination"})
VERCEL_REWRITE_KEYS = REWRITE_KEYS | {"has", "missing", "statusCode", "env", "respectOriginCacheControl"}


class Pattern(Struct, frozen=True):
    """One ``functions`` entry: settings for the files that match ``glob``."""

    glob: str
    settings: dict[str, Any]
    file: str
    line: int

    def matches(self, path: str) -> bool:
        return self.glob.lstrip("/") == path or glob_regex(self.glob.lstrip("/")).fullmatch(path) is not None


class RewriteRule(Struct, frozen=True):
    source: str
    destination: str


class Project(Struct, frozen=True):
    """What the configuration files say, as far as it is valid; the rest is in ``problems``."""

    host: HostConfig = HostConfig()
    defaults: dict[str, Any] = {}
    toml_patterns: tuple[Pattern, ...] = ()
    vercel_patterns: tuple[Pattern, ...] = ()
    rewrites: tuple[RewriteRule, ...] = ()
    drains: tuple[DrainConfig, ...] = ()
    problems: tuple[Problem, ...] = ()


class Reader:
    """Collects settings and problems while the files are walked."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[Problem] = []
        self.host: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        self.toml_patterns: list[Pattern] = []
        self.vercel_patterns: list[Pattern] = []
        self.rewrites: list[RewriteRule] = []
        self.drains: list[DrainConfig] = []

    def bad(self, file: str, line: int, code: str, message: str) -> None:
        self.problems.append(Problem(file, line, code, message))

    def checked(self, file: str, line: int, name: str, value: object, check: Check) -> bool:
        wanted = check(value)
        if wanted is not None:
            self.bad(file, line, "INVALID_CONFIG_VALUE", f"`{name}` must be {wanted}, not {value!r:.100}")
        return wanted is None


def read_project(folder: Path, environment: Mapping[str, str] | None = None) -> Project:
    """Read the configuration files of *folder*. ``env:NAME`` is looked up in *environment*."""
    reader = Reader(os.environ if environment is None else environment)
    toml = read_toml(reader, folder)
    if toml is not None:
        read_tables(reader, *toml)
    read_vercel(reader, folder)
    return Project(
        host=HostConfig(**reader.host),
        defaults=reader.defaults,
        toml_patterns=tuple(reader.toml_patterns),
        vercel_patterns=tuple(reader.vercel_patterns),
        rewrites=tuple(reader.rewrites),
        drains=tuple(reader.drains),
        problems=tuple(reader.problems),
    )


def read_toml(reader: Reader, folder: Path) -> tuple[str, Lines, dict[str, Any]] | None:
    """(file name, line finder, tables) of streamward.toml, else of ``[tool.streamward]`` in pyproject.toml."""
    for name, prefix in (("streamward.toml", ""), ("pyproject.toml", "tool.streamward.")):
        try:
            text = (folder / name).read_text("utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as exc:
            reader.bad(name, 1, "SYNTAX_ERROR", f"cannot be read: {type(exc).__name__}")
            return None
        try:
            tables: Any = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            found = re.search(r"at line (\d+)", str(exc))
            line = int(found[1]) if found else max(1, len(text.splitlines()))
            reader.bad(name, line, "SYNTAX_ERROR", str(exc))
            return None
        for key in prefix.split(".")[:-1]:
            tables = tables.get(key, {})
            if not isinstance(tables, dict):
                return None
        return name, Lines(text, prefix), tables
    return None


class Lines:
    """Line numbers of keys in a TOML text; a scan good enough to point at the mistake."""

    def __init__(self, text: str, prefix: str) -> None:
        self.at: dict[tuple[str, int, str], int] = {}
        table = ""
        counts: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if header := re.match(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$", line):
                table = unquoted(header[2]).removeprefix(prefix)
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                self.at.setdefault((table, counts.get(table, 0), ""), number)
            elif key := re.match(r"""\s*("[^"]*"|'[^']*'|[\w.-]+)\s*[=.]""", line):
                self.at.setdefault((table, counts.get(table, 0), unquoted(key[1])), number)

    def line(self, table: str, key: str = "", index: int = 0) -> int:
        return self.at.get((table, index, key)) or self.at.get((table, index, "")) or 1


def unquoted(header: str) -> str:
    return header.replace('"', "").replace("'", "")


def read_tables(reader: Reader, file: str, lines: Lines, tables: dict[str, Any]) -> None:
    functions = tables.get("functions", {})
    if not isinstance(functions, dict):
        reader.bad(file, lines.line("", "functions"), "INVALID_CONFIG_VALUE", "`functions` must be a table")
        functions = {}
    for key, value in functions.items():
        line = lines.line("functions", key)
        name = ALIASES.get(key, key)
        if name in FUNCTION_KEYS:
            if reader.checked(file, line, key, value, FUNCTION_KEYS[name]):
                reader.defaults[name] = value
        elif key in HOST_KEYS:
            if reader.checked(file, line, key, value, HOST_KEYS[key]):
                reader.host[key] = tuple(value) if isinstance(value, list) else value
        elif isinstance(value, dict):
            read_pattern(reader, file, lines, key, value)
        else:
            reader.bad(file, line, "INVALID_FUNCTION_PROPERTY", f"`{key}` is no key of [functions]")
    server = tables.get("server", {})
    for key, value in server.items() if isinstance(server, dict) else ():
        if key in SERVER_KEYS and reader.checked(file, lines.line("server", key), key, value, SERVER_KEYS[key]):
            reader.host[key] = value
    for index, entry in list_of_tables(reader, file, lines, "rewrites", tables):
        read_rewrite(reader, file, lines.line("rewrites", index=index), entry, REWRITE_KEYS)
    for index, entry in list_of_tables(reader, file, lines, "drains", tables):
        read_drain(reader, file, lines, index, entry)


def list_of_tables(
    reader: Reader, file: str, lines: Lines, name: str, tables: dict[str, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    entries = tables.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        reader.bad(file, lines.line("", name), "INVALID_CONFIG_VALUE", f"`{name}` must be a list of tables: [[{name}]]")
        return
    yield from enumerate(entries)


def read_pattern(reader: Reader, file: str, lines: Lines, glob: str, entry: dict[str, Any]) -> None:
    settings: dict[str, Any] = {}
    table = unquoted(f"functions.{glob}")
    at = lines.line(table) if lines.line(table) > 1 else lines.line("functions", glob)
    for key, value in entry.items():
        line = lines.line(table, key) if lines.line(table, key) > 1 else at
        name = ALIASES.get(key, key)
        if name not in FUNCTION_KEYS:
            reader.bad(file, line, "INVALID_FUNCTION_PROPERTY", f'`{key}` is no key of [functions."{glob}"]')
        elif reader.checked(file, line, key, value, FUNCTION_KEYS[name]):
            settings[name] = value
    reader.toml_patterns.append(Pattern(glob, settings, file, at))


def read_rewrite(reader: Reader, file: str, line: int, entry: dict[str, Any], known: frozenset[str]) -> None:
    for key in entry:
        if key not in known:
            reader.bad(file, line, "INVALID_FUNCTION_PROPERTY", f"`{key}` is no key of a rewrite")
    source, destination = entry.get("source"), entry.get("destination")
    for name, value in (("source", source), ("destination", destination)):
        if not isinstance(value, str) or not value.startswith("/"):
            reader.bad(file, line, "INVALID_CONFIG_VALUE", f"`{name}` of a rewrite must be a path that starts with /")
            return
    assert isinstance(source, str)
    assert isinstance(destination, str)
    try:
        rewrite_regex(source)
    except re.error as exc:
        reader.bad(file, line, "INVALID_CONFIG_VALUE", f"`source` {source!r} cannot be read: {exc}")
        return
    reader.rewrites.append(RewriteRule(source, destination))


def read_drain(reader: Reader, file: str, lines: Lines, index: int, entry: dict[str, Any]) -> None:
    good = True
    for key, value in entry.items():
        line = lines.line("drains", key, index)
        if key not in DRAIN_KEYS:
            reader.bad(file, line, "INVALID_FUNCTION_PROPERTY", f"`{key}` is no key of [[drains]]")
        else:
            good = reader.checked(file, line, key, value, DRAIN_KEYS[key]) and good
    if "url" not in entry:
        reader.bad(file, lines.line("drains", index=index), "INVALID_CONFIG_VALUE", "a drain needs a `url`")
        good = False
    secret = entry.get("secret")
    if isinstance(secret, str) and secret.startswith("env:"):
        name = secret[4:]
        if name not in reader.environment:
            said = f"`secret`: the environment variable {name} is not set"
            reader.bad(file, lines.line("drains", "secret", index), "INVALID_CONFIG_VALUE", said)
            good = False
        secret = reader.environment.get(name)
    if good:
        values = {key: value for key, value in entry.items() if key in DRAIN_KEYS}
        reader.drains.append(DrainConfig(**{**values, "secret": secret}))


def read_vercel(reader: Reader, folder: Path) -> None:
    file = "vercel.json"
    try:
        text = (folder / file).read_text("utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as exc:
        reader.bad(file, 1, "SYNTAX_ERROR", f"cannot be read: {type(exc).__name__}")
        return
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        reader.bad(file, getattr(exc, "lineno", 1), "SYNTAX_ERROR", str(exc))
        return
    functions = data.get("functions", {}) if isinstance(data, dict) else None
    rewrites = data.get("rewrites", []) if isinstance(data, dict) else None
    if not isinstance(functions, dict) or not isinstance(rewrites, list):
        reader.bad(file, 1, "INVALID_CONFIG_VALUE", "expected an object with an object `functions`, a list `rewrites`")
        return
    for glob, entry in functions.items():
        read_vercel_function(reader, text, glob, entry)
    place = max(0, text.find('"rewrites"'))
    for entry in rewrites:
        place = max(place, text.find('"source"', place + 1))
        line = text.count("\n", 0, place) + 1
        if isinstance(entry, dict):
            read_rewrite(reader, file, line, entry, VERCEL_REWRITE_KEYS)
        else:
            reader.bad(file, line, "INVALID_CONFIG_VALUE", "a rewrite must be an object")


def read_vercel_function(reader: Reader, text: str, glob: str, entry: object) -> None:
    file = "vercel.json"
    place = max(0, text.find(json.dumps(glob), max(0, text.find('"functions"'))))
    at = text.count("\n", 0, place) + 1
    if not isinstance(entry, dict):
        reader.bad(file, at, "INVALID_CONFIG_VALUE", f"`{glob}` must be an object")
        return
    settings: dict[str, Any] = {}
    for key, value in entry.items():
        found = text.find(f'"{key}"', place)
        line = text.count("\n", 0, found) + 1 if found >= 0 else at
        if key in VERCEL_KEYS:
            name, check = VERCEL_KEYS[key]
            if reader.checked(file, line, key, value, check):
                settings[name] = VERCEL_MAX_DURATION_S if value == "max" else value
        elif key not in VERCEL_IGNORED:
            reader.bad(file, line, "INVALID_FUNCTION_PROPERTY", f"`{key}` is no key of a `functions` entry")
    reader.vercel_patterns.append(Pattern(glob, settings, file, at))


def glob_regex(glob: str) -> re.Pattern[str]:
    """A file pattern as a regular expression: ``**`` any depth, ``*`` and ``?`` inside a segment, ``{a,b}``.

    Square brackets stand for themselves: they are part of the names of dynamic segments.
    """
    out: list[str] = []
    depth = 0
    for piece in re.findall(r"\*\*/|\*\*|[*?{},]|[^*?{},]+", glob):
        if piece == "{":
            depth += 1
        elif piece == "}":
            depth = max(0, depth - 1)
        table = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}
        out.append("|" if piece == "," and depth else table.get(piece, re.escape(piece)))
    try:
        return re.compile("".join(out))
    except re.error:  # unbalanced braces stand for themselves
        return re.compile(re.escape(glob))


def rewrite_regex(source: str) -> re.Pattern[str]:
    """``/blog/:slug``, ``/docs/:path*``, ``/api/(.*)`` as a regular expression. Raises re.error."""
    out: list[str] = []
    for token in re.findall(r"/:\w+[*+?]?(?:\([^)]*\))?|:\w+(?:\([^)]*\))?|\([^)]*\)[*+?]?|[^:(/]+|[/:(]", source):
        if named := re.fullmatch(r"(/?):(\w+)([*+?]?)(\([^)]*\))?", token):
            slash, name, repeat, inner = named.groups()
            one = inner[1:-1] if inner else "[^/]+"
            if repeat in ("*", "+"):
                body = f"{slash}(?P<{name}>{one}(?:/{one})*)"
                out.append(f"(?:{body})?" if repeat == "*" else body)
            else:
                out.append(f"(?:{slash}(?P<{name}>{one}))?" if repeat == "?" else f"{slash}(?P<{name}>{one})")
        elif token.startswith("(") and len(token) > 1:
            out.append(token)
        else:
            out.append(re.escape(token))
    return re.compile("".join(out))
