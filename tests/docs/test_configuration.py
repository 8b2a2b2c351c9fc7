"""The configuration page and the structs that read the file say the same."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamward.gateway import config
from streamward.upstream.cards import Price

PAGE = (Path(__file__).parents[2] / "docs/reference/configuration.md").read_text("utf-8")
SECTION = re.compile(r"^## (\[[^\n]+\])\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.*) \|$", re.MULTILINE)

TABLES: dict[str, type[msgspec.Struct]] = {
    "[server]": config.Server,
    "[auth]": config.Auth_,
    "[providers.NAME]": config.ProviderTable,
    "[providers.NAME.timeouts]": config.ProviderTimeouts,
    '[models."NAME"]': config.ModelTable,
    "[limits]": config.Limits,
    "[streams]": config.Streams,
    "[storage]": config.Storage,
    "[logging]": config.Logging,
    '[prices."PROVIDER/MODEL"]': Price,
}
SECTIONS = {name: ROW.findall(text) for name, text in SECTION.findall(PAGE)}


def as_toml(field: msgspec.structs.FieldInfo) -> str:
    """The default of *field* as the page writes it."""
    value: Any = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, msgspec.Struct):
        return "see below"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def test_every_table_has_a_section():
    assert set(TABLES) == set(SECTIONS)
    assert set(config.Config.__struct_fields__) == {re.sub(r"\W.*", "", name[1:]) for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_every_key_and_default_is_on_the_page(name: str):
    expected = [(field.name, as_toml(field)) for field in msgspec.structs.fields(TABLES[name])]

    assert expected == [(key, default) for key, default, _ in SECTIONS[name]]


@pytest.mark.parametrize("name", TABLES)
def test_words_a_key_may_have_are_on_the_page(name: str):
    meanings = {key: default + meaning for key, default, meaning in SECTIONS[name]}
    missing = [
        (field.name, word) for field in msgspec.structs.fields(TABLES[name])
        for word in words(field.type) if f'"{word}"' not in meanings[field.name]
    ]  # fmt: skip

    assert missing == []


def words(kind: Any) -> list[str]:
    """The strings that a ``Literal`` in *kind* allows."""
    described = msgspec.inspect.type_info(kind)
    kinds = described.types if isinstance(described, msgspec.inspect.UnionType) else (described,)
    return [str(value) for each in kinds if isinstance(each, msgspec.inspect.LiteralType) for value in each.values]


def test_the_error_shown_is_the_one_raised():
    with pytest.raises(config.ConfigError) as caught:
        config.parse("[server]\nprot = 1", "streamward.toml", {})

    assert f"streamward: {caught.value}" in PAGE.splitlines()
