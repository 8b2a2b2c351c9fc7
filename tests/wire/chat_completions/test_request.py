"""Chat Completions requests: parsed, rendered, and refused by the name of the field."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.call import (
    Audio,
    Call,
    Document,
    Image,
    Message,
    Output,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolOutput,
    ToolUse,
)
from streamward.errors import ErrorInfo, InvalidRequest, StreamwardError, Unsupported
from streamward.wire import chat_completions
from streamward.wire.chat_completions import parse_request, relay_request, render_request
from streamward.wire.dialect import Profile
from streamward.wire.table import dialect

USER = {"role": "user", "content": "hi"}
REFERENCE = Profile()


def asked(**fields: Any) -> Call:
    return parse_request({"model": "m", "messages": [USER], **fields})


def said(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return parse_request({"model": "m", "messages": list(messages)}).messages


WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True},
}


@pytest.mark.parametrize(
    ("fields", "call"),
    [
        ({}, {}),
        ({"stream": True}, {"stream": True}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True, "include_usage": True}),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, {"stream": True}),
        ({"max_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_completion_tokens": 6, "max_tokens": 5}, {"max_output_tokens": 6}),
        ({"temperature": 0, "top_p": 1, "top_k": 3, "seed": -4}, {"temperature": 0, "top_p": 1, "top_k": 3, "seed": -4}),
        ({"presence_penalty": -2, "frequency_penalty": 2}, {"presence_penalty": -2, "frequency_penalty": 2}),
        ({"stop": "x"}, {"stop": ("x",)}),
        ({"stop": ["x", "y"]}, {"stop": ("x", "y")}),
        ({"stop": None, "n": None, "tools": None}, {}),
        ({"n": 3}, {"choices": 3}),
        ({"logprobs": True, "top_logprobs": 4}, {"logprobs": True, "top_logprobs": 4}),
        ({"tools": [WEATHER]}, {"tools": (Tool("weather", "d", {"type": "object"}, True),)}),
        ({"functions": [{"name": "f"}], "function_call": "auto"}, {"tools": (Tool("f"),), "tool_choice": ToolChoice("auto")}),
        ({"function_call": {"name": "f"}}, {"tool_choice": ToolChoice("tool", "f")}),
        ({"tool_choice": "required"}, {"tool_choice": ToolChoice("required")}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"tool_choice": ToolChoice("tool", "f")}),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "f"}}]}}}, {"tool_choice": ToolChoice("required", None, ("f",))}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"response_format": {"type": "text"}}, {"output": Output("text")}),
        ({"response_format": {"type": "json_object"}}, {"output": Output("json")}),
        ({"response_format": {"type": "json_schema", "json_schema": {
            "name": "n", "schema": {"type": "object"}, "strict": True}}},
         {"output": Output("json-schema", "n", {"type": "object"}, True)}),
        ({"reasoning_effort": "low"}, {"thinking": Thinking("low")}),
        ({"reasoning": {"max_tokens": 9}}, {"thinking": Thinking(None, 9)}),
        ({"reasoning": {"enabled": False}}, {"thinking": Thinking(enabled=False)}),
        ({"reasoning": {"effort": "high"}}, {"thinking": Thinking("high")}),
        ({"reasoning": {"exclude": True}}, {}),
        ({"verbosity": "low", "user": "u"}, {"verbosity": "low", "user": "u"}),
        ({"metadata": {"k": "v"}}, {"metadata": {"k": "v"}}),
        ({"logit_bias": {"5": 1}, "store": True, "provider": {"order": []}},
         {"extra": {"chat_completions": {"logit_bias": {"5": 1}, "store": True, "provider": {"order": []}}}}),
    ],
)  # fmt: skip
def test_fields(fields: dict[str, Any], call: dict[str, Any]):
    """Each to its place; what the call has no word for is kept beside it."""
    assert asked(**fields) == Call("m", (Message("user", (Text("hi"),)),), **call)


PNG = "data:image/png;base64,eA=="


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"role": "system", "content": "s"}, (Text("s"),)),
        ({"role": "developer", "content": [{"type": "text", "text": "s"}]}, (Text("s"),)),
        ({"role": "user", "content": ""}, (Text(""),)),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e.org/a.png", "detail": "low"}}]},
         (Image("https://e.org/a.png", detail="low"),)),
        ({"role": "user", "content": [{"type": "image_url", "image_url": PNG}]}, (Image(None, "eA==", "image/png"),)),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "eA==", "format": "mp3"}}]},
         (Audio("eA==", "mp3"),)),
        ({"role": "user", "content": [
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,eA==", "filename": "f"}},
            {"type": "file", "file": {"file_id": "f1"}}]},
         (Document(None, "eA==", "application/pdf", "f"), Document(file_id="f1"))),
        ({"role": "assistant", "content": "a"}, (Text("a"),)),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "n"}]}, (Refusal("n"),)),
        ({"role": "assistant", "refusal": "n"}, (Refusal("n"),)),
        ({"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}]}, (ToolUse("c", "f", "{"),)),
        ({"role": "assistant", "content": "a", "reasoning_content": "r"}, (Reasoning("r"), Text("a"))),
        ({"role": "assistant", "content": "a", "reasoning": "r", "reasoning_details": [
            {"type": "reasoning.text", "text": "r", "signature": "s"}, {"type": "reasoning.encrypted", "data": "d"}]},
         (Reasoning("r", "s", "d"), Text("a"))),
        ({"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "r", "signature": "s"}]},
         (Reasoning("r", "s"), Text("a"))),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}, (ToolUse("f", "f", "{}"),)),
        ({"role": "tool", "tool_call_id": "c", "content": "42"}, (ToolOutput("c", "42"),)),
        ({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]},
         (ToolOutput("c", (Text("42"),)),)),
        ({"role": "function", "name": "f", "content": "42"}, (ToolOutput("f", "42", "f"),)),
    ],
)  # fmt: skip
def test_messages(message: dict[str, Any], parts: tuple[Any, ...]):
    (parsed,) = said(message)

    assert parsed.parts == parts
    assert parsed.role == {"function": "tool"}.get(message["role"], message["role"])


def test_results_of_one_turn_are_one_message():
    results = [{"role": "tool", "tool_call_id": call_id, "content": "x"} for call_id in "ab"]

    assert said(USER, *results, USER)[1] == Message("tool", (ToolOutput("a", "x"), ToolOutput("b", "x")))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"), ({"model": ""}, "model"), ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"),
        ({"messages": [5]}, "messages[0]"), ({"messages": [USER, {"role": "robot"}]}, "messages[1].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"), ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text"}]}]},
         "messages[0].content[1]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {}}]}]},
         "messages[0].tool_calls[0].function.name"),
        ({"stream": "yes"}, "stream"), ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"temperature": 2.1}, "temperature"), ({"temperature": "1"}, "temperature"), ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"), ({"n": 129}, "n"), ({"n": 1.5}, "n"), ({"stop": 5}, "stop"), ({"stop": [5]}, "stop[0]"),
        ({"max_tokens": 0}, "max_tokens"), ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"presence_penalty": 3}, "presence_penalty"), ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"seed": "x"}, "seed"), ({"logprobs": 1}, "logprobs"), ({"top_logprobs": 21}, "top_logprobs"),
        ({"tools": {}}, "tools"), ({"tools": [{}]}, "tools[0].type"), ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"tools": [WEATHER] * 1025}, "tools"),
        ({"tool_choice": "any"}, "tool_choice"), ({"tool_choice": {}}, "tool_choice.function.name"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": 5}}}, "tool_choice.allowed_tools.tools"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"), ({"functions": [{}]}, "functions[0].name"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"), ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort"), ({"metadata": {"k": 5}}, "metadata[...]"), ({"user": 5}, "user"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(fields: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as caught:
        asked(**fields)

    assert caught.value.info.param == param
    assert caught.value.info.status == 400


@pytest.mark.parametrize("field", ["model", "messages"])
def test_missing_fields_are_named(field: str):
    body = {"model": "m", "messages": [USER]}
    del body[field]

    with pytest.raises(InvalidRequest, match=field) as caught:
        parse_request(body)
    assert caught.value.info.param == field


# -- rendering

TEXTS = st.text(max_size=5)
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Image, st.just("https://e.org/a.png"), detail=st.none() | st.just("low")),
    st.builds(Image, st.none(), st.just("eA=="), st.just("image/jpeg")),
    st.builds(Audio, st.just("eA=="), st.just("wav")),
    st.builds(Document, st.none(), st.just("eA=="), st.just("application/pdf"), st.none() | st.just("f.pdf")),
    st.builds(Document, file_id=st.just("file_1")),
)
CALLS = st.lists(
    st.builds(ToolUse, st.sampled_from(["a", "b"]), st.just("f"), st.sampled_from(["{}", '{"x": 1}'])), max_size=2
)
ASSISTANT = st.builds(
    lambda thought, text, refusal, calls: Message("assistant", (*thought, *text, *refusal, *calls)),
    st.just(())
    | st.builds(Reasoning, TEXTS.filter(bool), st.none() | st.just("s"), st.none() | st.just("d")).map(lambda r: (r,)),
    st.just(()) | st.builds(Text, TEXTS.filter(bool)).map(lambda t: (t,)),
    st.just(()) | st.builds(Refusal, TEXTS.filter(bool)).map(lambda r: (r,)),
    CALLS,
)
TOOL = st.lists(
    st.builds(ToolOutput, TEXTS.filter(bool), TEXTS | st.just((Text("a"), Text("b")))), min_size=1, max_size=2
).map(lambda parts: Message("tool", tuple(parts)))
OTHERS = st.builds(
    lambda role, parts, name: Message(role, tuple(parts), name or None),
    st.sampled_from(["system", "developer", "user"]), st.lists(PARTS, min_size=1, max_size=3), TEXTS,
)  # fmt: skip


def one_tool_turn(messages: list[Message]) -> bool:
    return all((a.role, b.role) != ("tool", "tool") for a, b in pairwise(messages))


MAYBE = st.none() | st.booleans()
MAYBE_TEXT = st.none() | TEXTS
FORMS = [Output("text"), Output("json"), Output("json-schema", "n", {"type": "object"}, True, "d")]
THINKING = [Thinking("low"), Thinking(None, 5), Thinking(enabled=True), Thinking(None, 5, True)]
SCHEMA = st.none() | st.just({"type": "object", "properties": {}})
REQUESTS = st.builds(
    Call,
    model=st.just("m"),
    messages=st.lists(ASSISTANT | TOOL | OTHERS, min_size=1, max_size=4).filter(one_tool_turn).map(tuple),
    tools=st.lists(st.builds(Tool, st.just("f"), MAYBE_TEXT, SCHEMA, MAYBE), max_size=2).map(tuple),
    tool_choice=st.none() | st.sampled_from(
        [ToolChoice("auto"), ToolChoice("none"), ToolChoice("required"), ToolChoice("tool", "f"),
         ToolChoice("auto", None, ("f",))]
    ),
    parallel_tool_calls=st.none() | st.booleans(),
    max_output_tokens=st.none() | st.integers(1, 99),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 9),
    presence_penalty=st.none() | st.floats(-2, 2),
    frequency_penalty=st.none() | st.floats(-2, 2),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
    seed=st.none() | st.integers(),
    logprobs=st.none() | st.booleans(),
    top_logprobs=st.none() | st.integers(0, 20),
    choices=st.integers(1, 3),
    output=st.none() | st.sampled_from(FORMS),
    thinking=st.none() | st.sampled_from(THINKING),
    verbosity=st.none() | st.just("low"),
    user=st.none() | TEXTS,
    metadata=st.none() | st.just({"k": "v"}),
    extra=st.none() | st.just({"chat_completions": {"logit_bias": {"5": 1}}}),
)  # fmt: skip


@given(call=REQUESTS)
def test_round_trip(call: Call):
    """What is rendered is parsed to the same call."""
    assert parse_request(render_request(call, model="m", profile=REFERENCE)) == call


def rendered(profile: Profile, **fields: Any) -> dict[str, Any]:
    return render_request(asked(**fields), model="theirs", profile=profile)


def test_a_text_file_is_sent_as_text():
    """``file_data`` is for PDF; a file that cannot be decoded stays what it was."""
    files = (Document(None, "w6k=", "text/markdown", "a.md"), Document(None, "w6", "text/plain", "b"))
    body = render_request(Call("m", (Message("user", files),)), model="m", profile=Profile())

    file = {"type": "file", "file": {"file_data": "data:text/plain;base64,w6", "filename": "b"}}
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "é"}, file]}]


def test_streams_are_asked_for_usage():
    """For accounting, whatever the caller wants to see."""
    body = rendered(REFERENCE, stream=True)

    assert (body["model"], body["stream"], body["stream_options"]) == ("theirs", True, {"include_usage": True})
    assert "stream_options" not in rendered(Profile(asks_usage=False), stream=True)
    assert "stream" not in rendered(REFERENCE)


def test_profiles_change_the_body():
    profile = Profile(max_tokens_field="max_tokens", developer_role=False, drops_fields=frozenset({"user"}))
    developer = {"role": "developer", "content": "d"}

    body = rendered(profile, messages=[developer, USER], max_completion_tokens=5, user="u")

    assert (body["max_tokens"], body["messages"][0]["role"], "user" in body) == (5, "system", False)
    assert "max_completion_tokens" not in body


@pytest.mark.parametrize(
    ("feature", "fields"),
    [
        ("tools", {"tools": [WEATHER]}), ("n", {"n": 2}), ("logprobs", {"logprobs": True}),
        ("json_schema", {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}),
        ("images", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]}),
    ],
)  # fmt: skip
def test_what_a_profile_rules_out_is_refused(feature: str, fields: dict[str, Any]):
    """By name, rather than dropped; without the need the profile does not matter."""
    profile = Profile(unsupported=frozenset({feature}))

    with pytest.raises(Unsupported, match=feature) as caught:
        rendered(profile, **fields)
    assert caught.value.info.param == feature
    assert rendered(profile)


@pytest.mark.parametrize("target", ["messages", "responses", "generate_content", "ollama"])
@pytest.mark.parametrize("fields", [{"n": 2}, {"logit_bias": {"5": 1}}])
def test_other_dialects_refuse_what_they_cannot_do(target: str, fields: dict[str, Any]):
    """A feature of the request must not vanish on the way."""
    module = dialect(target)

    with pytest.raises(Unsupported) as caught:
        module.render_request(asked(**fields), model="x", profile=REFERENCE)
    assert next(iter(fields)) in str(caught.value)


@pytest.mark.parametrize("target", ["messages", "ollama"])
def test_logprobs_where_there_are_none(target: str):
    module = dialect(target)

    with pytest.raises(Unsupported, match="logprobs"):
        module.render_request(asked(logprobs=True), model="x", profile=REFERENCE)


@pytest.mark.parametrize("target", ["messages", "responses", "generate_content", "ollama", "chat_completions"])
def test_legacy_functions_become_tools(target: str):
    module = dialect(target)

    body = module.render_request(asked(functions=[{"name": "weather", "parameters": {}}]), model="x", profile=REFERENCE)

    assert "weather" in str(body["tools"])
    assert "functions" not in body


# -- the same dialect: nothing is parsed away


def test_a_relayed_body_keeps_everything():
    """But the model's name, and usage on streams."""
    body = {"model": "m", "messages": [USER], "n": 2, "functions": [{"name": "f"}], "logit_bias": {"5": 1}, "x": {"y": [1]}}
    before = copy.deepcopy(body)

    assert relay_request(body, model="theirs", profile=REFERENCE) == {**body, "model": "theirs"}
    assert body == before


def test_a_relayed_stream_asks_for_usage():
    options = {"include_usage": False, "include_obfuscation": False}
    body = {"model": "m", "messages": [], "stream": True, "stream_options": options}

    asked_for = relay_request(body, model="m", profile=REFERENCE)["stream_options"]

    assert asked_for == {"include_usage": True, "include_obfuscation": False}
    assert "stream_options" not in relay_request(body, model="m", profile=Profile(asks_usage=False))
    assert options["include_usage"] is False


@pytest.mark.parametrize(
    ("field", "body", "limits"),
    [
        ("max_tokens", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("max_tokens", {"max_completion_tokens": 5, "max_tokens": 6}, {"max_tokens": 6}),
        ("max_tokens", {"max_tokens": 6}, {"max_tokens": 6}),
        ("max_completion_tokens", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ("max_completion_tokens", {"max_tokens": 6}, {"max_tokens": 6}),
    ],
)
def test_a_relayed_limit_goes_out_under_the_name_the_provider_knows(field: Any, body: dict[str, Any], limits: dict[str, Any]):
    """One that knows the new name takes the old one too."""
    assert relay_request(body, model="m", profile=Profile(max_tokens_field=field)) == {"model": "m", **limits}


def test_a_relayed_body_drops_what_the_provider_rejects():
    profile = Profile(drops_fields=frozenset({"user", "logit_bias"}))

    assert relay_request({"user": "u", "logit_bias": {}, "x": 1}, model="m", profile=profile) == {"model": "m", "x": 1}


# -- anything at all

WHOLE: dict[str, Any] = {
    "model": "m", "stream": True, "stream_options": {"include_usage": True}, "stop": ["x"], "metadata": {"k": "v"},
    "tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}},
    "functions": [{"name": "f"}], "reasoning": {"effort": "low", "max_tokens": 5},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "messages": [
        {"role": "user", "name": "n", "content": [
            {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}},
            {"type": "file", "file": {"file_data": PNG, "filename": "f", "file_id": "i"}}]},
        {"role": "assistant", "reasoning": "r", "reasoning_details": [{"signature": "s", "data": "d"}],
         "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "x"}]},
    ],
}  # fmt: skip
WRONG = [None, 0, -1, 2.5, True, "", "x", [], [3], {}, {"type": "text"}, [{}], [None], 1 << 70]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_spoiled_request_is_the_callers_fault(wrong: Any):
    """Anything anywhere: a call that every dialect can judge, or a 400 that names a field."""
    for path in places(WHOLE):
        body = copy.deepcopy(WHOLE)
        inner: Any = body
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong

        judge(body)


def judge(body: dict[str, Any]) -> None:
    call, info = parsed(body)
    if call is None:
        assert info is not None
        assert (info.status, bool(info.param)) == (400, True)
        return
    for module in (chat_completions, dialect("messages"), dialect("responses")):
        info = refusal(module, call)
        assert info is None or info.status == 400


def parsed(body: dict[str, Any]) -> tuple[Call | None, ErrorInfo | None]:
    try:
        return parse_request(body), None
    except StreamwardError as error:
        return None, error.info


def refusal(module: Any, call: Call) -> ErrorInfo | None:
    try:
        module.render_request(call, model="m", profile=REFERENCE)
    except StreamwardError as error:
        return error.info
    return None
