"""From what the application gives as ``model`` to a model.

A model object is itself. An id goes through the configured gateway (``STREAMWARD_BASE_URL``, or ``AI_GATEWAY_API_KEY``
alone for Vercel's), else to the provider whose key the environment holds. ``provider:model`` is read like
``provider/model``; demo models need nobody.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from streamward.call import Call
from streamward.engine import connections
from streamward.engine.model import CallOptions, Model, ModelStream, UpstreamModel
from streamward.errors import InvalidRequest
from streamward.upstream import sigv4
from streamward.upstream.attempts import Target
from streamward.upstream.providers import PROVIDERS
from streamward.upstream.upstream import HttpUpstream
from streamward.wire.dialect import Profile

VERCEL_URL = PROVIDERS["vercel"].base_url

ENVIRONMENT = frozenset(
    {"STREAMWARD_BASE_URL", "STREAMWARD_API_KEY", "AI_GATEWAY_API_KEY"}
    | {name for row in PROVIDERS.values() for name in (*row.key_env, row.url_env) if name}
    | sigv4.ENVIRONMENT
)
"""The variables that decide; looked at for each call, so that tests and notebooks may change them."""


class NamedModel:
    """A model known by its id; who serves it is found out when it is first called."""

    def __init__(self, model_id: str) -> None:
        self.id = model_id

    def open(self, call: Call, options: CallOptions, /) -> ModelStream:
        """Raises ModelNotFound when nobody serves it."""
        return UpstreamModel(self.id, targets(self.id)).open(call, options)


def model_of(model: object) -> Model:
    """*model* as a model.

    Raises:
        InvalidRequest: neither a model nor an id.
    """
    if isinstance(model, str):
        if not model:
            raise InvalidRequest("model: expected an id such as openai/gpt-4o-mini, got an empty string", param="model")
        from streamward.engine.registry import default_model

        return default_model(model) or NamedModel(model)
    if isinstance(model, Model):
        return model
    raise InvalidRequest(
        f"model: expected an id such as openai/gpt-4o-mini or a model object, got {type(model).__name__}", param="model"
    )


def targets(model_id: str) -> Sequence[Target]:
    """Who serves the id, best first."""
    environ = {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)}
    name = canonical(model_id)
    base_url = environ.get("STREAMWARD_BASE_URL")
    gateway_key = environ.get("AI_GATEWAY_API_KEY")
    routes = connections.routes(environ)
    if name.startswith("demo/") or not (base_url or gateway_key):
        return routes.targets(name)
    key = environ.get("STREAMWARD_API_KEY") or gateway_key
    return [Target(gateway(base_url or VERCEL_URL, key), name)]


def gateway(base_url: str, key: str | None) -> HttpUpstream:
    """The gateway at *base_url* as an upstream; it speaks Chat Completions for every model."""
    return HttpUpstream(
        "gateway", base_url, pool=connections.pool(), dialect="chat_completions", profile=Profile(), api_key=key
    )  # fmt: skip


def canonical(model_id: str) -> str:
    """``provider:model`` as ``provider/model``, where the first part is a provider's name."""
    head, colon, rest = model_id.partition(":")
    if colon and "/" not in head and (head in PROVIDERS or head == "demo"):
        return f"{head}/{rest}"
    return model_id
