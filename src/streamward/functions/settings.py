"""The settings of functions: names, types, ranges and defaults, from whatever place they were read.

Reading files is in ``exports`` (Python), ``project`` (TOML, JSON). Nothing here does I/O.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

MAX_DURATION_S = 86_400  # one day: longer work belongs to a queue
VERCEL_MAX_DURATION_S = 1_800  # the upper end of vercel.json's maxDuration, and what "max" stands for


class Problem(Struct, frozen=True, order=True):
    """One thing wrong with a project. ``file`` is relative to the project folder, with ``/``."""

    file: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.code}: {self.message}"


class FunctionConfig(Struct, frozen=True):
    """The effective settings of one function; seconds and MiB where the name does not say."""

    max_duration: float = 300
    first_byte_timeout: float = 0
    idle_timeout: float = 0
    cancel_on_disconnect: bool = True
    max_concurrency: int = 100
    workers: int = 1
    queue_size: int = 100
    queue_timeout: float = 5
    memory_mb: int = 2048
    content_type: str | None = None
    sse_heartbeat: float = 15


class HostConfig(Struct, frozen=True):
    """Keys of ``[functions]`` that concern the host as a whole, and ``[server]``."""

    isolation: str = "function"
    init_timeout: float = 30
    vercel_compat: bool = False
    trusted_proxies: tuple[str, ...] = ()
    max_body_bytes: int = 10_485_760
    max_header_bytes: int = 32_768
    header_timeout: float = 10
    max_in_flight: int = 2000
    state_dir: str | None = None
    spool_max_bytes: int = 268_435_456
    project: str | None = None
    host: str = "127.0.0.1"
    port: int = 8787
    drain_s: float | None = None


class DrainConfig(Struct, frozen=True):
    """One ``[[drains]]`` entry, secret already resolved."""

    url: str
    format: str = "json"
    secret: str | None = None
    batch_max: int = 500
    batch_ms: int = 1000
    headers: dict[str, str] = {}


Check = Callable[[object], str | None]
"""Returns what was expected when the value is wrong, else None."""


def number(low: float, high: float, *, above: bool = False) -> Check:
    """A finite int or float in [low, high], or (low, high] when *above*."""
    said = f"a number {'above' if above else 'of at least'} {low:g} and at most {high:g}"

    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return said
        good = (value > low if above else value >= low) and value <= high
        return None if good else said

    return check


def integer(low: int, high: int) -> Check:
    said = f"a whole number from {low} to {high}"

    def check(value: object) -> str | None:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if good else said

    return check


def boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def text(value: object) -> str | None:
    good = isinstance(value, str) and value.strip() and value.isprintable()
    return None if good else "a non-empty string on one line"


def one_of(*choices: str) -> Check:
    return lambda value: None if value in choices else "one of " + ", ".join(repr(choice) for choice in choices)


def networks(value: object) -> str | None:
    said = 'a list of networks such as "10.0.0.0/8"'
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return said
    try:
        for item in value:
            ipaddress.ip_network(item, strict=False)
    except ValueError:
        return said
    return None


def header_table(value: object) -> str | None:
    good = isinstance(value, dict) and all(
        re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key) and isinstance(item, str) and item.isprintable()
        for key, item in value.items()
    )
    return None if good else "a table of header names and strings"


def drain_url(value: object) -> str | None:
    return None if isinstance(value, str) and re.match(r"https?://[^/\s]+", value) else "an http or https URL"


def vercel_duration(value: object) -> str | None:
    if value == "max" or integer(1, VERCEL_MAX_DURATION_S)(value) is None:
        return None
    return f'a whole number from 1 to {VERCEL_MAX_DURATION_S}, or "max"'


FUNCTION_KEYS: dict[str, Check] = {
    "max_duration": number(0, MAX_DURATION_S, above=True),
    "first_byte_timeout": number(0, MAX_DURATION_S),
    "idle_timeout": number(0, MAX_DURATION_S),
    "cancel_on_disconnect": boolean,
    "max_concurrency": integer(1, 100_000),
    "workers": integer(1, 256),
    "queue_size": integer(0, 1_000_000),
    "queue_timeout": number(0, MAX_DURATION_S),
    "memory_mb": integer(1, 1 << 20),
    "content_type": text,
    "sse_heartbeat": number(0, MAX_DURATION_S),
}
ALIASES = {"maxDuration": "max_duration"}
IGNORED_EXPORTS = frozenset({"runtime", "dynamic", "revalidate", "preferred_region", "preferredRegion"})
EXPORT_NAMES = frozenset(FUNCTION_KEYS) | frozenset(ALIASES) | IGNORED_EXPORTS

HOST_KEYS: dict[str, Check] = {
    "isolation": one_of("function", "app"),
    "init_timeout": number(0, 3600, above=True),
    "vercel_compat": boolean,
    "trusted_proxies": networks,
    "max_body_bytes": integer(0, 1 << 40),
    "max_header_bytes": integer(256, 1 << 24),
    "header_timeout": number(0, 3600, above=True),
    "max_in_flight": integer(1, 1_000_000),
    "state_dir": text,
    "spool_max_bytes": integer(0, 1 << 42),
    "project": text,
}
SERVER_KEYS: dict[str, Check] = {
    "host": text,
    "port": integer(0, 65_535),
    "drain_s": number(0, MAX_DURATION_S),
}
DRAIN_KEYS: dict[str, Check] = {
    "url": drain_url,
    "format": one_of("json", "ndjson"),
    "secret": text,
    "batch_max": integer(1, 10_000),
    "batch_ms": integer(0, 3_600_000),
    "headers": header_table,
}
VERCEL_KEYS: dict[str, tuple[str, Check]] = {
    "maxDuration": ("max_duration", vercel_duration),
    "memory": ("memory_mb", integer(1, 1 << 20)),
    "maxConcurrency": ("max_concurrency", integer(1, 100_000)),
    "supportsCancellation": ("cancel_on_disconnect", boolean),
}
VERCEL_IGNORED = frozenset(
    {
        "runtime", "includeFiles", "excludeFiles", "regions", "functionFailoverRegions", "architecture", "awsLambdaHandler",
        "experimentalTriggers", "experimentalBypass", "experimentalDeploymentIdBypass", "passiveRegions",
        "maxDurationOverride", "useWebApi", "shouldAddHelpers", "shouldAddSourcemapSupport", "handler",
    }
)  # fmt: skip


def folded(name: str) -> str:
    """How names are compared when case and underscores are ignored."""
    return name.replace("_", "").lower()


FOLDED_EXPORTS: dict[str, str] = {folded(name): name for name in (*IGNORED_EXPORTS, *FUNCTION_KEYS)}


def near_export(name: str) -> str | None:
    """The export *name* is a misspelling of by case or underscores only, or None."""
    return None if name in EXPORT_NAMES else FOLDED_EXPORTS.get(folded(name))


def build_config(layers: list[dict[str, Any]]) -> FunctionConfig:
    """The effective settings from *layers*, weakest first; values must have been checked before."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    return FunctionConfig(**merged)
