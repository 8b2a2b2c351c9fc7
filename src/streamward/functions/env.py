"""Environment files: which are read, in which order, and what functions see.

Parsing is python-dotenv's. Values never appear in messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream
from msgspec import Struct

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Environment(Struct, frozen=True):
    """The variables functions see, and warnings about lines that were left out (file, line and name only)."""

    variables: dict[str, str]
    warnings: tuple[str, ...] = ()


def mode_name(command: str, real: Mapping[str, str]) -> str:
    """``development`` for dev, ``production`` for serve, unless STREAMWARD_ENV says otherwise."""
    return real.get("STREAMWARD_ENV") or ("development" if command == "dev" else "production")


def read_environment(folder: Path, mode: str, real: Mapping[str, str]) -> Environment:
    """Merge ``.env*`` of *folder*, weakest first, under the *real* environment."""
    pairs: list[tuple[str, str | None]] = []
    warnings: list[str] = []
    for name in (".env", f".env.{mode}", ".env.local", f".env.{mode}.local"):
        try:
            content = (folder / name).read_text("utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as exc:
            warnings.append(f"{name}: cannot be read ({type(exc).__name__})")
            continue
        for binding in parse_stream(StringIO(content)):
            if binding.error:
                warnings.append(f"{name}:{binding.original.line}: not KEY=value, line left out")
            elif binding.key is not None and not NAME.fullmatch(binding.key):
                warnings.append(f"{name}:{binding.original.line}: {binding.key!r} is no variable name, line left out")
            elif binding.key is not None:
                pairs.append((binding.key, binding.value))
    resolved = resolve(pairs, real)
    variables = {**resolved, **real, "STREAMWARD": "1", "STREAMWARD_ENV": mode}
    return Environment(variables, tuple(warnings))


def resolve(pairs: list[tuple[str, str | None]], real: Mapping[str, str]) -> dict[str, str]:
    """Expand ``${NAME}``: from the real environment first, then from what was set above."""
    known: dict[str, str] = {}
    for key, value in pairs:
        lookup = {**known, **real}
        known[key] = expand(value or "", lookup)
    return known


def expand(value: str, lookup: Mapping[str, str]) -> str:
    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", lambda m: lookup.get(m[1], m[2] or ""), value)
