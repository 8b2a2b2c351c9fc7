"""UI messages of every generation become the canonical messages that the AI SDK's conversion gives."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.call import Audio, Document, Image, Message, Reasoning, Text, ToolOutput, ToolUse
from streamward.errors import InvalidRequest
from streamward.wire.ui_request import (
    DENIED,
    Approval,
    answer,
    convert_messages,
    generation,
    parse_request,
    without_tools,
)  # fmt: skip

PNG = "iVBORw0KGgo="
HI_V5 = {"id": "u", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
HI = Message("user", (Text("hi"),))


def tool_part(state: str, **fields: Any) -> dict[str, Any]:
    return {"type": "tool-weather", "toolCallId": "c1", "state": state, "input": {"city": "Oslo"}, **fields}


def assistant(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "a", "role": "assistant", "parts": list(parts)}


USE = ToolUse("c1", "weather", '{"city":"Oslo"}')


# -- generation and request


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([HI_V5], 5),
        ([{"role": "user", "content": "hi", "parts": [{"type": "text", "text": "hi"}]}], 4),
        ([{"role": "user", "content": "hi"}], 3),
        ([{"role": "user", "content": "x", "parts": []}, {"role": "assistant", "content": "y"}], 3),
        ([{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}], 2),
    ],
)
def test_the_form_tells_the_generation(messages: list[dict[str, Any]], expected: int) -> None:
    assert generation(messages) == expected


def test_a_request_is_taken_apart() -> None:
    body = {"id": "c", "messages": [HI_V5, assistant()], "trigger": "submit-message", "messageId": "a", "model": "m"}
    request = parse_request(body)

    assert (request.chat_id, request.trigger, request.message_id) == ("c", "submit-message", "a")
    assert (request.continues, request.body) == ("a", {"model": "m"})


def test_a_prompt_is_one_user_message() -> None:
    request = parse_request({"prompt": "hi", "k": 1})

    assert convert_messages(list(request.messages)).messages == (HI,)
    assert request.body == {"k": 1}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"prompt": 1}, "body.prompt"),
        ([], "body"),
    ],
)
def test_a_malformed_request_is_refused_by_field(body: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(body)

    assert caught.value.info.param == param
    assert caught.value.info.status == 400


# -- versions 5 to 7


def test_an_assistant_message_is_cut_at_steps_and_followed_by_outputs() -> None:
    message = assistant(
        {"type": "step-start"}, {"type": "text", "text": "Checking."}, tool_part("output-available", output={"t": 21}),
        {"type": "step-start"}, {"type": "source-url", "sourceId": "s", "url": "https://e.com"},
        {"type": "text", "text": "Warm."},
    )  # fmt: skip

    assert convert_messages([HI_V5, message]).messages == (
        HI,
        Message("assistant", (Text("Checking."), USE)),
        Message("tool", (ToolOutput("c1", '{"t":21}', "weather"),)),
        Message("assistant", (Text("Warm."),)),
    )


@pytest.mark.parametrize(
    ("part", "output"),
    [
        (tool_part("output-available", output="pong"), ToolOutput("c1", "pong", "weather")),
        (tool_part("output-available", output=None), ToolOutput("c1", "null", "weather")),
        (tool_part("output-error", errorText="no"), ToolOutput("c1", "no", "weather", is_error=True)),
        (tool_part("output-denied", approval={"reason": "no"}), ToolOutput("c1", "no", "weather", is_error=True)),
        (tool_part("output-denied"), ToolOutput("c1", DENIED, "weather", is_error=True)),
    ],
)
def test_a_finished_call_gives_its_output(part: dict[str, Any], output: ToolOutput) -> None:
    assert convert_messages([assistant(part)]).messages == (Message("assistant", (USE,)), Message("tool", (output,)))


def test_inputs_cut_off_and_provider_tools_are_left_out() -> None:
    parts = (tool_part("input-streaming"), tool_part("output-available", output=1, providerExecuted=True))

    assert convert_messages([HI_V5, assistant(*parts)]).messages == (HI,)


def test_raw_text_stands_in_for_an_input_that_was_never_valid() -> None:
    part = tool_part("output-error", errorText="bad", rawInput='{"ci')
    part["input"] = None

    assert convert_messages([assistant(part)]).messages[0].parts == (ToolUse("c1", "weather", '{"ci'),)


@pytest.mark.parametrize(("version", "policy"), [(5, None), (7, "keep")])
def test_an_open_call_is_kept_when_the_version_or_the_caller_says_so(version: Any, policy: Any) -> None:
    message = assistant(tool_part("input-available"))

    assert convert_messages([message], version=version, open_calls=policy).messages == (Message("assistant", (USE,)),)


@pytest.mark.parametrize("state", ["input-available", "approval-requested"])
def test_an_open_call_is_an_error_from_version_6_on(state: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^Tool result is missing for tool call c1\.$"):
        convert_messages([assistant(tool_part(state, approval={"id": "ap"}))], version=6)


def test_an_open_call_can_be_dropped() -> None:
    message = assistant({"type": "text", "text": "t"}, tool_part("input-available"))

    assert convert_messages([message], open_calls="drop").messages == (Message("assistant", (Text("t"),)),)
    assert convert_messages([assistant(tool_part("input-available"))], open_calls="drop").messages == ()


@pytest.mark.parametrize(
    ("version", "state", "kept"),
    [(7, "approval-requested", True), (None, "approval-requested", True), (None, "input-available", True),
     (6, "approval-requested", False), (7, "input-available", False)],
)  # fmt: skip
def test_an_open_call_that_the_user_left_behind_is_dropped(version: Any, state: str, kept: bool) -> None:
    messages = [HI_V5, assistant({"type": "text", "text": "a"}, tool_part(state, approval={"id": "ap"})), HI_V5]

    if kept:
        assert convert_messages(messages, version=version).messages == (HI, Message("assistant", (Text("a"),)), HI)
    else:
        with pytest.raises(InvalidRequest, match="c1"):
            convert_messages(messages, version=version)


def test_an_approved_call_waits_for_its_output() -> None:
    part = tool_part("approval-responded", approval={"id": "ap", "approved": True})
    converted = convert_messages([HI_V5, assistant(part)], version=6)
    output = ToolOutput("c1", "done", "weather")

    assert converted.approvals == (Approval("ap", "c1", "weather", {"city": "Oslo"}, True),)
    assert converted.messages == (HI, Message("assistant", (USE,)))
    assert answer(converted.messages, {"c1": output})[2] == Message("tool", (output,))


def test_an_approval_that_the_user_wrote_past_is_an_open_call() -> None:
    part = tool_part("approval-responded", approval={"id": "ap", "approved": True})

    converted = convert_messages([HI_V5, assistant({"type": "text", "text": "a"}, part), HI_V5])

    assert converted.approvals == ()
    assert converted.messages == (HI, Message("assistant", (Text("a"),)), HI)
    with pytest.raises(InvalidRequest, match="c1"):
        convert_messages([HI_V5, assistant(part), HI_V5], version=6)


def test_a_denied_call_has_its_output_already() -> None:
    part = tool_part("approval-responded", approval={"id": "ap", "approved": False, "reason": "too cold"})
    converted = convert_messages([assistant(part)], version=6)

    assert [(a.approved, a.reason) for a in converted.approvals] == [(False, "too cold")]
    assert converted.messages[1].parts == (ToolOutput("c1", "too cold", "weather", is_error=True),)


def test_approved_calls_of_unknown_tools_are_answered_by_6_and_refused_by_7() -> None:
    part = tool_part("approval-responded", approval={"id": "ap", "approved": True})
    converted = convert_messages([assistant(part)], version=6)

    (output,) = without_tools(converted, version=6)[1].parts
    assert isinstance(output, ToolOutput)
    assert output.output == 'Tool "weather" does not require approval'
    with pytest.raises(InvalidRequest, match="c1"):
        without_tools(converted, version=7)


def test_outputs_join_a_tool_message_that_is_there() -> None:
    messages = (Message("assistant", (USE, ToolUse("c2", "ping"))), Message("tool", (ToolOutput("c2", "pong"),)), HI)

    joined = answer(messages, {"c1": ToolOutput("c1", "x")})

    assert joined[1] == Message("tool", (ToolOutput("c1", "x"), ToolOutput("c2", "pong")))
    assert joined[2] == HI


def test_system_messages_from_the_browser_are_refused_by_version_7_only() -> None:
    message = {"id": "s", "role": "system", "parts": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}

    assert convert_messages([message], version=6).messages == (Message("system", (Text("ab"),)),)
    with pytest.raises(InvalidRequest, match="not allowed"):
        convert_messages([message], version=7)


@pytest.mark.parametrize("fields", [{"signature": "s"}, {"thoughtSignature": "s"}, {"reasoningEncryptedContent": "s"}])
def test_reasoning_goes_back_with_its_signature(fields: dict[str, str]) -> None:
    part = {"type": "reasoning", "text": "hm", "providerMetadata": {"any": fields}}

    assert convert_messages([assistant(part)]).messages[0].parts == (Reasoning("hm", "s"),)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"mediaType": "image/png", "url": f"data:image/png;base64,{PNG}"}, Image(data=PNG, media_type="image/png")),
        ({"mediaType": "image/png", "url": "https://e.com/a"}, Image(url="https://e.com/a", media_type="image/png")),
        (
            {"mediaType": "application/pdf", "filename": "a.pdf", "url": f"data:;base64,{PNG}"},
            Document(data=PNG, media_type="application/pdf", filename="a.pdf"),
        ),
        ({"mediaType": "audio/mpeg", "url": "data:;base64,AQ=="}, Audio("AQ==", "mp3")),
        ({"mediaType": "audio/ogg", "url": "data:;base64,AQ=="}, Document(data="AQ==", media_type="audio/ogg")),
        ({"url": "data:text/plain,a%20b"}, Document(data="YSBi", media_type="text/plain")),
    ],
)
def test_files_become_images_and_documents(part: dict[str, Any], expected: Image | Audio | Document) -> None:
    message = {"role": "user", "parts": [{"type": "file", **part}, {"type": "data-note", "data": 1}]}

    assert convert_messages([message]).messages == (Message("user", (expected,)),)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "data:image/png;base64", "data:image/png;base64,*", "http:[", "http:x", ""]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert_messages([{"role": "user", "parts": [{"type": "file", "mediaType": "image/png", "url": url}]}])

    assert caught.value.info.param == "messages[0].parts[0].url"


def test_data_parts_reach_the_model_through_a_converter() -> None:
    message = {"role": "user", "parts": [{"type": "data-note", "data": {"x": 1}}]}
    converted = convert_messages([message], convert_data=lambda part: Text(str(part["data"])))

    assert converted.messages == (Message("user", (Text("{'x': 1}"),)),)


def test_a_steering_message_becomes_a_user_message_where_it_came_in() -> None:
    steering = {"type": "steering-message", "id": "s", "parts": [{"type": "text", "text": "hi"}]}
    message = assistant({"type": "text", "text": "a"}, steering, {"type": "text", "text": "b"})

    assert convert_messages([message]).messages == (
        Message("assistant", (Text("a"),)), HI, Message("assistant", (Text("b"),)),
    )  # fmt: skip


# -- versions 2 to 4


def invocation(**fields: Any) -> dict[str, Any]:
    return {"toolCallId": "c1", "toolName": "weather", "args": {"city": "Oslo"}, **fields}


def v4_parts(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "parts": list(parts)}


def test_version_4_cuts_before_text_that_follows_tools() -> None:
    message = v4_parts(
        {"type": "step-start"}, {"type": "text", "text": "Checking."},
        {"type": "tool-invocation", "toolInvocation": invocation(state="result", step=0, result="warm")},
        {"type": "step-start"}, {"type": "text", "text": "It is."},
    )  # fmt: skip

    assert convert_messages([message]).messages == (
        Message("assistant", (Text("Checking."), USE)),
        Message("tool", (ToolOutput("c1", '"warm"', "weather"),)),
        Message("assistant", (Text("It is."),)),
    )


def test_version_4_cuts_where_the_tool_step_changes() -> None:
    parts = [
        {"type": "tool-invocation", "toolInvocation": {**invocation(step=step, result=step), "toolCallId": f"c{step}"}}
        for step in (0, 1)
    ]

    assert [m.role for m in convert_messages([v4_parts(*parts)]).messages] == ["assistant", "tool"] * 2


def test_version_4_invocations_without_parts_are_grouped_by_step() -> None:
    message = {"role": "assistant", "content": "done", "toolInvocations": [
        {**invocation(step=0, result=0)}, {**invocation(step=1, result=1), "toolCallId": "c2"},
    ]}  # fmt: skip
    user = {"role": "user", "content": "more"}

    earlier = convert_messages([message, user], version=4).messages
    last = convert_messages([message], version=4).messages

    assert [m.role for m in earlier] == ["assistant", "tool", "assistant", "tool", "assistant", "user"]
    assert last[0].parts[0] == Text("done")
    assert [m.role for m in last] == ["assistant", "tool", "assistant", "tool"]


def test_a_missing_result_is_refused_in_the_words_of_the_ai_sdk() -> None:
    call = invocation(state="call")

    with pytest.raises(InvalidRequest, match=r'^ToolInvocation must have a result: {"toolCallId":'):
        convert_messages([v4_parts({"type": "tool-invocation", "toolInvocation": call})])


def test_version_4_reasoning_keeps_signatures_and_redacted_blocks() -> None:
    details = [{"type": "text", "text": "hm", "signature": "s"}, {"type": "redacted", "data": "x"}]
    message = v4_parts({"type": "reasoning", "reasoning": "hm", "details": details}, {"type": "text", "text": "a"})

    assert convert_messages([message]).messages[0].parts == (
        Reasoning("hm", "s"), Reasoning(redacted="x"), Text("a"),
    )  # fmt: skip


def test_attachments_become_text_images_and_documents() -> None:
    message = {"role": "user", "content": "see", "experimental_attachments": [
        {"contentType": "text/plain", "url": "data:text/plain;base64,xbxhYmE="},
        {"contentType": "image/png", "url": f"data:image/png;base64,{PNG}"},
        {"name": "a.pdf", "contentType": "application/pdf", "url": f"data:application/pdf;base64,{PNG}"},
    ]}  # fmt: skip

    assert convert_messages([message]).messages[0].parts == (
        Text("see"), Text("żaba"), Image(data=PNG, media_type="image/png"),
        Document(data=PNG, media_type="application/pdf", filename="a.pdf"),
    )  # fmt: skip


def test_version_3_keeps_text_and_calls_in_one_turn() -> None:
    message = {"role": "assistant", "content": "hm", "toolInvocations": [invocation(state="call", result={"y": 1})]}

    assert convert_messages([message]).messages == (
        Message("assistant", (Text("hm"), USE)), Message("tool", (ToolOutput("c1", '{"y":1}', "weather"),)),
    )  # fmt: skip


def test_version_2_functions_and_data_messages() -> None:
    messages = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "r"},
        {"role": "data", "content": "x", "data": {}},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": {"name": "g", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "s"},
    ]

    assert convert_messages(messages).messages == (
        Message("assistant", (ToolUse("f", "f", '{"a":1}'),)),
        Message("tool", (ToolOutput("f", "r", "f"),)),
        Message("assistant", (ToolUse("c", "g", "{}"),)),
        Message("tool", (ToolOutput("c", "s"),)),
    )


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "wizard", "content": ""}, "messages[0].role"),
        ({"role": "wizard", "parts": []}, "messages[0].role"),
        ({"role": "user", "parts": "x"}, "messages[0].parts"),
        ({"role": "user", "content": 1}, "messages[0].content"),
        ({"role": "user", "parts": [{"type": "text"}]}, "messages[0].parts[0].text"),
        (assistant(tool_part("flying")), "messages[0].parts[0].state"),
        (assistant(tool_part("approval-responded")), "messages[0].parts[0].approval"),
        (assistant({"type": "reasoning"}), "messages[0].parts[0].text"),
    ],
)
def test_malformed_messages_are_refused_by_path(message: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert_messages([message])

    assert caught.value.info.param == param
