"""Names for models: providers of one's own, aliases, and the default registry that plain ids go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from streamward.call import Call
from streamward.engine import connections
from streamward.engine.model import CallOptions, Model, ModelStream, UpstreamModel
from streamward.engine.resolve import NamedModel
from streamward.errors import ModelNotFound
from streamward.upstream.attempts import Target
from streamward.upstream.upstream import HttpUpstream
from streamward.wire.dialect import Profile


class Provider(Protocol):
    """Somebody who has models by name."""

    def language_model(self, model_id: str, /) -> Model:
        """Raises ModelNotFound."""


class CustomProvider:
    """Models under names of one's own; *fallback* answers for the rest."""

    def __init__(self, models: Mapping[str, Model | str], fallback: Provider | None = None) -> None:
        self.models = {name: NamedModel(model) if isinstance(model, str) else model for name, model in models.items()}
        self.fallback = fallback

    def language_model(self, model_id: str) -> Model:
        model = self.models.get(model_id)
        if model is not None:
            return model
        if self.fallback is not None:
            return self.fallback.language_model(model_id)
        raise ModelNotFound(f"no model {model_id[:80]!r} here; there are: {', '.join(self.models) or 'none'}", param="model")

    __call__ = language_model


class Prefixed:
    """All models of a known provider: ``provider("openai").language_model("gpt-4o-mini")``."""

    def __init__(self, name: str, wrap: Callable[[Model], Model] | None = None) -> None:
        self.name = name
        self.wrap = wrap

    def language_model(self, model_id: str) -> Model:
        model: Model = NamedModel(f"{self.name}/{model_id}")
        return model if self.wrap is None else self.wrap(model)

    __call__ = language_model


class ProviderRegistry:
    """Providers by name: ``registry.language_model("openai:gpt-4o-mini")``; *separator* lies between the two."""

    def __init__(self, providers: Mapping[str, Provider], *, separator: str = ":") -> None:
        self.providers = dict(providers)
        self.separator = separator

    def find(self, model_id: str) -> Model | None:
        name, separator, rest = model_id.partition(self.separator)
        provider = self.providers.get(name) if separator else None
        return None if provider is None else provider.language_model(rest)

    def language_model(self, model_id: str) -> Model:
        model = self.find(model_id)
        if model is None:
            known = ", ".join(self.providers) or "none"
            raise ModelNotFound(f"no provider for {model_id[:80]!r} in this registry; there are: {known}", param="model")
        return model

    __call__ = language_model


def custom_provider(*, language_models: Mapping[str, Model | str], fallback: Provider | None = None) -> CustomProvider:
    """A provider of the given *language_models*: model objects or ids by the names you choose."""
    return CustomProvider(language_models, fallback)


def provider(name: str) -> Prefixed:
    """The known provider *name* (``openai``, ``anthropic``, ...), reached with the environment's key for it."""
    return Prefixed(name)


def create_provider_registry(providers: Mapping[str, Provider], *, separator: str = ":") -> ProviderRegistry:
    return ProviderRegistry(providers, separator=separator)


class Default:
    """The registry that ids given as ``model="..."`` are looked up in first."""

    registry: ProviderRegistry | None = None


def set_default_registry(registry: ProviderRegistry | None) -> None:
    """Look up every id given as ``model="..."`` in *registry* first; ``None`` undoes it. Process-wide."""
    Default.registry = registry


def default_model(model_id: str) -> Model | None:
    return None if Default.registry is None else Default.registry.find(model_id)


class OpenAiCompatible:
    """The models of a server that speaks Chat Completions (or another known dialect) at a base URL."""

    def __init__(self, base_url: str, *, api_key: str | None, name: str, dialect: str, headers: Mapping[str, str]) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.name = name
        self.dialect = dialect
        self.headers = dict(headers)

    def language_model(self, model_id: str) -> Model:
        return ServerModel(self, model_id)

    __call__ = language_model


class ServerModel:
    """One model of such a server."""

    def __init__(self, server: OpenAiCompatible, model_id: str) -> None:
        self.server = server
        self.model_id = model_id
        self.id = f"{server.name}/{model_id}"

    def open(self, call: Call, options: CallOptions, /) -> ModelStream:
        server = self.server
        upstream = HttpUpstream(
            server.name, server.base_url, pool=connections.pool(), dialect=server.dialect, profile=COMPATIBLE,
            api_key=server.api_key, headers=server.headers,
        )  # fmt: skip
        return UpstreamModel(self.id, [Target(upstream, self.model_id)]).open(call, options)


COMPATIBLE = Profile(max_tokens_field="max_tokens", developer_role=False)


def openai_compatible(
    base_url: str, *, api_key: str | None = None, name: str = "server", dialect: str = "chat_completions",
    headers: Mapping[str, str] | None = None,
) -> OpenAiCompatible:  # fmt: skip
    """A provider at *base_url*: ``openai_compatible("http://127.0.0.1:8000/v1", api_key=key)("my-model")``."""
    return OpenAiCompatible(base_url, api_key=api_key, name=name, dialect=dialect, headers=headers or {})
