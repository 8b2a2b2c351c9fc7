"""The page of the commands and the commands themselves say the same."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from streamward.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text("utf-8")
SECTION = re.compile(r"^## streamward ([a-z ]*[a-z])([^\n]*)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (`-[^|]+`) \| ([^|]+) \|", re.MULTILINE)
SECTIONS = {name: (arguments.split(), ROW.findall(text)) for name, arguments, text in SECTION.findall(PAGE)}


def commands_of(command: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """All commands below *command* by their full name."""
    if not hasattr(command, "commands"):
        return {" ".join(path): command}
    return {name: one for word, inner in command.commands.items() for name, one in commands_of(inner, (*path, word)).items()}


COMMANDS = commands_of(get_command(app))


def parameters(name: str, kind: str) -> list[Any]:
    return [one for one in COMMANDS[name].params if one.param_type_name == kind and one.name != "help"]


def test_every_command_has_a_section():
    assert set(COMMANDS) == set(SECTIONS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_on_the_page(name: str):
    expected = {frozenset(option.opts) for option in parameters(name, "option")}
    rows = [frozenset(re.findall(r"`(-[\w-]+)`", spellings)) for spellings, _ in SECTIONS[name][1]]

    assert expected == set(rows)
    assert len(rows) == len(expected)


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_that_the_command_itself_has_are_on_the_page(name: str):
    shown = {re.findall(r"`(--[\w-]+)`", spellings)[0]: default for spellings, default in SECTIONS[name][1]}
    wrong = [
        (option.name, option.default, shown[long_name(option)]) for option in parameters(name, "option")
        if option.default not in (None, "") and shown[long_name(option)] not in spelled(option)
    ]  # fmt: skip

    assert wrong == []


def long_name(option: Any) -> str:
    return next(word for word in option.opts if word.startswith("--"))


def spelled(option: Any) -> tuple[str, ...]:
    """How the page may write the option's default."""
    if option.default is False:
        return ("off",)
    if option.name == "prompt":
        return ("a short question",)
    value = option.default
    return (f"`{value:g}`" if isinstance(value, float) else f"`{value}`",)


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_are_in_the_title(name: str):
    expected = [
        (argument.metavar or argument.name).upper() if argument.required else f"[{argument.name.upper()}]"
        for argument in parameters(name, "argument")
    ]

    assert expected == SECTIONS[name][0]
