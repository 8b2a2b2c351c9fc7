"""Everything written holds under both published schemas at once."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.call import Call, Output, Tool, ToolChoice
from streamward.reply import collect
from streamward.wire import responses
from streamward.wire.responses import stored
from support.codec import encode
from support.responses import CALL, STREAMS, context, frames, problems

CALLS: dict[str, Call | None] = {
    "none": None,
    "bare": Call(model="m"),
    "full": CALL,
    "schema": Call(model="m", output=Output("json-schema", "answer", {"type": "object"}, True, "an answer")),
    "forced": Call(model="m", tools=(Tool("f"),), tool_choice=ToolChoice("tool", "f")),
    "parsed": responses.parse_request({
        "model": "m", "input": "hi", "store": False, "service_tier": "auto", "truncation": "auto", "max_tool_calls": 3,
        "safety_identifier": "me", "prompt_cache_key": "k", "reasoning": {"effort": "high"}, "text": {"verbosity": "low"},
        "previous_response_id": "resp_0", "top_logprobs": 2, "include": ["message.output_text.logprobs"],
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in STREAMS if name != "image"])
@pytest.mark.parametrize("call", CALLS)
def test_events(name: str, call: str):
    """Each event, with the snapshots inside it, whatever the request that is echoed."""
    events = frames(encode(responses, STREAMS[name], context(CALLS[call])))

    assert [problem for event in events for problem in problems(event["type"], event)] == []


def test_image():
    """A picture is OpenAI's own item type; everything else in its stream holds under both."""
    events = frames(encode(responses, STREAMS["image"], context()))

    found = [problem for event in events for problem in problems(event["type"], event)]
    assert all(problem.startswith("open_responses: ") for problem in found)
    assert {problem.split(": ")[1] for problem in found} == {
        "response.output_item.added", "response.output_item.done", "response.completed",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in STREAMS if name != "image"])
def test_replies(name: str):
    assert problems("response", responses.render_reply(collect(STREAMS[name]), context(CALL))) == []


@pytest.mark.parametrize("options", [{"queued": True}, {"store": False}])
def test_options(options: dict[str, Any]):
    events = frames(encode(responses, STREAMS["text"], context(CALL, **options)))

    assert [problem for event in events for problem in problems(event["type"], event)] == []


def test_snapshots_without_a_stream():
    for response in (
        stored.queued(context(CALL)),
        stored.in_progress(context()),
        stored.cancelled(stored.in_progress(context())),
    ):
        assert problems("response", response) == []


def test_the_schemas_can_fail():
    """Guards the loosening: a missing key is found by both."""
    response = stored.queued(context())
    del response["tools"]

    assert len(problems("response", response)) == 2
