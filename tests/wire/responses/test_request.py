"""Responses requests: what they mean, what is refused and how they go out again."""

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
from streamward.wire import messages as messages_dialect
from streamward.wire import responses
from streamward.wire.dialect import Context, Profile
from streamward.wire.foreign import refuse_foreign
from streamward.wire.responses.request import parse_request

REFERENCE = Profile()
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
ASKED = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Paris"}'}
ANSWERED = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}


def parse(items: Any = "hi", **fields: Any) -> Call:
    return responses.parse_request({"model": "m", "input": items, **fields})


def messages(*items: dict[str, Any], **fields: Any) -> tuple[Message, ...]:
    return parse(list(items), **fields).messages


def render(call: Call, profile: Profile = REFERENCE) -> dict[str, Any]:
    return responses.render_request(call, model="up", profile=profile)


def test_string_input_is_one_user_message():
    assert parse("Hello").messages == (Message("user", (Text("Hello"),)),)


def test_easy_messages_need_no_type():
    assert messages({"role": "developer", "content": "Be kind"}, {"role": "user", "content": "Hi"}) == (
        Message("developer", (Text("Be kind"),)),
        Message("user", (Text("Hi"),)),
    )


def test_instructions_come_first_and_go_back():
    call = parse("Hi", instructions="Be brief")

    assert [message.role for message in call.messages] == ["system", "user"]
    assert render(call)["instructions"] == "Be brief"
    assert len(render(call)["input"]) == 1


def test_images_and_files():
    content = [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "https://a.example/x.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/jpeg;base64,aGk="},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        {"type": "input_file", "file_url": "https://a.example/x.pdf"},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
    ]

    assert messages({"role": "user", "content": content})[0].parts == (
        Text("Look"),
        Image(url="https://a.example/x.png", detail="low"),
        Image(data="aGk=", media_type="image/jpeg"),
        Document(data="aGk=", media_type="application/pdf", filename="a.pdf"),
        Document(url="https://a.example/x.pdf"),
        Audio("aGk=", "wav"),
    )


def test_one_turn_of_the_model_is_one_message():
    """Reasoning, text and several calls, then their outputs: three messages, not seven."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I will look"}]}
    second = {**ASKED, "call_id": "c2"}

    asked, turn, outputs = messages(
        {"role": "user", "content": "Weather?"}, thought, said, ASKED, second, ANSWERED, {**ANSWERED, "call_id": "c2"}
    )

    assert asked.role == "user"
    assert turn.parts == (
        Reasoning("Hm", id="rs_1"), Text("I will look"), ToolUse("c1", "weather", '{"city":"Paris"}'),
        ToolUse("c2", "weather", '{"city":"Paris"}'),
    )  # fmt: skip
    assert outputs == Message("tool", (ToolOutput("c1", "sunny"), ToolOutput("c2", "sunny")))


def test_two_answers_in_a_row_stay_two_messages():
    one = {"role": "assistant", "content": "One"}

    assert [message.parts for message in messages(one, {**one, "content": "Two"})] == [(Text("One"),), (Text("Two"),)]


def test_outputs_may_hold_pictures():
    output = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://a.example/"}]

    parts = messages(ASKED, {**ANSWERED, "output": output})[1].parts

    assert parts == (ToolOutput("c1", (Text("see"), Image(url="https://a.example/"))),)


def test_an_output_needs_its_call():
    """Unless the call is in the response that this one continues."""
    with pytest.raises(InvalidRequest) as refused:
        parse([ANSWERED])

    assert refused.value.info.param == "input[0].call_id"
    assert parse([ANSWERED], previous_response_id="resp_1").messages[0].role == "tool"
    body = {"model": "m", "input": [ANSWERED], "previous_response_id": "resp_1"}
    assert [message.role for message in parse_request(body, history=[ASKED]).messages] == ["assistant", "tool"]
    with pytest.raises(InvalidRequest):
        parse_request(body, history=[])


def test_signatures_of_other_dialects_come_back_as_they_were():
    """What the encoder sealed is opened: thinking, redacted blocks, and signatures of calls."""
    items = [
        {"type": "reasoning", "id": "a", "summary": [{"text": "Hm"}], "encrypted_content": "sw1.signature.c2ln"},
        {"type": "reasoning", "id": "b", "summary": [], "encrypted_content": "sw1.redacted.b3Bh"},
        ASKED,
        {"type": "reasoning", "id": "c", "summary": [], "encrypted_content": "sw1.call.2.c1Z2Vt"},
    ]

    assert messages(*items)[0].parts == (
        Reasoning("Hm", "c2ln", id="a"),
        Reasoning(redacted="b3Bh", id="b"),
        ToolUse("c1", "weather", '{"city":"Paris"}', "Z2Vt"),
    )


@pytest.mark.parametrize("sealed", ["sw1.call.", "sw1.call.x.y", "sw1.call.99.c1", "sw1.call.-1.c1", "sw1.call.²."])
def test_a_forged_seal_is_only_opaque_text(sealed: str):
    parts = messages({"type": "reasoning", "id": "a", "summary": [], "encrypted_content": sealed})[0].parts

    assert [type(part) for part in parts] == [Reasoning]


def test_reasoning_goes_back_only_to_its_own_kind_of_provider():
    """Its own encrypted content with its id; another provider's proof is left out; unsigned text is kept."""
    own = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}],
           "encrypted_content": "gAAA"}  # fmt: skip
    foreign = {**own, "encrypted_content": "sw1.signature.c2ln"}
    unsigned = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}

    assert render(parse([own]))["input"] == [own]
    assert render(parse([foreign]))["input"] == []
    assert render(parse([unsigned]))["input"] == [unsigned]


@pytest.mark.parametrize("kind", ["web_search_call", "item_reference", "compaction", "acme:thing"])
def test_other_items_are_kept_for_the_same_dialect_only(kind: str):
    item = {"type": kind, "id": "x", "encrypted_content": "y"}
    call = parse([{"role": "user", "content": "Hi"}, item])

    assert render(call)["input"][1] == item
    with pytest.raises(Unsupported) as refused:
        refuse_foreign(call, "chat_completions")
    assert refused.value.info.param == "messages[1].item"


def test_hosted_tools_are_kept_for_the_same_dialect_only():
    tools = [{"type": "web_search"}, WEATHER]
    call = parse(tools=tools, tool_choice={"type": "web_search"})

    assert (render(call)["tools"], render(call)["tool_choice"]) == (tools, {"type": "web_search"})
    with pytest.raises(Unsupported):
        refuse_foreign(call, "messages")


def test_plain_requests_suit_every_target():
    """Nothing that only steers storage, billing or caching stands in the way of another dialect."""
    call = parse(
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes", "phase": "commentary"}, ASKED,
         ANSWERED],
        instructions="Be brief", store=True, previous_response_id="resp_1", service_tier="auto", truncation="auto",
        include=["reasoning.encrypted_content"], prompt_cache_key="k", safety_identifier="me", max_tool_calls=3,
        stream=True, stream_options={"include_obfuscation": False}, tools=[WEATHER], reasoning={"effort": "low"},
    )  # fmt: skip

    refuse_foreign(call, "chat_completions")
    refuse_foreign(call, "messages")


def test_tools_and_choices():
    call = parse(tools=[WEATHER], tool_choice={"type": "function", "name": "weather"}, parallel_tool_calls=False)

    assert call.tools == (Tool("weather", None, {"type": "object"}, True),)
    assert (call.tool_choice, call.parallel_tool_calls) == (ToolChoice("tool", "weather"), False)
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]}
    assert parse(tools=[WEATHER], tool_choice=allowed).tool_choice == ToolChoice("required", allowed=("weather",))
    assert parse(tool_choice="none").tool_choice == ToolChoice("none")


def test_text_and_reasoning():
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    call = parse(text={"format": form, "verbosity": "low"}, reasoning={"effort": "high", "summary": "auto"})

    assert call.output == Output("json-schema", "n", {"type": "object"}, True)
    assert (call.verbosity, call.thinking) == ("low", Thinking("high", summary="auto"))
    assert parse(text={"format": {"type": "json_object"}}).output == Output("json")


def test_log_probabilities():
    call = parse(include=["message.output_text.logprobs"], top_logprobs=2)

    assert (call.logprobs, call.top_logprobs) == (True, 2)
    assert render(call)["include"] == ["message.output_text.logprobs"]


def test_null_is_absent():
    names = ("instructions", "tools", "tool_choice", "temperature", "text", "reasoning", "metadata", "store", "stream",
             "previous_response_id", "include", "max_output_tokens", "truncation", "stream_options")  # fmt: skip

    assert parse(**dict.fromkeys(names)) == parse()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{}]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_video"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}]},
         "input[0].content[0].image_url"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [ASKED, {**ANSWERED, "output": 7}]}, "input[1].output"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"stream": "yes"}, "stream"),
        ({"store": 1}, "store"),
        ({"background": True, "store": False}, "background"),
        ({"stream_options": {}}, "stream_options"),
        ({"truncation": "middle"}, "truncation"),
        ({"instructions": ["x"]}, "instructions"),
        ({"safety_identifier": "x" * 65}, "safety_identifier"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"k": "x" * 513}}, "metadata.k"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"metadata": {"k": None}}, "metadata.k"),
        ({"metadata": {"k" * 65: "x"}}, "metadata." + "k" * 64),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "no spaces"}]}, "tools[0].name"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name"),
        ({"tools": [{**WEATHER, "parameters": "x"}]}, "tools[0].parameters"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "nope"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "no"}]}},
         "tool_choice.tools[0].name"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"reasoning": {"effort": "a lot"}}, "reasoning.effort"),
        ({"include": [7]}, "include[0]"),
        ({"conversation": "c", "previous_response_id": "r"}, "previous_response_id"),
    ],
)  # fmt: skip
def test_refusals_name_the_field(fields: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as refused:
        parse(**fields)

    assert (refused.value.info.param, refused.value.info.status) == (param, 400)


def test_rendered_requests():
    """A call from any dialect as this one writes it: stateless, and nothing that was not asked for."""
    call = Call(
        model="x",
        messages=(
            Message("developer", (Text("Be kind"),)),
            Message("user", (Text("Hi"), Image(data="aGk=", media_type="image/png"))),
            Message("assistant", (Text("One moment"), ToolUse("c1", "f", "{}"), ToolUse("c2", "f", "{}"))),
            Message("tool", (ToolOutput("c1", "1"), ToolOutput("c2", (Text("2"),)))),
            Message("assistant", (Refusal("No"),)),
        ),
        tools=(Tool("f", "does", {"type": "object"}),),
        thinking=Thinking(max_tokens=4000),
        stream=True,
    )

    assert render(call) == {
        "model": "up",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind"}]},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "Hi"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
            ]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One moment"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        ],
        "tools": [
            {"type": "function", "name": "f", "description": "does", "parameters": {"type": "object"}, "strict": False}
        ],
        "reasoning": {"effort": "medium"},
        "stream": True,
        "store": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (Call("m", stop=("x",)), "stop"),
        (Call("m", seed=1), "seed"),
        (Call("m", top_k=1), "top_k"),
        (Call("m", choices=2), "n"),
        (Call("m", extra={"messages": {"container": "x"}}), "container"),
    ],
)
def test_what_the_dialect_has_no_field_for_is_refused(call: Call, param: str):
    with pytest.raises(Unsupported) as refused:
        render(call)

    assert refused.value.info.param == param


def test_profiles():
    """What a provider cannot do is refused; what it rejects without need is left out."""
    call = parse("Hi", tools=[WEATHER], metadata={"a": "b"})

    with pytest.raises(Unsupported):
        render(call, Profile(unsupported=frozenset({"tools"})))
    body = render(call, Profile(drops_fields=frozenset({"metadata", "store"})))
    assert "metadata" not in body
    assert "store" not in body
    assert "seed" not in render(Call("m", seed=1), Profile(drops_fields=frozenset({"seed"})))
    system = render(parse([{"role": "developer", "content": "x"}]), Profile(developer_role=False))
    assert system["input"][0]["role"] == "system"


def test_unknown_fields_go_on_to_the_same_dialect():
    body = render(parse("Hi", x_new={"a": 1}, truncation="auto", background=True, previous_response_id="resp_1"))

    assert (body["x_new"], body["truncation"]) == ({"a": 1}, "auto")
    assert not body.keys() & {"background", "previous_response_id"}


def test_request_round_trip():
    """Parsed, rendered and parsed again, a request means the same."""
    call = parse(
        [{"role": "user", "content": "Weather?"}, {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "g"},
         {"role": "assistant", "content": "Look", "phase": "commentary"}, ASKED, ANSWERED, SEARCH],
        instructions="Be brief", tools=[WEATHER], tool_choice="required", temperature=1, top_p=0.5, max_output_tokens=9,
        text={"format": {"type": "json_object"}}, reasoning={"effort": "low", "context": "auto"}, metadata={"a": "b"},
        user="u", stream=True,
    )  # fmt: skip

    again = responses.parse_request(render(call))

    assert again.messages == call.messages
    names = ("tools", "tool_choice", "temperature", "top_p", "max_output_tokens", "output", "thinking", "metadata", "user")
    assert [getattr(again, name) for name in names] == [getattr(call, name) for name in names]


def test_encrypted_reasoning_survives_a_client_of_another_dialect():
    """Out to a Messages client as a signature, and back to its own provider: content and id as they were."""
    item = {"type": "reasoning", "id": "rs_9", "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": "gAAA"}  # fmt: skip
    reply = responses.parse_reply({"id": "r", "status": "completed", "output": [item, ASKED]}, REFERENCE)
    said = messages_dialect.render_reply(reply, Context(id="abc", model="m", created=5))["content"]
    turns = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}]},
    ]

    call = messages_dialect.parse_request({"model": "m", "max_tokens": 9, "messages": turns})

    assert render(call)["input"][1] == item
