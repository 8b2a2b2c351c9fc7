"""Chat Completions without streaming: the ``chat.completion`` object."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from streamward.events import Source, Usage
from streamward.reply import Block, ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock
from streamward.wire import json_text
from streamward.wire.chat_completions.decode import INVALID, REPORTED
from streamward.wire.chat_completions.encode import annotation, reasoning_details
from streamward.wire.chat_completions.shapes import (
    FAILED_FINISHES,
    FINISH_FROM_WAIST,
    FINISH_TO_WAIST,
    NAME,
    NOT_JSON,
    content_pieces,
    count,
    parse_usage,
    render_usage,
    told,
    usage_at,
)
from streamward.wire.chat_completions.tools import ToolSlots
from streamward.wire.dialect import Context, Profile
from streamward.wire.loose import as_dict, as_list
from streamward.wire.upstream_status import TRUNCATED

TokenCount = Annotated[int, Meta(ge=0, lt=1 << 53)]


class MessageIn(Struct, frozen=True):
    """An object, whatever is in it."""


class FinishedIn(Struct, frozen=True):
    finish_reason: str
    message: MessageIn


class PromptIn(Struct, frozen=True, gc=False):
    cached_tokens: TokenCount | None = None
    cache_write_tokens: TokenCount | None = None


class AnswerIn(Struct, frozen=True, gc=False):
    reasoning_tokens: TokenCount | None = None


class UsageIn(Struct, frozen=True, gc=False):
    prompt_tokens: TokenCount | None = None
    completion_tokens: TokenCount | None = None
    total_tokens: TokenCount | None = None
    prompt_tokens_details: PromptIn | None = None
    completion_tokens_details: AnswerIn | None = None
    prompt_cache_hit_tokens: None = None


class CompletionIn(Struct, frozen=True):
    """What has to be known of an answer that goes out as it came. Everything unusual fails validation."""

    choices: Annotated[list[FinishedIn], Meta(min_length=1)]
    usage: UsageIn | None = None
    x_groq: None = None
    error: None = None


decode_completion = msgspec.json.Decoder(CompletionIn).decode


def look_at_reply(raw: bytes, profile: Profile) -> Reply:
    """Ending and usage of an answer that is passed on as bytes; its blocks are not looked at.

    Everything unusual (no finish reason, an error, content in parts) goes through :func:`parse_reply`.
    """
    try:
        found = decode_completion(raw)
    except NOT_JSON:
        found = None
    if found is None or found.choices[0].finish_reason not in FINISH_TO_WAIST:
        try:
            body = json_text.decode_answer(raw)
        except NOT_JSON:
            return Reply(error=INVALID)
        return parse_reply(body, profile) if type(body) is dict else Reply(error=INVALID)
    return Reply(finish_reason=FINISH_TO_WAIST[found.choices[0].finish_reason], usage=counted(found.usage, profile))


def counted(usage: UsageIn | None, profile: Profile) -> Usage | None:
    """As ``parse_usage``, without the provider's own object, which is passed on as it came."""
    if usage is None:
        return None
    given, answered, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    if given is None and answered is None:
        return None
    prompt, answer = usage.prompt_tokens_details or NO_PROMPT, usage.completion_tokens_details or NO_ANSWER
    reasoning = answer.reasoning_tokens
    if profile.output_excludes_reasoning and answered is not None and reasoning:
        answered += reasoning
    return Usage(
        input_tokens=given, output_tokens=answered, cached_input_tokens=prompt.cached_tokens,
        cache_write_tokens=prompt.cache_write_tokens, reasoning_tokens=reasoning,
        stated_total=total if total is not None and total != (given or 0) + (answered or 0) else None,
    )  # fmt: skip


NO_PROMPT, NO_ANSWER = PromptIn(), AnswerIn()


def parse_reply(body: dict[str, Any], profile: Profile) -> Reply:
    """The reply that *body* is; ``error`` is set when it is not a completion, or says that it failed."""
    if body.get("error"):
        return Reply(error=REPORTED)
    choices = body.get("choices")
    choice = choices[0] if type(choices) is list and choices else None
    if type(choice) is not dict or type(choice.get("message")) is not dict:
        return Reply(error=INVALID)
    reason = choice.get("finish_reason")
    if type(reason) is str and reason in FAILED_FINISHES:
        return Reply(error=REPORTED)
    if type(reason) is not str and profile.ends_with != "eof":
        return Reply(error=TRUNCATED)
    stream_id = str(body.get("id") or "")
    blocks = message_blocks(choice["message"], choice.get("logprobs"), stream_id)
    reason = reason if type(reason) is str else ""
    finish = FINISH_TO_WAIST.get(reason, "other" if reason else "unknown")
    if finish == "stop" and any(isinstance(block, ToolBlock) for block in blocks):
        finish = "tool-calls"
    return Reply(
        id=stream_id, model=str(body.get("model") or ""), created=count(body.get("created")), blocks=tuple(blocks),
        finish_reason=finish, raw_reason=None if reason in FINISH_TO_WAIST else reason or None,
        usage=parse_usage(usage_at(body, profile.usage_path), profile),
    )  # fmt: skip


def message_blocks(message: dict[str, Any], logprobs: Any, stream_id: str) -> list[Block]:
    blocks: list[Block] = []
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    details = [as_dict(detail) for detail in as_list(message.get("reasoning_details"))]
    signature = next((d["signature"] for d in details if type(d.get("signature")) is str), None)
    redacted = next((d["data"] for d in details if type(d.get("data")) is str), None)
    text, thought = text_of(message.get("content"))
    said = "".join(map(told, details))
    if reasoning or thought or said or signature or redacted:
        blocks.append(ReasoningBlock("reasoning-0", str(reasoning or thought or said), signature, redacted))
    if text:
        tokens = as_dict(logprobs).get("content")
        blocks.append(TextBlock("text-0", text, tokens if type(tokens) is list else None))
    if type(message.get("refusal")) is str and message["refusal"]:
        blocks.append(RefusalBlock("refusal-0", message["refusal"]))
    calls = [raw for raw in as_list(message.get("tool_calls")) if type(raw) is dict]
    if type(message.get("function_call")) is dict:
        calls.append({"function": message["function_call"]})
    slots = ToolSlots()
    for index, raw in enumerate(calls):
        fragment = slots.resolve({**raw, "index": index}, stream_id)
        if fragment is not None:
            blocks.append(ToolBlock(fragment.id, fragment.name, fragment.arguments))
    for number, raw in enumerate(as_list(message.get("annotations"))):
        cited = as_dict(as_dict(raw).get("url_citation"))
        if type(cited.get("url")) is str:
            title = cited["title"] if type(cited.get("title")) is str else None
            blocks.append(Source(f"source-{number}", url=cited["url"], title=title or None))
    return blocks


def text_of(content: Any) -> tuple[str, str]:
    """Text and thinking of a message's content, a string or an array of parts."""
    if type(content) is str:
        return content, ""
    pieces = list(content_pieces(as_list(content)))
    return "".join(text for thinking, text in pieces if not thinking), "".join(text for thinking, text in pieces if thinking)


def render_reply(reply: Reply, context: Context) -> dict[str, Any]:
    """The ``chat.completion`` object for *reply*; ``finish_reason`` is null for one that did not finish."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
    refusals = [block.text for block in reply.blocks if isinstance(block, RefusalBlock)]
    if refusals:
        message["refusal"] = "".join(refusals)
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    details = [
        detail
        for block in reply.blocks
        if isinstance(block, ReasoningBlock)
        for detail in reasoning_details(block.text, block.signature, block.redacted)
    ]
    if details:
        message["reasoning_details"] = details
    calls = [call for call in reply.tool_calls if not call.provider_executed]
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input}} for call in calls
        ]
    if message["content"] is None and not calls and not refusals:
        message["content"] = ""
    sources = [annotation(block) for block in reply.blocks if isinstance(block, Source) and block.url]
    if sources:
        message["annotations"] = sources
    tokens = [token for block in reply.blocks if isinstance(block, TextBlock) for token in block.logprobs or ()]
    reason = reply.finish_reason
    body: dict[str, Any] = {
        "id": context.id, "object": "chat.completion", "created": context.created, "model": context.model,
        "choices": [{
            "index": 0, "message": message, "logprobs": {"content": tokens, "refusal": None} if tokens else None,
            "finish_reason": (FINISH_FROM_WAIST.get(reason) or reply.raw_reason or reason) if reason else None,
        }],
    }  # fmt: skip
    body.update((reply.extra or {}).get(NAME, {}))
    if reply.usage is not None:
        body["usage"] = render_usage(reply.usage)
    return body
