"""Messages requests: parsed, rendered, and refused by name."""

from __future__ import annotations

import base64
from typing import Any

import pytest

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
from streamward.errors import InvalidRequest, Unsupported
from streamward.wire import messages
from streamward.wire.dialect import Profile
from support.codec import REFERENCE

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

FULL: dict[str, Any] = {
    "model": "claude", "max_tokens": 5000, "stream": True, "temperature": 0.5, "top_p": 0.9, "top_k": 5,
    "stop_sequences": ["END"], "service_tier": "auto", "metadata": {"user_id": "u"},
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "tools": [
        {"name": "weather", "description": "d", "input_schema": SCHEMA, "strict": True,
         "cache_control": {"type": "ephemeral"}},
        {"name": "web_search", "type": "web_search_20250305", "max_uses": 3},
    ],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "Look:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWNv"}},
            {"type": "image", "source": {"type": "url", "url": "https://e.org/i.png"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"},
                "title": "P"},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "héllo"},
             "citations": {"enabled": True}},
            {"type": "document", "source": {"type": "url", "url": "https://e.org/d.pdf"}},
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "b3A="},
            {"type": "text", "text": "I call."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True, "content": [
                {"type": "text", "text": "no"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWNv"}},
            ]},
            {"type": "text", "text": "And now?"},
        ]},
    ],
}  # fmt: skip


def render(call: Call, profile: Profile = REFERENCE, model: str = "claude") -> dict[str, Any]:
    return messages.render_request(call, model=model, profile=profile)


def ask(*turns: Message, **settings: Any) -> Call:
    return Call(model="m", messages=turns or (Message("user", (Text("Hi"),)),), **settings)


def test_full_request_round_trip():
    """Everything of a request comes back, hints and server tools included."""
    assert render(messages.parse_request(FULL)) == FULL


def test_full_request_parsed():
    call = messages.parse_request(FULL)

    assert call.messages[0] == Message("system", (Text("Be brief.", {"messages": {"cache_control": {"type": "ephemeral"}}}),))
    assert [message.role for message in call.messages] == ["system", "user", "assistant", "tool", "user"]
    assert call.messages[2].parts[:5] == (
        Reasoning("hm", "c2ln"), Reasoning(redacted="b3A="), Text("I call."),
        ToolUse("toolu_1", "weather", '{"city":"Paris"}'),
        ToolUse("toolu_2", "weather", "{}"),
    )  # fmt: skip
    image = Image(data="aWNv", media_type="image/png")
    assert call.messages[3].parts == (
        ToolOutput("toolu_1", "sunny"), ToolOutput("toolu_2", (Text("no"), image), is_error=True),
    )  # fmt: skip
    assert call.messages[1].parts[4] == Document(
        data=base64.b64encode("héllo".encode()).decode(), media_type="text/plain",
        extra={"messages": {"citations": {"enabled": True}}},
    )  # fmt: skip
    assert (call.tool_choice, call.parallel_tool_calls) == (ToolChoice("required"), False)
    assert (call.thinking, call.output) == (Thinking(max_tokens=2000, enabled=True), Output("json-schema", schema=SCHEMA))
    assert (call.user, call.stop, call.max_output_tokens, call.include_usage) == ("u", ("END",), 5000, True)
    assert call.extra == {"messages": {"service_tier": "auto"}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": [{"name": "f", "input_schema": {"type": "object"}}] * 1025}, "tools"),
        ({"model": None}, "model"), ({"model": 3}, "model"), ({"model": ""}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": "9"}, "max_tokens"), ({"max_tokens": True}, "max_tokens"),
        ({"messages": None}, "messages"), ({"messages": []}, "messages"), ({"messages": {}}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "tool_use", "id": "a", "name": "b", "input": {}}]}]}]}, "messages[0].content[0].content[0].type"),
        ({"messages": [{"role": "assistant",
            "content": [{"type": "tool_use", "id": "t", "name": "n", "input": "{}"}]}]},
         "messages[0].content[0].input"),
        ({"system": 3}, "system"), ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"temperature": 1.5}, "temperature"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"), ({"stream": 1}, "stream"), ({"tools": [{}]}, "tools[0].name"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"), ({"tool_choice": {"type": "must"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(change: dict[str, Any], param: str):
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]} | change

    with pytest.raises(InvalidRequest) as caught:
        messages.parse_request(body)

    assert caught.value.info.param == param
    assert param in str(caught.value)


def test_count_request_needs_no_limit():
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "system": "S"}

    call = messages.parse_count_request(body)

    assert messages.render_count_request(call, model="m", profile=REFERENCE) == {
        "model": "m", "system": [{"type": "text", "text": "S"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }  # fmt: skip


def test_chat_history_becomes_alternating_turns():
    """Instructions to the top, results of parallel calls in ONE user turn before its text, turns of one role merged."""
    call = ask(
        Message("system", (Text("A"),)), Message("user", (Text("1"),), name="ann"), Message("user", (Text("2"),)),
        Message("assistant", (
            Reasoning("unsigned"), Refusal("r"), ToolUse("functions.f:0", "f", '{"a":1}'), ToolUse("t2", "f", ""),
        )),
        Message("user", (Text("early"),)),
        Message("tool", (ToolOutput("functions.f:0", "x"),)), Message("tool", (ToolOutput("t2", "y", is_error=True),)),
        Message("developer", (Text("B"),)), Message("user", (Text(""), Text("3"))),
    )  # fmt: skip

    body = render(call)

    assert body == {
        "model": "claude", "max_tokens": 32_000,
        "system": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "r"},
                {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "functions_f_0", "content": "x"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "y", "is_error": True},
                {"type": "text", "text": "early"}, {"type": "text", "text": "3"},
            ]},
        ],
    }  # fmt: skip


def test_reasoning_of_other_providers_is_left_out():
    """A provider accepts its own signatures only, so a turn that moved here from another one goes without."""
    foreign = (Reasoning("a", "sw1.generate_content.c2ln"), Reasoning("b"), Reasoning("c", "c2ln"), Text("x"))

    (turn,) = render(ask(Message("assistant", foreign)))["messages"]

    assert [block.get("thinking") for block in turn["content"]] == ["c", None]


def test_temperature_may_stand_beside_reasoning_that_is_off():
    assert render(ask(thinking=Thinking(effort="none"), temperature=0.5))["temperature"] == 0.5


def test_tools_and_choices():
    tools = (Tool("a", "d", SCHEMA, strict=False), Tool("b"))
    empty = {"type": "object", "properties": {}}

    some = render(ask(tools=tools, tool_choice=ToolChoice("auto", allowed=("b",)), parallel_tool_calls=False))
    one = render(ask(tools=tools, tool_choice=ToolChoice("tool", "a")))
    none = render(ask(tools=tools, tool_choice=ToolChoice("none"), parallel_tool_calls=False))
    serial = render(ask(tools=tools, parallel_tool_calls=False))

    assert some["tools"] == [{"name": "b", "input_schema": empty}]
    assert some["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert one["tools"][0] == {"name": "a", "description": "d", "input_schema": SCHEMA}
    assert one["tool_choice"] == {"type": "tool", "name": "a"}
    assert none["tool_choice"] == {"type": "none"}
    assert serial["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in render(ask(parallel_tool_calls=False))


@pytest.mark.parametrize(
    ("thinking", "limit", "form", "expected"),
    [
        (Thinking(effort="medium"), None, "budget", {"thinking": {"type": "enabled", "budget_tokens": 8192}}),
        (Thinking(effort="high"), 10_000, "budget", {"thinking": {"type": "enabled", "budget_tokens": 5000}}),
        (Thinking(effort="none"), None, "budget", {"thinking": {"type": "disabled"}}),
        (Thinking(effort="minimal"), None, "adaptive",
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (Thinking(max_tokens=4000), None, "adaptive", {"thinking": {"type": "enabled", "budget_tokens": 4000}}),
        (Thinking(enabled=False), None, "budget", {"thinking": {"type": "disabled"}}),
        (Thinking(enabled=True), None, "budget", {"thinking": {"type": "enabled", "budget_tokens": 8192}}),
        (Thinking(enabled=True), None, "adaptive",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}),
    ],
)  # fmt: skip
def test_thinking_of_other_dialects(thinking: Thinking, limit: int | None, form: Any, expected: dict[str, Any]):
    body = render(ask(thinking=thinking, max_output_tokens=limit), Profile(effort_form=form))

    assert {name: body[name] for name in ("thinking", "output_config") if name in body} == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
        {"output_config": {"effort": "low"}}, {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "between_tools"}},
    ],
)  # fmt: skip
def test_thinking_of_this_dialect_comes_back(settings: dict[str, Any]):
    body = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}

    assert render(messages.parse_request(body | settings)) == body | settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"choices": 2}, "choice"), ({"presence_penalty": 0.1}, "presence_penalty"),
        ({"frequency_penalty": 1}, "frequency"),
        ({"seed": 1}, "seed"), ({"logprobs": True}, "logprobs"), ({"output": Output("json")}, "JSON mode"),
        ({"verbosity": "low"}, "verbosity"), ({"temperature": 1.2}, "temperature"),
        ({"thinking": Thinking(effort="low"), "max_output_tokens": 1000}, "reasoning"),
        ({"thinking": Thinking(effort="low"), "temperature": 0.5}, "temperature together with reasoning"),
        ({"thinking": Thinking(effort="low"), "tool_choice": ToolChoice("required")}, "tool_choice together"),
        ({"extra": {"chat_completions": {"web_search_options": {}}}}, "web_search_options"),
        ({"tools": (Tool("x", extra={"responses": {"type": "file_search"}}),)}, r"tools\[0\].type"),
    ],
)  # fmt: skip
def test_what_messages_cannot_do_is_named(settings: dict[str, Any], named: str):
    with pytest.raises(Unsupported, match=named):
        render(ask(**settings))


def test_parts_messages_cannot_take_are_named():
    word = Document(data="eA==", media_type="application/msword")
    for part, named in ((Audio("eA==", "wav"), "audio"), (word, "application/msword")):
        with pytest.raises(Unsupported, match=named):
            render(ask(Message("user", (part,))))


def test_profile_says_what_a_provider_cannot():
    limited = Profile(
        unsupported=frozenset({"tools", "images"}), default_max_tokens=4096, drops_fields=frozenset({"metadata"})
    )

    assert render(ask(user="u"), limited) == {
        "model": "claude", "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }  # fmt: skip
    for call in (ask(tools=(Tool("f"),)), ask(Message("user", (Image(url="https://e.org"),)))):
        with pytest.raises(Unsupported):
            render(call, limited)


@pytest.mark.parametrize("arguments", ["[1]", "{", '"x"'])
def test_broken_arguments_of_an_earlier_call(arguments: str):
    with pytest.raises(InvalidRequest, match="JSON object"):
        render(ask(Message("assistant", (ToolUse("t", "f", arguments),))))


def test_only_instructions():
    with pytest.raises(InvalidRequest, match="user message"):
        render(ask(Message("system", (Text("S"),))))


def test_foreign_hints_are_left_out():
    """Where to cache and what to bill change no answer."""
    call = ask(extra={"chat_completions": {"store": True, "service_tier": "flex"}})

    assert set(render(call)) == {"model", "max_tokens", "messages"}
