"""``POST /v1/responses/compact``: the conversation summarised by its own model, as one compaction item."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from streamward.dataplane.exchange import Request
from streamward.errors import InvalidRequest, UpstreamError, to_exception
from streamward.gateway import compaction
from streamward.gateway.auth import Caller
from streamward.gateway.inner_call import InnerSink, inner_request
from streamward.gateway.response_calls import ResponseCall
from streamward.wire import json_text

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway

ROUTE = "/v1/responses/compact"


async def compacted(gateway: Gateway, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """The ``response.compaction`` object for *body*.

    Raises:
        StreamwardError: the request is wrong, or the model did not give a summary.
    """
    given = body.get("input")
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given or []
    if not isinstance(items, list):
        raise InvalidRequest("'input' must be a string or an array of items", param="input")
    if not items and body.get("previous_response_id") is None:
        raise InvalidRequest("there is nothing to compact: give 'input' or 'previous_response_id'", param="input")
    asked: dict[str, Any] = {
        "model": body.get("model"), "store": False, "instructions": instructions(body),
        "input": [*items, {"type": "message", "role": "user", "content": compaction.REQUEST}],
        **{name: body[name] for name in ("previous_response_id", "prompt_cache_key", "user") if body.get(name) is not None},
    }  # fmt: skip
    response = await answered(gateway, asked, caller)
    summary = "".join(
        part.get("text", "") for item in response["output"] if item.get("type") == "message"
        for part in item["content"] if part.get("type") == "output_text"
    )  # fmt: skip
    if response.get("status") != "completed" or not summary.strip():
        raise UpstreamError("the model did not give a whole summary; nothing was compacted")
    seed = response["id"].removeprefix("resp_")
    item = {"id": f"cmp_{seed}", "type": "compaction", "encrypted_content": compaction.sealed(summary)}
    return {
        "id": f"resp_{seed}", "object": "response.compaction", "created_at": response["created_at"], "output": [item],
        "usage": response.get("usage"),
    }  # fmt: skip


def instructions(body: dict[str, Any]) -> str:
    own = body.get("instructions")
    if own is not None and not isinstance(own, str):
        raise InvalidRequest("'instructions' must be a string", param="instructions")
    if not own:
        return compaction.INSTRUCTIONS
    return f"{compaction.INSTRUCTIONS}\n\nThe conversation's own instructions were:\n{own}"


async def answered(gateway: Gateway, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
    """The response object that the gateway itself answers *body* with."""
    sink = InnerSink()
    request: Request = inner_request(ROUTE)
    call = ResponseCall(gateway, request, sink, "responses", caller, b"")
    call.body_received(json_text.encode(body))
    call.body_ended()
    try:
        await sink.over.wait()
    except asyncio.CancelledError:
        call.disconnected()
        raise
    if sink.status != 200:
        raise to_exception(call.failure) if call.failure is not None else UpstreamError("the call failed")
    return json_text.decode_object(b"".join(sink.parts))
