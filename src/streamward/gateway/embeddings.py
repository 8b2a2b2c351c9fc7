"""``POST /v1/embeddings``: passed to providers that have it, with the same tries, limits and records as any call.

Body and answer stay as they are but for the model's name; only who has no such endpoint is known here.
"""

from __future__ import annotations

from typing import Any

from streamward.errors import InvalidRequest, Unsupported
from streamward.events import Usage
from streamward.gateway.exchange import JSON_FIELDS, NOT_JSON, CallExchange, gateway_options
from streamward.upstream.attempts import Target
from streamward.upstream.upstream import HttpUpstream, OnPath
from streamward.wire import json_text

FEATURE = "embeddings"
PATH = "/embeddings"
DIALECTS = frozenset({"chat_completions", "responses"})
"""Of providers whose embeddings are OpenAI's, beside the chat."""

MAX_INPUTS = 2048
"""As OpenAI's: more in one request is refused by every provider."""


class EmbeddingCall(CallExchange):
    """One ``POST /v1/embeddings``."""

    __slots__ = ()

    def plan(self, body: dict[str, Any]) -> list[Target]:
        options = gateway_options(body)
        check(body)
        model: str = body["model"]
        self.asked = body
        self.record.model = model
        found = self.gateway.routes.targets(model, options)
        able = [able for target in found if (able := embedding_target(target)) is not None]
        if not able:
            names = ", ".join(dict.fromkeys(target.upstream.name for target in found))
            raise Unsupported(f"embeddings are not available from {names}; pick a model of another provider", param="model")
        return able

    def render(self, target: Target) -> bytes:
        return json_text.encode_compact({**self.asked, "model": target.model})

    def end_reply(self) -> None:
        assert self.attempts is not None
        raw = b"".join(self.reply)
        try:
            answer = json_text.decode_any(raw)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            self.attempts.reject(NOT_JSON)
            return
        self.attempts.commit()
        self.account(usage_of(answer.get("usage")), 0)
        self.record.output_tokens = 0
        self.record.status = 200
        self.record.bytes_out = len(raw)
        self.sink.start(200, self.fields(JSON_FIELDS), length=len(raw))
        self.sink.finish(raw)
        self.close("finished")


def embedding_target(target: Target) -> Target | None:
    """The embeddings beside *target*'s chat, if its provider has them."""
    upstream = target.upstream
    if not isinstance(upstream, HttpUpstream) or upstream.dialect not in DIALECTS or FEATURE in upstream.profile.unsupported:
        return None
    return Target(OnPath(upstream, PATH), target.model)


def usage_of(stated: Any) -> Usage | None:
    given = stated.get("prompt_tokens", stated.get("total_tokens")) if isinstance(stated, dict) else None
    return Usage(input_tokens=given, output_tokens=0) if isinstance(given, int) and given >= 0 else None


def check(body: dict[str, Any]) -> None:
    """Raises InvalidRequest naming the field."""
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise InvalidRequest("model: expected the name of a model", param="model")
    given = body.get("input")
    if not (isinstance(given, str) and given) and not is_list_of_inputs(given):
        raise InvalidRequest(
            f"input: expected a text, a list of at most {MAX_INPUTS} texts, or tokens; none of them empty", param="input"
        )
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidRequest("encoding_format: expected float or base64", param="encoding_format")
    dimensions = body.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise InvalidRequest("dimensions: expected a whole number from 1 on", param="dimensions")


def is_list_of_inputs(given: Any) -> bool:
    if not isinstance(given, list) or not given:
        return False
    if all(type(item) is int for item in given):
        return True  # one input, as tokens
    if len(given) > MAX_INPUTS:
        return False
    texts = all(isinstance(item, str) and item for item in given)
    return texts or all(isinstance(item, list) and item and all(type(t) is int for t in item) for item in given)
