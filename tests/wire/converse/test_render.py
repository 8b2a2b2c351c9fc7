"""Canonical calls to Converse requests; AWS's own description of the API is the judge of their form."""

from __future__ import annotations

import base64
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

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
from streamward.wire import converse
from streamward.wire.dialect import Profile

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SHAPE = botocore.session.Session().get_service_model("bedrock-runtime").operation_model("ConverseStream").input_shape
HI = (Message("user", (Text("Hi"),)),)
WEATHER = Tool("weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}}, strict=True)
PNG = base64.b64encode(b"png").decode()


def render(messages: tuple[Message, ...] = HI, *, model: str = CLAUDE, profile: Profile | None = None, **fields: Any) -> Any:
    body = converse.render_request(Call(model, messages, **fields), model=model, profile=profile or Profile())
    report = ParamValidator().validate({"modelId": model, **body}, SHAPE)
    assert not report.has_errors(), report.generate_report()
    return body


def test_a_plain_question():
    assert render() == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


def test_settings():
    body = render(
        (Message("system", (Text("Be brief"),)), *HI, Message("developer", (Text("Please"),))), temperature=0.5, top_p=0.9,
        max_output_tokens=100, stop=("X",), metadata={"team": "a"}, user="u",
    )  # fmt: skip

    assert body["system"] == [{"text": "Be brief"}, {"text": "Please"}]
    assert body["inferenceConfig"] == {"maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["X"]}
    assert body["requestMetadata"] == {"team": "a"}
    assert "user" not in body


def test_a_conversation_with_everything():
    """Turns alternate, results come first, signed reasoning goes back and other providers' does not."""
    body = render((
        *HI, Message("user", (Image(data=PNG, media_type="image/jpeg"),
                              Document(data=PNG, media_type="application/pdf", filename="my_file (1).pdf"),
                              Document(data=PNG, media_type="text/plain"), Audio(PNG, "wav"))),
        Message("assistant", (Reasoning("hm", "c2ln"), Reasoning("other", "sw1.responses.x"), Reasoning(redacted="b3Bh"),
                              Text("I look"), Text(""), Refusal("no"), ToolUse("functions.get:0|x", "weather", '{"a":1}'),
                              ToolUse("b", "weather", ""))),
        Message("user", (Text("meanwhile"),)),
        Message("tool", (ToolOutput("functions.get:0|x", "12"), ToolOutput("b", (Text("x"), Image(data=PNG)), is_error=True))),
    ), tools=(WEATHER,))  # fmt: skip

    asked, answered, results = body["messages"]
    assert [next(iter(block)) for block in asked["content"]] == ["text", "image", "document", "document", "audio"]
    assert asked["content"][2]["document"]["name"] == "my file (1)"
    assert asked["content"][3]["document"]["source"] == {"text": "png"}
    assert [next(iter(block)) for block in answered["content"]] == [
        "reasoningContent", "reasoningContent", "text", "text", "toolUse", "toolUse",
    ]  # fmt: skip
    assert answered["content"][4]["toolUse"] == {"toolUseId": "functions.get:0_x", "name": "weather", "input": {"a": 1}}
    assert [next(iter(block)) for block in results["content"]] == ["toolResult", "toolResult", "text"]
    assert results["content"][0]["toolResult"]["toolUseId"] == "functions.get:0_x"
    assert results["content"][1]["toolResult"]["status"] == "error"
    assert body["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), {"auto": {}}), (ToolChoice("required"), {"any": {}}),
        (ToolChoice("tool", "weather"), {"tool": {"name": "weather"}}), (None, None),
    ],
)  # fmt: skip
def test_tool_choice(choice: ToolChoice | None, expected: Any):
    assert render(tools=(WEATHER,), tool_choice=choice)["toolConfig"].get("toolChoice") == expected


def test_no_tool_and_some_tools():
    both = (WEATHER, Tool("now"))

    assert "toolConfig" not in render(tools=both, tool_choice=ToolChoice("none"))
    narrowed = render(tools=both, tool_choice=ToolChoice("auto", allowed=("now",)))["toolConfig"]["tools"]
    assert [tool["toolSpec"]["name"] for tool in narrowed] == ["now"]
    with pytest.raises(Unsupported, match="tool_choice none"):
        render((*HI, Message("assistant", (ToolUse("a", "now"),))), tools=both, tool_choice=ToolChoice("none"))


def test_structured_output():
    body = render(output=Output("json-schema", "answer", {"type": "object"}, description="d"))

    assert body["outputConfig"]["textFormat"]["structure"]["jsonSchema"] == {
        "schema": '{"type":"object"}', "name": "answer", "description": "d",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "thinking", "fields"),
    [
        (CLAUDE, Thinking(effort="low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (CLAUDE, Thinking(max_tokens=3000), {"thinking": {"type": "enabled", "budget_tokens": 3000}}),
        (CLAUDE, Thinking(effort="none"), {"thinking": {"type": "disabled"}}),
        ("openai.gpt-oss-120b-1:0", Thinking(effort="xhigh"), {"reasoning_effort": "high"}),
        ("us.amazon.nova-2-lite-v1:0", Thinking(effort="medium"),
         {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
        ("us.amazon.nova-2-lite-v1:0", Thinking(enabled=False), {"reasoningConfig": {"type": "disabled"}}),
        ("meta.llama3-1-70b-instruct-v1:0", Thinking(effort="none"), None),
    ],
)  # fmt: skip
def test_thinking_as_the_family_takes_it(model: str, thinking: Thinking, fields: Any):
    assert render(model=model, thinking=thinking).get("additionalModelRequestFields") == fields


def test_top_k_as_the_family_takes_it():
    assert render(top_k=5)["additionalModelRequestFields"] == {"top_k": 5}
    assert render(top_k=5, model="amazon.nova-pro-v1:0")["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 5}}


def test_half_of_a_small_limit_is_for_thinking():
    body = render(thinking=Thinking(effort="high"), max_output_tokens=4000)

    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2000
    with pytest.raises(Unsupported, match="2048"):
        render(thinking=Thinking(effort="high"), max_output_tokens=1500)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"choices": 2}, "n"), ({"seed": 1}, "seed"), ({"logprobs": True}, "logprobs"), ({"presence_penalty": 1.0},
        "presence_penalty"), ({"output": Output("json")}, "response_format"), ({"verbosity": "low"}, "verbosity"),
        ({"parallel_tool_calls": False, "tools": (WEATHER,)}, "parallel_tool_calls"),
        ({"extra": {"responses": {"novelty": 1}}}, "novelty"), ({"model": "meta.llama3", "top_k": 2}, "top_k"),
        ({"model": "meta.llama3", "thinking": Thinking(effort="low")}, "reasoning"),
        ({"messages": (Message("user", (Image(url="https://a.example/x.png"),)),)}, "messages[0]"),
        ({"messages": (Message("user", (Image(data="x", media_type="image/tiff"),)),)}, "messages[0]"),
        ({"messages": (Message("user", (Document(file_id="f"),)),)}, "messages[0]"),
        ({"messages": (Message("user", (Document(data="x", media_type="a/b"),)),)}, "messages[0]"),
        ({"messages": (Message("system", (Image(data="x"),)), *HI)}, "messages[0]"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_named(fields: dict[str, Any], param: str):
    with pytest.raises(Unsupported) as caught:
        render(**fields)

    assert caught.value.info.param == param


def test_what_the_profile_rules_out():
    for feature, fields in (("tools", {"tools": (WEATHER,)}), ("images", {"messages": (Message("user", (Image(data=PNG),)),)})):
        with pytest.raises(Unsupported, match=feature):
            render(profile=Profile(unsupported=frozenset({feature})), **fields)


def test_wrong_calls():
    with pytest.raises(InvalidRequest, match="user message"):
        render((Message("system", (Text("x"),)),))
    with pytest.raises(InvalidRequest, match="JSON object"):
        render((*HI, Message("assistant", (ToolUse("a", "b", "[1]"),))))
    with pytest.raises(InvalidRequest, match="UTF-8"):
        render((Message("user", (Document(data="/w==", media_type="text/plain"),)),))


def test_its_own_fields_pass():
    extra = {"converse": {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
                          "additionalModelRequestFields": {"a": 1}}}  # fmt: skip
    body = render(extra=extra, top_k=3)

    assert body["guardrailConfig"]["guardrailVersion"] == "1"
    assert body["additionalModelRequestFields"] == {"top_k": 3, "a": 1}


def test_paths():
    arn = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude"

    assert converse.path(CLAUDE, stream=True) == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
    assert converse.path(arn, stream=False) == (
        "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.anthropic.claude/converse"
    )
