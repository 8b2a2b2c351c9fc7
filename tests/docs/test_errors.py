"""The page of errors and the code say the same."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import streamward
from streamward.errors import StreamwardError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/errors.md").read_text("utf-8")
CLASS = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (\d+) \| (\w+) \| (yes|no) \|", re.MULTILINE)
CODE_ARGUMENT = {"ErrorInfo": 0, "fail_with": 0, "BadRequest": 1, "refuse": 1}
"""Which argument of these calls is the code."""

ROOMS = ("dataplane", "wire", "upstream", "durable", "gateway", "engine", "client")


def classes(base: type[StreamwardError] = StreamwardError) -> Iterator[type[StreamwardError]]:
    """*base* and all that derive from it in the package."""
    yield base
    for each in base.__subclasses__():
        if each.__module__.startswith("streamward."):
            yield from classes(each)


def import_everything() -> None:
    for module in pkgutil.walk_packages(streamward.__path__, "streamward."):
        if module.name.split(".")[1] in ROOMS and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def literal_codes() -> set[str]:
    """The codes that stand in the source as they are."""
    found = set()
    for room in ROOMS:
        for file in (ROOT / "src/streamward" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    found |= codes_of(node)
    return found


def codes_of(call: ast.Call) -> set[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    at = CODE_ARGUMENT.get(name)
    given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    given += [call.args[at]] if at is not None and at < len(call.args) else []
    return {one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def test_every_class_stands_there_as_it_is():
    import_everything()
    expected = {
        (kind.__name__, kind.code, str(kind.status), kind.fault, "yes" if kind.safe_to_retry else "no") for kind in classes()
    }

    assert expected == set(CLASS.findall(PAGE))


def test_every_code_stands_there():
    missing = {code for code in literal_codes() if f"`{code}`" not in PAGE}

    assert missing == set()
