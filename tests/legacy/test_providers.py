"""The other helpers: providers, LangChain, the Assistants API, and the samples' replay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamward import StreamwardError
from streamward.legacy import (
    AnthropicStream,
    AssistantResponse,
    AWSBedrockAnthropicMessagesStream,
    AWSBedrockLlama2Stream,
    CohereStream,
    GoogleGenerativeAIStream,
    HuggingFaceStream,
    InkeepStream,
    LangChainAdapter,
    LangChainStream,
    MistralStream,
    ReplicateStream,
    StreamData,
)
from streamward.testing.golden import answer
from support.aisdk_captures import document
from support.scripted_upstream import frame


def bedrock(value: Any) -> dict[str, Any]:
    return {"chunk": {"bytes": json.dumps(value).encode()}}


MISTRAL = [{"choices": [{"delta": {"content": text}}]} for text in ("", "a", "b")]
PROVIDERS: dict[str, Any] = {
    "anthropic messages": (AnthropicStream, [{"type": "ping"}, {"delta": {"text": "a"}}, {"delta": {"text": "b"}}]),
    "anthropic cumulative": (AnthropicStream, frame({"completion": "a"}) + frame({"completion": "ab"})),
    "anthropic sse": (AnthropicStream, frame({"type": "x", "delta": {"text": "a"}}) + frame({"delta": {"text": "b"}})),
    "mistral": (MistralStream, MISTRAL),
    "google": (GoogleGenerativeAIStream, [{"candidates": [{"content": {"parts": [{"text": t}]}}]} for t in "ab"]),
    "hugging face": (HuggingFaceStream, [{"token": {"text": t}} for t in (" ", " a", "b", "</s>")]),
    "cohere lines": (CohereStream, [b'{"text":"a","is_fin', b'ished":false}\n{"text":"b"}\n{"text":"ab","is_finished":true}']),
    "cohere events": (CohereStream, [{"eventType": "text-generation", "text": t} for t in "ab"] + [{"eventType": "x"}]),
    "replicate": (ReplicateStream, b"data: a\n\ndata: b\n\nevent: done\ndata: {}\n\n"),
    "bedrock messages": (AWSBedrockAnthropicMessagesStream, {"body": [bedrock({"delta": {"text": t}}) for t in "ab"]}),
    "bedrock llama": (AWSBedrockLlama2Stream, {"body": [bedrock({"generation": t}) for t in "ab"]}),
}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_the_text_of_a_provider(name: str) -> None:
    helper, response = PROVIDERS[name]

    pieces = [data async for data in helper(response, version=2)]

    assert pieces == [b"a", b"b"]


async def test_inkeep_tells_its_metadata_at_the_end() -> None:
    told: list[Any] = []
    body = (
        b'event: records_cited\ndata: [1]\n\nevent: message_chunk\ndata: {"chat_session_id":"s","content_chunk":"a"}\n\n'
    )

    pieces = [d async for d in InkeepStream(body, {"onFinal": lambda *a: told.append(a), "onRecordsCited": told.append})]

    assert pieces == [b'0:"a"\n']
    assert told == [[1], ("a", {"chat_session_id": "s", "records_cited": [1]})]


async def test_an_error_of_the_provider_is_raised() -> None:
    with pytest.raises(StreamwardError):
        [d async for d in AnthropicStream(frame({"error": {"type": "overloaded_error", "message": "x"}}))]


def test_an_unknown_callback_is_refused() -> None:
    with pytest.raises(StreamwardError, match="unknown callback 'onTokn'"):
        MistralStream([], {"onTokn": print})


async def test_langchain_streams_become_data_streams() -> None:
    data = StreamData()
    data.append(1)
    data.close()
    events = [
        "text ", {"content": [{"type": "text", "text": "block"}, {"type": "tool_use"}]}, {"event": "on_chain_end"},
        {"event": "on_chat_model_stream", "data": {"chunk": {"content": "!"}}},
    ]  # fmt: skip

    response = LangChainAdapter.to_data_stream_response(events, data=data)

    assert [d async for d in response.body_iterator] == [b"2:[1]\n", b'0:"text "\n', b'0:"block"\n', b'0:"!"\n']
    assert response.headers["x-vercel-ai-data-stream"] == "v1"


async def test_langchain_handlers_write_until_the_outermost_run_ends() -> None:
    chain = LangChainStream(version=2)
    handlers = chain.handlers
    await handlers.on_chain_start({}, {}, run_id=1)
    await handlers.on_llm_start({}, [], run_id=2)
    await handlers.on_llm_new_token("a")
    await handlers.on_llm_end(None, run_id=2)
    await handlers.handleLLMNewToken("b")
    await handlers.on_chain_end({}, run_id=1)

    assert [data async for data in chain.stream] == [b"a", b"b"]


async def test_an_assistant_response_forwards_runs_and_masks_failures() -> None:
    runs: list[Any] = []
    events = [
        {"event": "thread.message.created", "data": {"id": "m2"}},
        {"event": "thread.message.delta", "data": {"delta": {"content": [{"type": "text", "text": {"value": "a"}}]}}},
        {"event": "thread.run.completed", "data": {"status": "completed"}},
    ]

    async def process(control: Any) -> None:
        runs.append(await control.forward_stream(events))
        raise RuntimeError("secret")

    response = AssistantResponse({"threadId": "t", "messageId": "m"}, process)

    lines = b"".join([d async for d in response.body_iterator]).decode().splitlines()
    assert lines == [
        '5:{"threadId":"t","messageId":"m"}',
        '4:{"id":"m2","role":"assistant","content":[{"type":"text","text":{"value":""}}]}',
        '0:"a"',
        '3:"An error occurred."',
    ]
    assert runs == [{"status": "completed"}]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("capture", document("v2")["streams"], ids=lambda capture: capture["name"])
async def test_the_golden_program_replays_helpers(version: int, capture: dict[str, Any]) -> None:
    asked = {"id": 7, "op": "legacy", "v": version, "name": "openai-x", "api": "OpenAIStream", **capture}

    reply = await answer(json.dumps({**asked, "name": f"openai-{capture['name']}"}))

    lines = [f"0:{json.dumps(piece, ensure_ascii=False)}\n" for piece in capture["chunks"]]
    assert (reply["id"], reply["wire"]) == (7, "".join(capture["chunks"] if version == 2 else lines))
    assert [told[1] for told in reply["callbacks"] if told[0] == "onToken"] == capture["chunks"]
    assert await answer('{"op":"legacy","v":2,"name":"else"}') == {"id": None, "unsupported": True}
