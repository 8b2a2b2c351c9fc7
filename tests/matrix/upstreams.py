"""What providers send: every case in the words of every upstream dialect, after the providers' own documentation.

A case says what the answer means (``Meaning``); a builder says it in one dialect, the way a provider of that dialect
cuts it into frames. ``update.py`` writes the bytes to files; the files are what the tests read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct


class Meaning(Struct, frozen=True, kw_only=True):
    """What every reader must understand, whatever the dialect on either side."""

    reasoning: str = ""
    text: str = ""
    refusal: str = ""
    tools: tuple[tuple[str, str, str], ...] = ()
    """(id, name, arguments as JSON text)."""
    finish: str | None = "stop"
    """None: it did not finish."""
    usage: tuple[int, int] | None = (12, 7)
    error: str | None = None
    """Code of the error the stream ends with."""


TEXT = 'Hello, wörld — 世界 🌍.\u2028 A new line\nand a "quote".'
PARIS = ("call_1", "get_weather", '{"city":"Paris","unit":"c"}')
BROKEN = ("call_1", "get_weather", '{"city":"Pa')
OSLO = ("call_2", "get_weather", '{"city":"Osló"}')
JSON = '{"city":"Paris","temperature":21.5,"tags":["mild","dry"]}'
REFUSAL = "I cannot help with that."

CASES = {
    "text": Meaning(text=TEXT),
    "empty": Meaning(text="", usage=(12, 0)),
    "reasoning": Meaning(reasoning="The user greets.\nI greet back.", text="Good day."),
    "tool": Meaning(tools=(PARIS,), finish="tool-calls"),
    "text_then_tool": Meaning(text="Let me look.", tools=(PARIS,), finish="tool-calls"),
    "parallel_tools": Meaning(tools=(PARIS, OSLO), finish="tool-calls"),
    "tool_without_arguments": Meaning(tools=(("call_1", "now", "{}"),), finish="tool-calls"),
    "structured": Meaning(text=JSON),
    "length": Meaning(text="Once upon a", finish="length"),
    "filtered": Meaning(text="Some words", finish="content-filter"),
    "refusal": Meaning(refusal=REFUSAL),
    "error_midstream": Meaning(text="Half an ans", finish=None, usage=None, error="upstream_error"),
    "truncated": Meaning(text="Half an ans", finish=None, usage=None, error="stream_truncated"),
    "error_in_tool": Meaning(tools=(BROKEN,), finish=None, usage=None, error="upstream_error"),
    "no_usage": Meaning(text="Good day.", usage=None),
}  # fmt: skip


def pieces(text: str, size: int = 5) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def sse(value: Any, event: str | None = None, end: str = "\n") -> bytes:
    head = f"event: {event}{end}" if event else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}{end}{end}".encode()


# -- Chat Completions


def chat_completions(m: Meaning) -> bytes:
    base = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "gpt-x"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return sse({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None})

    out = [chunk({"role": "assistant", "content": ""})]
    out += [chunk({"reasoning_content": piece}) for piece in pieces(m.reasoning)]
    out += [chunk({"content": piece}) for piece in pieces(m.text)]
    out += [chunk({"refusal": piece}) for piece in pieces(m.refusal)]
    for index, (call_id, name, arguments) in enumerate(m.tools):
        first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        out.append(chunk({"tool_calls": [first]}))
        out += [chunk({"tool_calls": [{"index": index, "function": {"arguments": p}}]}) for p in pieces(arguments)]
    if m.error == "upstream_error":
        out.append(sse({"error": {"message": "The server had an error.", "type": "server_error", "code": None}}))
    if m.finish is not None:
        word = {"tool-calls": "tool_calls", "content-filter": "content_filter"}.get(m.finish, m.finish)
        out.append(chunk({}, word))
        if m.usage is not None:
            given, made = m.usage
            usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
            out.append(sse({**base, "choices": [], "usage": usage}))
        out.append(b"data: [DONE]\n\n")
    return b"".join(out)


# -- Responses


def responses(m: Meaning) -> bytes | None:
    if m.usage is None and m.finish is not None:
        return None  # response.completed always holds usage
    out: list[bytes] = []
    items: list[dict[str, Any]] = []
    base = {"id": "resp_7", "object": "response", "created_at": 1_760_000_000, "model": "gpt-x"}

    def send(kind: str, **fields: Any) -> None:
        out.append(sse({"type": kind, "sequence_number": len(out), **fields}, kind))

    send("response.created", response={**base, "status": "in_progress", "output": []})
    send("response.in_progress", response={**base, "status": "in_progress", "output": []})
    if m.reasoning:
        send_reasoning(m, send, items)
    if m.text or m.refusal or not (m.tools or m.reasoning or m.error):
        send_message(m, send, items)
    for call in m.tools:
        send_call(m, call, send, items)
    if m.error == "upstream_error":
        error = {"code": "server_error", "message": "The server had an error."}
        send("response.failed", response={**base, "status": "failed", "output": items, "error": error})
    if m.finish is not None:
        assert m.usage is not None
        given, made = m.usage
        usage = {
            "input_tokens": given, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": given + made,
        }  # fmt: skip
        why = {"length": "max_output_tokens", "content-filter": "content_filter"}.get(m.finish)
        status = "incomplete" if why else "completed"
        details = {"reason": why} if why else None
        last = {**base, "status": status, "output": items, "usage": usage, "incomplete_details": details}
        send(f"response.{status}", response=last)
    return b"".join(out)


Send = Callable[..., None]


def send_reasoning(m: Meaning, send: Send, items: list[dict[str, Any]]) -> None:
    at = {"item_id": "rs_7", "output_index": len(items), "summary_index": 0}
    item = {"id": "rs_7", "type": "reasoning", "summary": []}
    send("response.output_item.added", output_index=len(items), item=item)
    send("response.reasoning_summary_part.added", **at, part={"type": "summary_text", "text": ""})
    for piece in pieces(m.reasoning):
        send("response.reasoning_summary_text.delta", **at, delta=piece)
    send("response.reasoning_summary_text.done", **at, text=m.reasoning)
    part = {"type": "summary_text", "text": m.reasoning}
    send("response.reasoning_summary_part.done", **at, part=part)
    item = {**item, "summary": [part]}
    send("response.output_item.done", output_index=len(items), item=item)
    items.append(item)


def send_message(m: Meaning, send: Send, items: list[dict[str, Any]]) -> None:
    at = {"item_id": "msg_7", "output_index": len(items), "content_index": 0}
    item = {"id": "msg_7", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    send("response.output_item.added", output_index=len(items), item=item)
    kind = "refusal" if m.refusal else "output_text"
    whole = m.refusal or m.text
    empty = {"type": kind, "refusal": ""} if m.refusal else {"type": kind, "text": "", "annotations": []}
    send("response.content_part.added", **at, part=empty)
    for piece in pieces(whole):
        send(f"response.{kind}.delta", **at, delta=piece)
    if m.finish is None:
        return
    part = {**empty, "refusal" if m.refusal else "text": whole}
    send(f"response.{kind}.done", **at, **{"refusal" if m.refusal else "text": whole})
    send("response.content_part.done", **at, part=part)
    item = {**item, "status": "completed", "content": [part]}
    send("response.output_item.done", output_index=len(items), item=item)
    items.append(item)


def send_call(m: Meaning, call: tuple[str, str, str], send: Send, items: list[dict[str, Any]]) -> None:
    call_id, name, arguments = call
    at = {"item_id": f"fc_{call_id}", "output_index": len(items)}
    item = {"id": f"fc_{call_id}", "type": "function_call", "call_id": call_id, "name": name, "arguments": ""}
    send("response.output_item.added", output_index=len(items), item={**item, "status": "in_progress"})
    for piece in pieces(arguments):
        send("response.function_call_arguments.delta", **at, delta=piece)
    if m.finish is None:
        return
    send("response.function_call_arguments.done", **at, arguments=arguments)
    item = {**item, "arguments": arguments, "status": "completed"}
    send("response.output_item.done", output_index=len(items), item=item)
    items.append(item)


# -- Messages


def messages(m: Meaning) -> bytes | None:
    if (m.usage is None and m.finish is not None) or m.finish == "content-filter":
        return None  # usage is in every message; there is no filter but a refusal
    out: list[bytes] = []

    def send(kind: str, **fields: Any) -> None:
        out.append(sse({"type": kind, **fields}, kind))

    message = {
        "id": "msg_7", "type": "message", "role": "assistant", "model": "claude-x", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": (m.usage or (12, 0))[0], "output_tokens": 1},
    }  # fmt: skip
    send("message_start", message=message)
    out.append(sse({"type": "ping"}, "ping"))
    blocks: list[tuple[dict[str, Any], str, list[str], str]] = []
    if m.reasoning:
        blocks.append(({"type": "thinking", "thinking": ""}, "thinking", pieces(m.reasoning), "thinking_delta"))
    if m.text or m.refusal:
        blocks.append(({"type": "text", "text": ""}, "text", pieces(m.text or m.refusal), "text_delta"))
    for call_id, name, arguments in m.tools:
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        blocks.append((block, "partial_json", ["", *pieces("" if arguments == "{}" else arguments)], "input_json_delta"))
    for index, (block, field, parts, kind) in enumerate(blocks):
        send("content_block_start", index=index, content_block=block)
        for piece in parts:
            send("content_block_delta", index=index, delta={"type": kind, field: piece})
        if block["type"] == "thinking":
            send("content_block_delta", index=index, delta={"type": "signature_delta", "signature": "c2lnbmVk"})
        if m.finish is not None:
            send("content_block_stop", index=index)
    if m.error == "upstream_error":
        send("error", error={"type": "api_error", "message": "The server had an error."})
    if m.finish is not None:
        assert m.usage is not None
        reason = {"stop": "end_turn", "length": "max_tokens", "tool-calls": "tool_use"}[m.finish]
        delta = {"stop_reason": "refusal" if m.refusal else reason, "stop_sequence": None}
        send("message_delta", delta=delta, usage={"output_tokens": m.usage[1]})
        send("message_stop")
    return b"".join(out)


# -- Gemini


def generate_content(m: Meaning) -> bytes | None:
    if m.refusal:
        return None  # there is no refusal but a filter
    out: list[bytes] = []
    base = {"modelVersion": "gemini-x", "responseId": "r7"}

    def send(parts: list[dict[str, Any]], **candidate: Any) -> None:
        content = {"parts": parts, "role": "model"}
        value: dict[str, Any] = {"candidates": [{"content": content, "index": 0, **candidate}], **base}
        if m.usage is not None and candidate:
            given, made = m.usage
            value["usageMetadata"] = {
                "promptTokenCount": given, "candidatesTokenCount": made, "totalTokenCount": given + made,
            }  # fmt: skip
        out.append(sse(value, end="\r\n"))

    for piece in pieces(m.reasoning, 12):
        send([{"text": piece, "thought": True}])
    for piece in pieces(m.text, 12):
        send([{"text": piece}])
    if m.error is None:
        for call_id, name, arguments in m.tools:
            send([{"functionCall": {"id": call_id, "name": name, "args": json.loads(arguments)}}])
    elif m.tools:
        return None  # calls come whole
    if m.error == "upstream_error":
        out.append(sse({"error": {"code": 500, "message": "The server had an error.", "status": "INTERNAL"}}, end="\r\n"))
    if m.finish is not None:
        reason = {"length": "MAX_TOKENS", "content-filter": "SAFETY"}.get(m.finish, "STOP")
        send([{"text": ""}], finishReason=reason)
    return b"".join(out)


# -- Ollama


def ollama(m: Meaning) -> bytes | None:
    if m.refusal or m.finish == "content-filter" or (m.tools and m.error):
        return None  # it knows neither refusals nor filters, and calls come whole
    out: list[bytes] = []

    def send(message: dict[str, Any] | None, **fields: Any) -> None:
        value: dict[str, Any] = {"model": "qwen-x", "created_at": "2025-10-09T08:53:20.123456Z"}
        if message is not None:
            value["message"] = {"role": "assistant", "content": "", **message}
        out.append(json.dumps({**value, **fields}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    for piece in pieces(m.reasoning):
        send({"thinking": piece}, done=False)
    for piece in pieces(m.text):
        send({"content": piece}, done=False)
    for call_id, name, arguments in m.tools:
        call = {"id": call_id, "function": {"name": name, "arguments": json.loads(arguments)}}
        send({"tool_calls": [call]}, done=False)
    if m.error == "upstream_error":
        out.append(b'{"error":"the server had an error"}\n')
    if m.finish is not None:
        counts = {} if m.usage is None else {"prompt_eval_count": m.usage[0], "eval_count": m.usage[1]}
        send({}, done=True, done_reason="length" if m.finish == "length" else "stop", total_duration=5, **counts)
    return b"".join(out)


BUILDERS: dict[str, Callable[[Meaning], bytes | None]] = {
    "chat_completions": chat_completions, "responses": responses, "messages": messages,
    "generate_content": generate_content, "ollama": ollama,
}  # fmt: skip
"""None where the dialect has no words for a case."""
