"""Whole answers: the response object to a :class:`Reply` and back.

Reading goes through the streaming decoder, so a reply means the same whether it was streamed or not.
"""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.reply import Reply, collect
from streamward.wire.dialect import Context, Profile
from streamward.wire.json_text import encode_compact
from streamward.wire.responses import errors, snapshot
from streamward.wire.responses.decode import Decoder
from streamward.wire.responses.items import items_of, own, whole
from streamward.wire.responses.usage import usage_fields
from streamward.wire.sse import Frame

STOPPED = ErrorInfo("upstream_error", "the answer was not received to its end", status=502, safe_to_retry=True)


def parse_reply(body: dict[str, Any], profile: Profile) -> Reply:
    """The reply a response object holds; with ``error`` set when it failed, is unfinished or is something else."""
    if not isinstance(body.get("output"), list) and not body.get("error"):
        return Reply(error=errors.invalid("the answer is not a response object"))
    status = "failed" if body.get("error") else "completed"
    decoder = Decoder(profile)
    frame = Frame(encode_compact({"type": "response.done", "response": {"status": status, **body}}))
    return collect([*decoder.feed(frame), *decoder.close()])


def render_reply(reply: Reply, context: Context) -> dict[str, Any]:
    """The response object with all 31 keys, as the stream's final event would hold it."""
    response = snapshot.base(context)
    response.update(snapshot.upstream_fields(reply.extra, context.call))
    response.update(snapshot.upstream_fields(reply.finish_extra, context.call))
    response["output"] = items_of(reply, context.id)
    response["usage"] = usage_fields(reply.usage)
    if reply.error is not None:
        return {**response, **snapshot.failed(reply.error)}
    if reply.aborted:
        return {**response, **snapshot.cancelled()}
    if reply.finish_reason is None:
        return {**response, **snapshot.failed(STOPPED)}
    return {**response, **snapshot.finished(reply.finish_reason, reply.raw_reason, completed_at(reply, context))}


def completed_at(reply: Reply, context: Context) -> int:
    now = context.options.get("now")
    if callable(now):
        return int(now())
    stated = own(reply.finish_extra).get("response", {}).get("completed_at")
    return max(whole(stated) or 0, context.created)
