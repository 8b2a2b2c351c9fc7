"""The pure parts of stored responses: references, conversations, listings, snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.errors import InvalidRequest, NotFound
from streamward.reply import collect
from streamward.wire import responses
from streamward.wire.responses import stored
from streamward.wire.responses.items import items_of
from support.responses import STREAMS, context

ITEMS = [{"id": f"i{n}", "type": "message"} for n in range(5)]
REFERENCE = {"type": "item_reference", "id": "i3"}


def test_references_are_resolved_in_place():
    found = {item["id"]: item for item in ITEMS}
    given = [{"role": "user", "content": "Hi"}, REFERENCE, {"id": "i1"}]

    assert stored.resolve_references(given, found.get) == [given[0], ITEMS[3], ITEMS[1]]


def test_an_unknown_reference_names_its_place():
    with pytest.raises(NotFound) as refused:
        stored.resolve_references([REFERENCE], {}.get)

    assert refused.value.info.param == "input[0].id"


def test_input_items_get_types_ids_and_parts():
    listed = stored.input_items({"input": [{"role": "user", "content": "Hi"}, {**ITEMS[0], "content": []}]}, "resp_abc")

    assert listed[0] == {
        "id": "msg_abc_in0", "role": "user", "type": "message", "status": "completed",
        "content": [{"type": "input_text", "text": "Hi"}],
    }  # fmt: skip
    assert listed[1]["id"] == "i0"
    assert stored.input_items({"input": "Hi"}, "abc")[0]["content"][0]["text"] == "Hi"


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ({}, ["i4", "i3", "i2", "i1", "i0"], False),
        ({"order": "asc"}, ["i0", "i1", "i2", "i3", "i4"], False),
        ({"limit": 2}, ["i4", "i3"], True),
        ({"limit": 2, "after": "i3"}, ["i2", "i1"], True),
        ({"limit": 2, "after": "i1", "order": "asc"}, ["i2", "i3"], True),
        ({"after": "i0"}, [], False),
    ],
)
def test_listing(query: dict[str, Any], ids: list[str], more: bool):
    page = stored.list_items(ITEMS, **query)

    assert [item["id"] for item in page["data"]] == ids
    assert (page["object"], page["has_more"]) == ("list", more)
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize(
    ("query", "param"), [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"order": "up"}, "order"),
                         ({"after": "x"}, "after")],
)  # fmt: skip
def test_listing_refuses(query: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as refused:
        stored.list_items(ITEMS, **query)

    assert refused.value.info.param == param


def test_a_conversation_goes_on_where_it_was():
    """Earlier input, earlier output, new input: the next turn sees them as messages, in order."""
    first = {"model": "m", "input": "Weather?"}
    output = items_of(collect(STREAMS["thinking_tools"]), "abc")
    history = stored.conversation([], first, output, "abc")
    answers = [{"type": "function_call_output", "call_id": f"call_{n}", "output": "sunny"} for n in (1, 2)]
    body = {"model": "m", "input": answers, "previous_response_id": "resp_abc"}

    call = responses.parse_request(body, history=history)

    assert [message.role for message in call.messages] == ["user", "assistant", "tool"]
    assert [type(part).__name__ for part in call.messages[1].parts] == ["Reasoning", "Text", "ToolUse", "ToolUse"]
    assert call.messages[1].parts[0].signature == "c2ln"  # type: ignore[union-attr]


def test_cancelled():
    """What had been put out stays, marked incomplete; what is over stays as it is."""
    running = {**stored.in_progress(context()), "output": [{"type": "message", "status": "in_progress"}]}

    response = stored.cancelled(running)

    assert (response["status"], response["output"][0]["status"]) == ("cancelled", "incomplete")
    over = responses.render_reply(collect(STREAMS["text"]), context())
    assert stored.cancelled(over) == over
