"""Gemini requests: parsed, rendered, and refused by name."""

from __future__ import annotations

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
from streamward.wire import generate_content
from streamward.wire.dialect import Profile
from support.codec import REFERENCE

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

FULL: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "parts": [
            {"text": "Look:"}, {"inlineData": {"mimeType": "image/png", "data": "aWNv"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://e.org/i"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "cGRm"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "d2F2"}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://v"}, "videoMetadata": {"fps": 1}},
        ]},
        {"role": "model", "parts": [
            {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
            {"text": "I call.", "thoughtSignature": "dGV4dA=="},
            {"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": "Z2Vt"},
            {"functionCall": {"id": "c2", "name": "weather", "args": {}}},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "c1", "name": "weather", "response": {"sky": "blue", "t": 20}}},
            {"functionResponse": {"id": "c2", "name": "weather", "response": {"error": "no such city"}}},
            {"text": "And now?"},
        ]},
    ],
    "tools": [
        {"functionDeclarations": [{"name": "weather", "description": "d", "parametersJsonSchema": SCHEMA}]},
        {"googleSearch": {}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]},
                   "retrievalConfig": {"languageCode": "en"}},
    "safetySettings": [{"category": "X", "threshold": "OFF"}],
    "cachedContent": "cachedContents/1",
    "generationConfig": {
        "maxOutputTokens": 100, "temperature": 1.5, "topP": 0.9, "topK": 5, "presencePenalty": 0.5,
        "frequencyPenalty": 0.25,
        "seed": 7, "stopSequences": ["END"], "responseMimeType": "application/json", "responseJsonSchema": SCHEMA,
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2000}, "responseModalities": ["TEXT"],
    },
}  # fmt: skip


def render(call: Call, profile: Profile = REFERENCE) -> dict[str, Any]:
    return generate_content.render_request(call, model="gemini", profile=profile)


def ask(*turns: Message, **settings: Any) -> Call:
    return Call(model="m", messages=turns or (Message("user", (Text("Hi"),)),), **settings)


def test_full_request_round_trip():
    """Everything of a request comes back, tools of the provider and unknown parts included."""
    assert render(generate_content.parse_request(FULL | {"model": "models/gemini", "stream": True})) == FULL


def test_full_request_parsed():
    call = generate_content.parse_request(FULL | {"model": "models/gemini", "stream": True})

    assert (call.model, call.stream, call.include_usage) == ("gemini", True, True)
    assert [message.role for message in call.messages] == ["system", "user", "assistant", "tool", "user"]
    assert call.messages[1].parts[:5] == (
        Text("Look:"), Image(data="aWNv", media_type="image/png"),
        Image(url="https://e.org/i", media_type="image/jpeg"),
        Document(data="cGRm", media_type="application/pdf"), Audio("d2F2", "wav"),
    )  # fmt: skip
    assert call.messages[2].parts[:4] == (
        Reasoning("hm", "sw1.generate_content.c2ln"),
        Text("I call.", {"generate_content": {"thoughtSignature": "dGV4dA=="}}),
        ToolUse("c1", "weather", '{"city":"Paris"}', "sw1.generate_content.Z2Vt"), ToolUse("c2", "weather", "{}"),
    )  # fmt: skip
    assert call.messages[3].parts == (
        ToolOutput("c1", '{"sky":"blue","t":20}', "weather"),
        ToolOutput("c2", "no such city", "weather", is_error=True),
    )  # fmt: skip
    assert call.tool_choice == ToolChoice("tool", "weather")
    assert call.tools[0] == Tool("weather", "d", SCHEMA)
    assert call.output == Output("json-schema", schema=SCHEMA)
    assert call.thinking == Thinking(max_tokens=2000, enabled=True)
    assert (call.top_k, call.seed, call.stop, call.max_output_tokens) == (5, 7, ("END",), 100)


def test_snake_case_and_openapi_schemas():
    """Both spellings of protobuf's JSON; ``Schema`` types in capitals become JSON Schema, property names stay."""
    schema = {
        "type": "OBJECT", "properties": {"my_type": {"type": "STRING", "nullable": True}, "type": {"type": "INTEGER"},
                                         "l": {"type": "ARRAY", "items": {"anyOf": [{"type": "NUMBER"}]}}},
        "required": ["my_type"],
    }  # fmt: skip
    call = generate_content.parse_request(
        {
            "model": "m",
            "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "eA=="}}]}],
            "system_instruction": {"parts": [{"text": "S"}]},
            "tools": [{"function_declarations": [{"name": "f", "parameters": schema}]}],
            "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f", "g"]}},
            "generation_config": {"max_output_tokens": 5, "response_mime_type": "application/json",
                "response_schema": schema,
                                  "thinking_config": {"thinking_level": "LOW"}},
        }
    )  # fmt: skip

    converted = {
        "type": "object", "properties": {"my_type": {"type": ["string", "null"]}, "type": {"type": "integer"},
                                         "l": {"type": "array", "items": {"anyOf": [{"type": "number"}]}}},
        "required": ["my_type"],
    }  # fmt: skip
    assert call == Call(
        model="m",
        messages=(Message("system", (Text("S"),)), Message("user", (Image(data="eA==", media_type="image/png"),))),
        tools=(Tool("f", schema=converted),), tool_choice=ToolChoice("required", allowed=("f", "g")),
        max_output_tokens=5,
        output=Output("json-schema", schema=converted), thinking=Thinking(effort="low", enabled=True),
        include_usage=True,
    )  # fmt: skip


def test_answers_without_ids_find_their_calls():
    """In order, by name; ids we made are not sent to the provider."""
    calls = [{"functionCall": {"name": name, "args": {}}} for name in ("f", "g", "f")]
    answers = [
        {"functionResponse": {"name": name, "response": {"output": out}}}
        for name, out in (("f", "1"), ("f", "2"), ("g", "3"))
    ]
    contents = [{"role": "model", "parts": calls}, {"role": "user", "parts": answers}]

    call = generate_content.parse_request({"model": "m", "contents": contents})

    uses, outputs = ({part.id: part for part in message.parts} for message in call.messages)  # type: ignore[union-attr]
    assert {uses[key].name + outputs[key].output for key in uses} == {"f1", "f2", "g3"}  # type: ignore[union-attr]
    assert render(call)["contents"] == contents


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"), ({"model": "models/"}, "model"), ({"contents": None}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": "x"}, "contents"), ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0].functionCall.name"),
        ({"contents": [{"parts": [{"functionResponse": {}}]}]}, "contents[0].parts[0].functionResponse.name"),
        ({"contents": [{"parts": [{"inlineData": {"data": "x"}}]}]}, "contents[0].parts[0].inlineData.mimeType"),
        ({"systemInstruction": {"parts": [{}]}}, "systemInstruction.parts[0].text"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "MUST"}}}, "toolConfig.functionCallingConfig.mode"),
        ({"generationConfig": {"temperature": 3}}, "generationConfig.temperature"),
        ({"generationConfig": {"responseMimeType": "text/xml"}}, "generationConfig.responseMimeType"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}},
            "generationConfig.thinkingConfig.thinkingLevel"),
        ({"generationConfig": []}, "generationConfig"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(change: dict[str, Any], param: str):
    body = {"model": "m", "contents": [{"parts": [{"text": "Hi"}]}]} | change

    with pytest.raises(InvalidRequest) as caught:
        generate_content.parse_request(body)

    assert caught.value.info.param == param
    assert param in str(caught.value)


def test_chat_history_becomes_contents():
    """Instructions to the top, results beside each other under the name of their call, turns of one role merged."""
    call = ask(
        Message("system", (Text("A"),)), Message("user", (Text("1"),)), Message("user", (Text("2"),)),
        Message("assistant",
            (Reasoning("unsigned"), Reasoning(redacted="r"), Refusal("no"), ToolUse("call_1", "f", '{"a":1}'))),
        Message("tool", (ToolOutput("call_1", "plain"),)),
        Message("assistant", (ToolUse("call_2", "g", ""),)),
        Message("tool", (ToolOutput("call_2", (Text('{"b":2}'), Image(data="aWNv", media_type="image/png"))),)),
        Message("developer", (Text("B"),)), Message("user", (Text(""), Text("3"))),
    )  # fmt: skip

    assert render(call) == {
        "systemInstruction": {"parts": [{"text": "A"}, {"text": "B"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "1"}, {"text": "2"}]},
            {"role": "model",
                "parts": [{"text": "no"}, {"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "call_1", "name": "f", "response": {"output": "plain"}}},
            ]},
            {"role": "model", "parts": [{"functionCall": {"id": "call_2", "name": "g", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "call_2", "name": "g", "response": {"b": 2},
                                      "parts": [{"inlineData": {"mimeType": "image/png", "data": "aWNv"}}]}},
                {"text": "3"},
            ]},
        ],
    }  # fmt: skip


def test_signatures_of_other_providers_are_left_out():
    """A provider accepts its own signatures only, so a turn that moved here from another one goes without."""
    turn = (Reasoning("a", "c2ln"), Reasoning("b", "sw1.responses.0.x"), ToolUse("t", "f", signature="c2ln"))

    (content,) = render(ask(Message("assistant", turn)))["contents"]

    assert content["parts"] == [{"functionCall": {"id": "t", "name": "f", "args": {}}}]


def test_lost_signatures_get_the_word_the_provider_accepts():
    """Only the first call of a turn, and only where none is there."""
    profile = Profile(placeholder_signature="skip")
    lost = Message("assistant", (ToolUse("a", "f"), ToolUse("b", "f")))
    kept = Message("assistant", (ToolUse("a", "f", signature="sw1.generate_content.Z2Vt"),))

    signatures = [
        [part.get("thoughtSignature") for part in render(ask(message), profile)["contents"][0]["parts"]]
        for message in (lost, kept)
    ]

    assert signatures == [["skip", None], ["Z2Vt"]]


def test_tools_and_choices():
    tools = (Tool("a", "d", SCHEMA, strict=True), Tool("b"))

    narrowed = render(ask(tools=tools, tool_choice=ToolChoice("auto", allowed=("b",))))
    one = render(ask(tools=tools, tool_choice=ToolChoice("tool", "a")))
    some = render(ask(tools=tools, tool_choice=ToolChoice("required", allowed=("a", "b"))))
    none = render(ask(tools=tools, tool_choice=ToolChoice("none"), parallel_tool_calls=True))

    assert narrowed["tools"] == [{"functionDeclarations": [{"name": "b"}]}]
    assert narrowed["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}
    assert one["tools"][0]["functionDeclarations"][0] == {"name": "a", "description": "d", "parametersJsonSchema": SCHEMA}
    assert one["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a"]}}
    assert some["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a", "b"]}}
    assert none["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}


@pytest.mark.parametrize(
    ("thinking", "form", "expected"),
    [
        (Thinking(effort="medium"), "budget", {"includeThoughts": True, "thinkingBudget": 8192}),
        (Thinking(effort="max"), "adaptive", {"includeThoughts": True, "thinkingLevel": "high"}),
        (Thinking(effort="none"), "budget", {"thinkingBudget": 0}),
        (Thinking(effort="none"), "adaptive", {"thinkingLevel": "minimal"}),
        (Thinking(enabled=False), "budget", {"thinkingBudget": 0}),
        (Thinking(enabled=True), "budget", {"includeThoughts": True}),
        (Thinking(max_tokens=99), "adaptive", {"includeThoughts": True, "thinkingBudget": 99}),
    ],
)  # fmt: skip
def test_thinking(thinking: Thinking, form: Any, expected: dict[str, Any]):
    assert render(ask(thinking=thinking), Profile(effort_form=form))["generationConfig"] == {"thinkingConfig": expected}


def test_output_forms():
    assert render(ask(output=Output("json")))["generationConfig"] == {"responseMimeType": "application/json"}
    assert "generationConfig" not in render(ask(output=Output("text")))


def test_media_types_of_urls():
    """The dialect demands a type beside every URL: from the file ending, else the usual one."""
    parts = (Image(url="https://e.org/a.PNG?x=1"), Image(url="https://e.org/a"), Document(file_id="files/abc"))

    rendered = render(ask(Message("user", parts)))["contents"][0]["parts"]

    assert [part["fileData"]["mimeType"] for part in rendered] == ["image/png", "image/jpeg", "application/pdf"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"choices": 2}, "choice"), ({"logprobs": True}, "logprobs"), ({"verbosity": "high"}, "verbosity"),
        ({"parallel_tool_calls": False, "tools": (Tool("f"),)}, "parallel_tool_calls"),
        ({"extra": {"messages": {"mcp_servers": []}}}, "mcp_servers"),
        ({"messages": (Message("user", (Text("", {"messages": {"container_upload": {}}}),)),)}, "container_upload"),
    ],
)  # fmt: skip
def test_what_gemini_cannot_do_is_named(settings: dict[str, Any], named: str):
    call = Call(**({"model": "m", "messages": (Message("user", (Text("Hi"),)),)} | settings))

    with pytest.raises(Unsupported, match=named):
        render(call)


def test_profile_says_what_a_provider_cannot():
    with pytest.raises(Unsupported, match="image_urls"):
        render(ask(Message("user", (Image(url="https://e"),))), Profile(unsupported=frozenset({"image_urls"})))


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (Message("assistant", (ToolUse("t", "f", "[1]"),)), "JSON object"),
        (Message("tool", (ToolOutput("t", "x"),)), "no call"),
        (Message("system", (Text("S"),)), "user message"),
    ],
)  # fmt: skip
def test_histories_that_make_no_sense(message: Message, named: str):
    with pytest.raises(InvalidRequest, match=named):
        render(ask(message))
