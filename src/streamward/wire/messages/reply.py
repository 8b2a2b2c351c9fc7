"""Messages without streaming: the ``message`` object to a reply and back."""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.events import File, Finish, Source, Vendor
from streamward.reply import Block, Collector, ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock
from streamward.wire import json_text
from streamward.wire.dialect import Context, Profile
from streamward.wire.loose import as_dict
from streamward.wire.messages.decode import INVALID, Decoder
from streamward.wire.messages.errors import error_of, render_error
from streamward.wire.messages.shapes import CALL_SIGNATURE, extra_of, own, render_stop, render_usage

UNFINISHED = ErrorInfo("stream_truncated", "the answer was not finished", 502, safe_to_retry=True)


def parse_reply(body: dict[str, Any], profile: Profile) -> Reply:
    """The reply that a stream with the same blocks would collect to.

    Blocks the waist has no word for are kept with their place in ``finish_extra``, as ``[position, block]``.
    """
    if body.get("type") == "error" or type(body.get("error")) is dict:
        return Reply(error=error_of(as_dict(body.get("error"))))
    content = body.get("content")
    if body.get("type") != "message" or type(content) is not list:
        return Reply(error=INVALID)
    decoder = Decoder(profile)
    collector = Collector()
    frames: list[dict[str, Any]] = [{"type": "message_start", "message": body}]
    kept: list[Any] = []
    for index, block in enumerate(content):
        frames.append({"type": "content_block_start", "index": index, "content_block": block})
        frames.append({"type": "content_block_stop", "index": index})
    delta = {name: body.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    frames.append({"type": "message_delta", "delta": delta})
    frames.append({"type": "message_stop"})
    for frame in frames:
        for event in decoder.message(frame):
            if isinstance(event, Vendor):
                kept.append([len(collector.blocks), event.payload["content_block"]])
            if isinstance(event, Finish) and kept:
                event = Finish(event.reason, event.usage, event.raw_reason, own(extra_of(event.extra) | {"blocks": kept}))
            collector.feed(event)
    return collector.reply()


def render_reply(reply: Reply, context: Context) -> dict[str, Any]:
    """The ``message`` object; an error body for a reply that did not finish."""
    if reply.finish_reason is None or reply.finish_reason == "error":
        return render_error(reply.error or UNFINISHED)
    finish = Finish(reply.finish_reason, reply.usage, reply.raw_reason)
    extra = dict(extra_of(reply.finish_extra))
    content = render_blocks(reply.blocks, extra.pop("blocks", ()))
    reason = render_stop(finish)
    if reply.finish_reason == "stop" and any(isinstance(block, RefusalBlock) for block in reply.blocks):
        reason = "refusal"
    message = {
        "id": message_id(context.id), "type": "message", "role": "assistant", "model": context.model,
        "content": content, "stop_reason": reason, "stop_sequence": None, "usage": render_usage(reply.usage),
    }  # fmt: skip
    return message | extra_of(reply.extra) | extra


def message_id(seed: str) -> str:
    return seed if seed.startswith("msg_") else f"msg_{seed}"


def render_blocks(blocks: tuple[Block, ...], kept: Any) -> list[dict[str, Any]]:
    """Content blocks in order; sources become citations of the text they belong to."""
    cited: dict[str, list[dict[str, Any]]] = {}
    texts = {block.id for block in blocks if isinstance(block, TextBlock)}
    for block in blocks:
        if isinstance(block, Source) and block.part_id in texts:
            cited.setdefault(block.part_id or "", []).append(citation_of(block))
    at: dict[int, list[dict[str, Any]]] = {}
    for position, raw in kept:
        at.setdefault(position, []).append(raw)
    content: list[dict[str, Any]] = []
    for position, block in enumerate(blocks):
        content.extend(at.get(position, ()))
        if isinstance(block, TextBlock):
            citations = {"citations": cited[block.id]} if block.id in cited else {}
            content.append({"type": "text", "text": block.text} | citations)
        elif isinstance(block, Source):
            if block.part_id not in texts:
                content.append({"type": "text", "text": "", "citations": [citation_of(block)]})
        else:
            content.extend(render_block(block))
    content.extend(at.get(len(blocks), ()))
    return content


def render_block(block: ReasoningBlock | RefusalBlock | ToolBlock | File) -> list[dict[str, Any]]:
    if isinstance(block, RefusalBlock):
        return [{"type": "text", "text": block.text}]
    if isinstance(block, File):
        return [file_block(block)]
    if isinstance(block, ToolBlock):
        start = tool_block_start(block.id, block.name, block.provider_executed, extra_of(block.extra))
        out = [start | {"input": input_object(block.input)}]
        if block.signature is not None:
            out.append({"type": "redacted_thinking", "data": f"{CALL_SIGNATURE}{block.id}:{block.signature}"})
        return out
    out = []
    if block.text or block.signature is not None:
        out.append({"type": "thinking", "thinking": block.text, "signature": block.signature or ""})
    if block.redacted is not None:
        out.append({"type": "redacted_thinking", "data": block.redacted})
    return out


def input_object(text: str) -> dict[str, Any]:
    """Arguments as the object this dialect wants; what is none is shown under a name no tool takes for its own."""
    try:
        value = json_text.decode_any(text.encode()) if text else {}
    except (ValueError, RecursionError):
        value = None
    return value if type(value) is dict else {"invalid_json": text}


def tool_block_start(call_id: str, name: str, provider_executed: bool, extra: dict[str, Any]) -> dict[str, Any]:
    kind = "server_tool_use" if provider_executed else "tool_use"
    return {"type": kind, "id": call_id, "name": name, "input": {}} | extra


def citation_of(source: Source) -> dict[str, Any]:
    """The provider's own citation, or one in the form of web search results, which is the only one for URLs."""
    own_form = extra_of(source.extra).get("citation")
    if type(own_form) is dict:
        return own_form
    if source.kind == "url":
        return {
            "type": "web_search_result_location", "url": source.url or "", "title": source.title, "cited_text": "",
            "encrypted_index": "",
        }  # fmt: skip
    return {
        "type": "char_location", "cited_text": "", "document_index": 0,
        "document_title": source.title or source.filename, "start_char_index": 0, "end_char_index": 0, "file_id": None,
    }  # fmt: skip


def file_block(file: File) -> dict[str, Any]:
    """A generated file. The reference's answers hold none; this is its request form of an image."""
    if file.data is not None:
        return {"type": "image", "source": {"type": "base64", "media_type": file.media_type, "data": file.data}}
    return {"type": "image", "source": {"type": "url", "media_type": file.media_type, "url": file.url}}
