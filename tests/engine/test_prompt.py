"""Messages in every form that stream_text takes."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.call import Document, Image, Message, Text, ToolOutput, ToolUse
from streamward.engine.prompt import prompt_of
from streamward.errors import InvalidRequest
from support.aisdk_captures import conversions


def read(messages: Any) -> tuple[Message, ...]:
    return prompt_of(messages, None, None).messages


def test_a_prompt_and_a_system_text():
    assert prompt_of(None, "hi", "be kind").messages == (
        Message("system", (Text("be kind"),)), Message("user", (Text("hi"),)),
    )  # fmt: skip


def test_plain_messages_are_the_same_in_every_form():
    assert read([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]) == (
        Message("user", (Text("hi"),)), Message("assistant", (Text("ho"),)),
    )  # fmt: skip


def test_model_messages_as_the_ai_sdk_writes_them():
    messages = read([
        {"role": "user", "content": [
            {"type": "text", "text": "see"}, {"type": "image", "image": b"\x89PNG", "mediaType": "image/png"},
            {"type": "file", "data": "https://example.com/a.pdf", "mediaType": "application/pdf"},
        ]},
        {"role": "assistant", "content": [{"type": "tool-call", "toolCallId": "c", "toolName": "t", "input": {"a": 1}}]},
        {"role": "tool", "content": [
            {"type": "tool-result", "toolCallId": "c", "toolName": "t", "output": {"type": "json", "value": {"b": 2}}},
            {"type": "tool-result", "toolCallId": "d", "toolName": "t", "output": {"type": "error-text", "value": "no"}},
        ]},
    ])  # fmt: skip

    assert messages[0].parts == (
        Text("see"), Image(data="iVBORw==", media_type="image/png"),
        Document(url="https://example.com/a.pdf", media_type="application/pdf"),
    )  # fmt: skip
    assert messages[1].parts == (ToolUse("c", "t", '{"a":1}'),)
    assert messages[2].parts == (ToolOutput("c", '{"b":2}', "t"), ToolOutput("d", "no", "t", is_error=True))


def test_openai_messages():
    messages = read([
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ])  # fmt: skip

    assert messages[1].parts == (Image(url="https://example.com/a.png"),)
    assert messages[2].parts == (ToolUse("c", "t", "{}"),)
    assert messages[3].parts == (ToolOutput("c", "done"),)


@pytest.mark.parametrize("version", [4, 5, 6, 7])
def test_ui_messages_of_every_generation_are_recognised(version: int):
    """Every captured conversation is read without being told its version, unless a call was left without its result."""
    read_any = 0
    for capture in conversions(version):
        if capture["name"] in ("no-result", "tool-open"):
            with pytest.raises(InvalidRequest, match="result"):
                prompt_of(capture["messages"], None, None)
            continue
        prompt = prompt_of(capture["messages"], None, None)
        assert prompt.messages
        read_any += 1

    assert read_any > 3


def test_the_continued_message_is_named():
    ui = [{"id": "u", "role": "user", "parts": [{"type": "text", "text": "x"}]}]
    continued = [*ui, {"id": "a9", "role": "assistant", "parts": [{"type": "text", "text": "y"}]}]

    assert prompt_of(ui, None, None).continues is None
    assert prompt_of(continued, None, None).continues == "a9"


def test_messages_of_a_result_can_be_put_back():
    given = (Message("user", (Text("x"),)), Message("assistant", (Text("y"),)))

    assert read([*given]) == given
    assert read([given[0], {"role": "assistant", "content": "y"}]) == given


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("text", "messages"), ([], "messages"), ([5], "messages[0]"), ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": [{"type": "image", "image": 5}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "tool-call"}]}], "messages[0].content[0].toolCallId"),
        ([{"role": "user", "parts": [{"type": "text"}]}], "messages[0].parts[0].text"),
        ([{"role": "user", "parts": []}, Message("user", (Text("x"),))], "messages[1]"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(messages: Any, param: str):
    with pytest.raises(InvalidRequest) as caught:
        read(messages)

    assert caught.value.info.param == param
