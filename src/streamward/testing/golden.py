"""Replays neutral scripts and AI SDK samples: one JSON request per line of standard input, one JSON reply per line.

``python -m streamward.testing.golden``. Operations: ``wire`` (run ``stream_text`` on a scripted model, then a version's
response helper), ``read``, ``convert``, ``partial_json``, ``parse_part`` and ``legacy``. A reply has the request's
``id``; ``unsupported`` or ``error`` say that, and why, there is none.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
from collections.abc import Callable
from typing import Any

from streamward.call import Call
from streamward.engine.respond import data_stream_response, text_response, ui_message_stream_response
from streamward.engine.response import StreamResponse
from streamward.engine.result import StreamResult
from streamward.engine.text import stream_text
from streamward.engine.transforms import smooth_stream
from streamward.events import Event, Finish, Start, StepFinish, TextDelta
from streamward.testing.golden_script import play
from streamward.testing.golden_tools import tools_for
from streamward.wire import chat_completions, data_stream, ui_message
from streamward.wire.dialect import Profile
from streamward.wire.masking import mask_stream_errors
from streamward.wire.partial_json import parse_partial_json
from streamward.wire.ui_request import convert_messages, without_tools

Json = dict[str, Any]

ABORTED = "This operation was aborted"
USER = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Say something"}]}
BEFORE = {"id": "a-prev", "role": "assistant", "parts": [{"type": "text", "text": "Earlier."}]}


async def wire(request: Json) -> Json:
    options: Json = request.get("options") or {}
    version = int(request["v"])
    result = run(request, options, version)
    response = respond(result, options, version, request.get("kind", "data"))
    body = b""
    body_error = None
    try:
        async for data in response.body_iterator:
            body += data
    except ConnectionAbortedError as exc:
        body_error = str(exc)
    return {
        "status": response.status_code, "headers": {k.decode(): v.decode() for k, v in response.raw_headers},
        "wire": body.decode("utf-8", "replace"), "body_error": body_error,
    }  # fmt: skip


def run(request: Json, options: Json, version: int) -> StreamResult[Any]:
    """The generation that the script and the options describe."""
    from streamward.engine.middleware import extract_reasoning, wrap_model

    model: Any = play(request["script"], options)
    if "extract" in options:
        model = wrap_model(model, extract_reasoning(options["extract"].get("tagName", "think")))
    messages: list[Json] = [USER]
    if options.get("persist") == "assistant":
        messages = [USER, BEFORE]
    if "approval" in options:
        messages = [USER, approval_answer(options["approval"])]
    smooth = None
    if "smooth" in options:
        given = options["smooth"]
        chunking: Any = given.get("chunking", "word")
        if "regex" in given:
            import re

            chunking = re.compile(given["regex"])
        smooth = smooth_stream(chunking, delay_ms=given.get("delayInMs", 10))
    texts = 0

    def on_chunk(event: Event) -> None:
        nonlocal texts
        texts += type(event) is TextDelta
        if type(event) is TextDelta and texts == options.get("abortAfter"):
            result.stop(ABORTED)

    result = stream_text(
        model, messages=messages, tools=tools_for(options.get("tools") or (), version), max_steps=options.get("maxSteps", 1),
        tool_errors="end" if version < 5 else "to_model", transforms=smooth, max_retries=0,
        on_chunk=on_chunk if "abortAfter" in options else None,
    )  # fmt: skip
    return result


def approval_answer(approved: bool) -> Json:
    return {"id": "a-prev", "role": "assistant", "parts": [{"type": "step-start"}, {
        "type": "tool-danger", "toolCallId": "a1", "state": "approval-responded", "input": {"path": "/tmp/x"},  # noqa: S108
        "approval": {"id": "approval-1", "approved": approved},
    }]}  # fmt: skip


def respond(result: StreamResult[Any], options: Json, version: int, kind: str) -> StreamResponse:
    if kind == "text":
        return text_response(result)
    error_text: Any = (named_error_v4 if version < 5 else named_error) if options.get("onError") else None
    if version < 5:
        return data_stream_response(
            result, version=version, send_reasoning=options.get("sendReasoning", False),  # 3 or 4
            send_sources=options.get("sendSources", False), send_usage=options.get("sendUsage", True),
            send_finish=options.get("sendFinish", True), tool_call_streaming=options.get("toolCallStreaming", False),
            error_text=error_text,
        )  # fmt: skip
    persist = options.get("persist")
    if version == 7 and error_text is None:
        error_text = shown_error_v7
    return ui_message_stream_response(
        result, version=version, send_reasoning=options.get("sendReasoning", True),
        send_sources=options.get("sendSources", False), send_start=options.get("sendStart", True),
        send_finish=options.get("sendFinish", True), message_metadata=metadata if options.get("metadata") else None,
        original_messages={"user": [USER], "assistant": [USER, BEFORE]}.get(persist) if persist else None,
        generate_message_id=(lambda: "srv-msg-1") if persist else None, error_text=error_text, provider="mock",
    )  # fmt: skip


def shown_error_v7(kind: str, message: str) -> str:
    """Version 7 shows failed tools with the names of its error classes."""
    if kind == "tool-input-error":
        name = "AI_NoSuchToolError" if message.startswith("Model tried") else "AI_InvalidToolInputError"
        return f"{name}: {message}"
    return mask_stream_errors(kind, message)  # type: ignore[arg-type]  # an ErrorKind


def named_error(_kind: str, message: str) -> str:
    return f"E:Error:{message}"


def named_error_v4(kind: str, message: str) -> str:
    if kind == "tool-error":
        return f"E:AI_ToolExecutionError:Error executing tool failing: {message}"
    return named_error(kind, message)


def metadata(event: Event) -> Any:
    if isinstance(event, Start):
        return {"model": "mock-model", "t0": 1}
    if isinstance(event, StepFinish):
        return {"step": True}
    if isinstance(event, Finish) and event.usage is not None:
        return {"tokens": event.usage.total}
    return None


async def read(request: Json) -> Json:
    body, first, version = request["wire"].encode(), request.get("initial_message"), int(request["v"])
    modern: Any = version
    assembler = data_stream.read(body, first) if version < 5 else ui_message.read(body, first, version=modern)
    return {"message": assembler.message, "stream_error": assembler.error}


async def convert(request: Json) -> Json:
    version: Any = int(request["v"])
    converted = convert_messages(request["messages"], version=version)
    call = Call("-", without_tools(converted, version=version))
    body = chat_completions.render_request(call, model="-", profile=Profile(developer_role=False))
    return {"openai_messages": body["messages"]}


async def partial_json(request: Json) -> Json:
    text = request.get("text")
    if text is None:
        return {"value": None, "state": "undefined-input"}
    value, state = parse_partial_json(text)
    return {"value": None if state == "failed-parse" else value, "state": state}


async def parse_part(request: Json) -> Json:
    try:
        part = data_stream.parse_part(request["line"])
    except data_stream.PartError as exc:
        return {"error": str(exc)}
    return {"part": {"type": part.type, "value": part.value}}


async def legacy(request: Json) -> Json:
    try:
        helpers = importlib.import_module("streamward.legacy.golden")
    except ModuleNotFoundError:
        return {"unsupported": True}
    reply: Json = await helpers.replay(request)
    return reply


async def answer(line: str | bytes) -> Json:
    """The reply to one request line; never raises."""
    request: Any = None
    try:
        request = json.loads(line.decode("utf-8-sig") if isinstance(line, bytes) else line)
        operation = OPERATIONS.get(request.get("op"))
        reply = {"unsupported": True} if operation is None else await operation(request)
    except Exception as exc:  # one bad request must not end the others
        reply = {"error": str(exc) or type(exc).__name__}
    return {"id": request.get("id") if isinstance(request, dict) else None, **reply}


def plain(value: Any) -> Any:
    """*value* with what JSON lacks spelled as the samples do: ``{"$nan": true}``."""
    if isinstance(value, float) and math.isnan(value):
        return {"$nan": True}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


async def main() -> None:
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        if line.strip():
            # ASCII: halves of surrogate pairs have no UTF-8, and some readers end a line at U+2028.
            sys.stdout.write(json.dumps(plain(await answer(line))) + "\n")
            sys.stdout.flush()


OPERATIONS: dict[str, Callable[[Json], Any]] = {
    "wire": wire, "read": read, "convert": convert, "partial_json": partial_json, "parse_part": parse_part, "legacy": legacy,
}  # fmt: skip

if __name__ == "__main__":
    asyncio.run(main())
