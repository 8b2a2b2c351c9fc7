"""The page of the SDK names what the package exports, takes and returns."""

import inspect
import re
from pathlib import Path

import streamward
from streamward import StreamResult, stream_text

PAGE = (Path(__file__).parents[2] / "docs/reference/sdk.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def names_in_first_column(section: str) -> set[str]:
    """What the table's first column names, call signatures and ``await`` left out."""
    cells = re.findall(r"^\| (.+?) \|", SECTIONS[section], re.MULTILINE)
    words = [re.sub(r"^await |\(.*", "", word) for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
    return {word for word in words if word.isidentifier()}


def test_every_public_name_is_on_the_page():
    assert names_in_first_column("Names") == set(streamward.__all__)


def test_every_setting_is_on_the_page():
    assert names_in_first_column("Settings") == set(inspect.signature(stream_text).parameters) - {"model"}


def test_the_page_names_no_view_that_does_not_exist():
    named = names_in_first_column("StreamResult")

    assert len(named) > 20
    assert named <= set(dir(StreamResult))
