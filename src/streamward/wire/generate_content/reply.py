"""Gemini without streaming: the ``GenerateContentResponse`` to a reply and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streamward.errors import ErrorInfo
from streamward.events import File, Finish, Source, Usage, Vendor
from streamward.reply import Collector, ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock
from streamward.wire.dialect import Context, Profile
from streamward.wire.generate_content.decode import Decoder
from streamward.wire.generate_content.errors import render_error
from streamward.wire.generate_content.shapes import (
    MINTED,
    REDACTED,
    args_object,
    extra_of,
    own,
    render_finish,
    render_usage,
    wrap_signature,
)

UNFINISHED = ErrorInfo("stream_truncated", "the answer was not finished", 502, safe_to_retry=True)


def parse_reply(body: dict[str, Any], profile: Profile) -> Reply:
    """The reply that a stream of the same parts would collect to.

    Parts the waist has no word for are kept with their place in ``finish_extra``, as ``[position, part]``.
    """
    decoder = Decoder(profile)
    collector = Collector()
    kept: list[Any] = []
    for event in [*decoder.chunk(body), *decoder.close()]:
        if isinstance(event, Vendor):
            kept.append([len(collector.blocks), event.payload])
        elif isinstance(event, Finish) and kept:
            extra = own(extra_of(event.extra) | {"parts": kept})
            collector.feed(Finish(event.reason, event.usage, event.raw_reason, extra))
        else:
            collector.feed(event)
    return collector.reply()


def render_reply(reply: Reply, context: Context) -> dict[str, Any]:
    """The response object; an error body for a reply that did not finish."""
    if reply.finish_reason is None or reply.finish_reason == "error":
        return render_error(reply.error or UNFINISHED)
    at: dict[int, list[Any]] = {}
    for position, part in extra_of(reply.finish_extra).get("parts", ()):
        at.setdefault(position, []).append(part)
    parts: list[dict[str, Any]] = []
    for position, block in enumerate(reply.blocks):
        parts.extend(at.get(position, ()))
        if isinstance(block, TextBlock):
            kept = {name: value for name, value in extra_of(block.extra).items() if name == "thoughtSignature"}
            parts.append({"text": block.text} | kept)
        elif isinstance(block, RefusalBlock):
            parts.append({"text": block.text})
        elif isinstance(block, ReasoningBlock):
            parts.extend(reasoning_parts(block.text, block.signature, block.redacted))
        elif isinstance(block, ToolBlock) and not block.provider_executed:
            parts.append(call_part(block.id, block.name, args_object(block.input), block.signature))
        elif isinstance(block, File):
            parts.append(file_part(block))
    parts.extend(at.get(len(reply.blocks), ()))
    finish = Finish(reply.finish_reason, reply.usage, reply.raw_reason, reply.finish_extra)
    sources = [block for block in reply.blocks if isinstance(block, Source)]
    refused = any(isinstance(block, RefusalBlock) for block in reply.blocks)
    body = ending(finish, reply.usage, sources, refused=refused)
    body["candidates"][0] = {"content": {"parts": parts, "role": "model"}} | body["candidates"][0]
    return body | {"modelVersion": context.model, "responseId": context.id}


def ending(finish: Finish, usage: Usage | None, sources: Iterable[Source], *, refused: bool) -> dict[str, Any]:
    """What the last response object says besides its content."""
    extra = {name: value for name, value in extra_of(finish.extra).items() if name != "parts"}
    reason = "SAFETY" if refused and finish.reason == "stop" else render_finish(finish)
    candidate: dict[str, Any] = {"finishReason": reason, "index": 0}
    out: dict[str, Any] = {"candidates": [candidate]}
    if "promptFeedback" in extra:
        out["promptFeedback"] = extra.pop("promptFeedback")
    chunks = [{"web": {"uri": source.url, "title": source.title or ""}} for source in sources if source.url]
    if chunks and "groundingMetadata" not in extra and "citationMetadata" not in extra:
        candidate["groundingMetadata"] = {"groundingChunks": chunks}
    candidate |= extra
    if usage is not None:
        out["usageMetadata"] = render_usage(usage)
    return out


def reasoning_parts(text: str, signature: str | None, redacted: str | None) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if text or signature is not None:
        signed = {"thoughtSignature": wrap_signature(signature)} if signature is not None else {}
        parts.append({"text": text, "thought": True} | signed)
    if redacted is not None:
        parts.append({"text": "", "thought": True, "thoughtSignature": wrap_signature(redacted, REDACTED)})
    return parts


def call_part(call_id: str, name: str, args: dict[str, Any], signature: str | None) -> dict[str, Any]:
    shown = {} if call_id.startswith(MINTED) else {"id": call_id}
    signed = {"thoughtSignature": wrap_signature(signature)} if signature is not None else {}
    return {"functionCall": shown | {"name": name, "args": args}} | signed


def file_part(file: File) -> dict[str, Any]:
    kept = {name: value for name, value in extra_of(file.extra).items() if name in ("thoughtSignature", "thought")}
    if file.data is not None:
        return {"inlineData": {"mimeType": file.media_type, "data": file.data}} | kept
    return {"fileData": {"mimeType": file.media_type, "fileUri": file.url}} | kept
