"""Fields of one dialect on their way to another."""

from __future__ import annotations

import pytest

from streamward.call import Call, Image, Message, Text, Tool, ToolOutput
from streamward.errors import Unsupported
from streamward.wire.foreign import HINTS, refuse_foreign
from streamward.wire.table import DIALECTS

OWN = {"messages": {"mcp_servers": []}}


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (Call("m", extra=OWN), "mcp_servers"),
        (Call("m", tools=(Tool("a"), Tool("b", extra=OWN))), "tools[1].mcp_servers"),
        (Call("m", (Message("user", extra=OWN),)), "messages[0].mcp_servers"),
        (Call("m", (Message("user", (Text("a"), Image(extra=OWN))),)), "messages[0].content[1].mcp_servers"),
        (
            Call("m", (Message("tool", (ToolOutput("t", (Text("a", OWN),)),)),)),
            "messages[0].content[0].content[0].mcp_servers",
        ),
        (Call("m", (Message("tool", (ToolOutput("t", "x", extra=OWN),)),)), "messages[0].content[0].mcp_servers"),
    ],
)
def test_wherever_it_stands_it_is_named(call: Call, param: str):
    with pytest.raises(Unsupported) as caught:
        refuse_foreign(call, "responses")

    assert caught.value.info.param == param
    assert "messages that responses cannot do" in str(caught.value)
    refuse_foreign(call, "messages")  # its own dialect takes it


@pytest.mark.parametrize("dialect", HINTS)
def test_hints_are_left_out(dialect: str):
    """Where to cache, what to bill: no reason to refuse a call."""
    call = Call("m", extra={dialect: dict.fromkeys(HINTS[dialect], 1)})

    for target in DIALECTS:
        refuse_foreign(call, target)


def test_unknown_dialects_have_no_hints():
    with pytest.raises(Unsupported, match="store"):
        refuse_foreign(Call("m", extra={"cohere": {"store": 1}}), "messages")


def test_nothing_to_refuse():
    refuse_foreign(Call("m", (Message("user", (Text("a"),)),)), "messages")
