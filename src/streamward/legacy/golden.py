"""Plays samples of the AI SDK's helpers on ours: the ``legacy`` operation of ``python -m streamward.testing.golden``."""

from __future__ import annotations

import re
from typing import Any

from streamward.legacy.assistant import AssistantResponse, AssistantWriter
from streamward.legacy.data import StreamData
from streamward.legacy.langchain import LangChainAdapter, LangChainStream
from streamward.legacy.openai import OpenAIStream
from streamward.legacy.providers import HuggingFaceStream
from streamward.legacy.response import StreamingTextResponse
from streamward.legacy.stream import LegacyStream, Version

Json = dict[str, Any]
Told = list[list[Any]]

TOKENS = [{"token": {"text": " A"}}, {"token": {"text": "B"}}, {"token": {"text": "</s>"}, "generated_text": "AB"}]
MESSAGES = [
    {"content": "Hello "},
    {"content": [{"type": "text", "text": "blocks"}, {"type": "image_url"}]},
    {"event": "on_chain_start", "data": {}},
    {"event": "on_chat_model_stream", "data": {"chunk": {"content": "!"}}},
]
ASSISTANT = {"id": "a1", "role": "assistant", "content": [{"type": "text", "text": {"value": 'Hi "you"'}}]}
QUOTED = re.compile(r"""returning (?:a string |the string )?["']([^"']*)["']""")


async def replay(request: Json) -> Json:
    """The bytes and the callbacks of one sample; ``unsupported`` for one that is of no known kind."""
    name, version = str(request.get("name", "")), request["v"]
    told: Told = []
    if name.startswith(("openai-", "stream-to-response")):
        wire = await openai(request, version, told)
    elif name.startswith("huggingface"):
        wire = await whole(HuggingFaceStream(request.get("input", TOKENS), recording(told, version), version=version))
    elif name.startswith("langchain-stream"):
        wire = await langchain(request.get("input", ["lc ", "ok"]), version, told)
    elif name.startswith("langchain-adapter"):
        response = LangChainAdapter.to_data_stream_response(request.get("input", MESSAGES))
        wire = b"".join([data async for data in response.body_iterator])
    elif name.startswith("assistant-response"):
        wire = await assistant()
    else:
        return {"unsupported": True}
    return {"wire": wire.decode("utf-8", "replace"), "callbacks": told}


def recording(told: Told, version: Version) -> Json:
    """Callbacks that note in which order they were called."""
    names = ["onStart", "onToken", "onCompletion", "onFinal", *(["onText"] if version == 3 else [])]

    def note(name: str) -> Any:
        return lambda *args: told.append([name, *args])

    return {name: note(name) for name in names}


async def whole(stream: LegacyStream) -> bytes:
    return b"".join([data async for data in stream])


def given(request: Json) -> Any:
    if "input_sse" in request:
        parts = request["input_sse"]
        return [part.encode() for part in ([parts] if isinstance(parts, str) else parts)]
    return request.get("input_chunks", request.get("input"))


async def openai(request: Json, version: Version, told: Told) -> bytes:
    api = str(request.get("api", ""))
    callbacks = recording(told, version)
    quoted = QUOTED.search(api)

    def answer(*_: Any) -> Any:
        return request.get("second_chunks") or (quoted[1] if quoted else None)

    for handler in ("experimental_onFunctionCall", "experimental_onToolCall"):
        if handler in api and "no " + handler.removeprefix("experimental_") not in api:
            callbacks[handler] = answer
            callbacks["experimental_streamData"] = True
    if "StreamData:" not in api:
        return await whole(OpenAIStream(given(request), callbacks, version=version))
    data = StreamData()
    data.append({"first": True})
    note = callbacks["onFinal"]

    def final(text: str) -> None:
        note(text)
        data.append("end")
        data.append_message_annotation({"m": 1})
        data.close()

    callbacks.update(onFinal=final, experimental_streamData=True)
    response = StreamingTextResponse(OpenAIStream(given(request), callbacks, version=version), {}, data)
    return b"".join([piece async for piece in response.body_iterator])


async def langchain(tokens: list[str], version: Version, told: Told) -> bytes:
    chain = LangChainStream(recording(told, version), version=version)
    await chain.handlers.on_llm_start(None, None, "run")
    for token in tokens:
        await chain.handlers.on_llm_new_token(token)
    await chain.handlers.on_llm_end(None, "run")
    return await whole(chain.stream)


async def assistant() -> bytes:
    def process(writer: AssistantWriter) -> None:
        writer.send_message(ASSISTANT)
        writer.send_data_message({"role": "data", "data": {"x": 1}})

    response = AssistantResponse({"thread_id": "t1", "message_id": "m1"}, process, on_error=str)
    return b"".join([data async for data in response.body_iterator])
