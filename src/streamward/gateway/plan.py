"""From a model name to the targets to try.

Names in ``[models]`` come first; then ``provider/model`` for a configured or known provider (split at the first
slash); then ``creator/model`` and bare names by the catalogue. Vercel's ``providerOptions.gateway`` narrows and orders.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from streamward.dataplane.client import Timeouts
from streamward.dataplane.pool import Pool
from streamward.errors import InvalidRequest, ModelNotFound
from streamward.gateway.config import Config, ProviderTable
from streamward.upstream import catalogue
from streamward.upstream.attempts import Target
from streamward.upstream.demo import MODELS as DEMO_MODELS
from streamward.upstream.demo import DemoUpstream, parse_model
from streamward.upstream.providers import LOCAL_SERVERS, PROVIDERS, Provider
from streamward.upstream.upstream import HttpUpstream, Upstream
from streamward.wire.dialect import Profile

MAX_TARGETS = 16  # a request may list more; nobody waits for the seventeenth


class Routes:
    """The upstreams of one configuration, and which of them serve a name. Replaced as a whole on reload."""

    def __init__(self, config: Config, pool: Pool, environ: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.pool = pool
        self.environ = os.environ if environ is None else environ
        self.upstreams: dict[str, Upstream] = {}
        self.missing_keys: dict[str, tuple[str, ...]] = {}
        self.names: dict[str, list[Target]] = {}  # resolved names; bounded by MAX_NAMES
        demo = config.providers.get("demo")
        self.upstreams["demo"] = DemoUpstream(timeouts(demo))
        for row in PROVIDERS.values():
            self.add_known(row, config.providers.get(row.name))
        for name, table in config.providers.items():
            if name not in PROVIDERS and name not in ("demo", "local"):
                self.upstreams[name] = http_upstream(
                    Provider(name=name, base_url=table.base_url or ""), table, table.api_key, pool
                )  # fmt: skip

    def add_known(self, row: Provider, table: ProviderTable | None) -> None:
        key = (table.api_key if table else None) or next((self.environ[n] for n in row.key_env if self.environ.get(n)), None)
        url = self.environ.get(row.url_env or "") or None
        if row.name in LOCAL_SERVERS:
            if table is None and url is None:
                return
        elif row.auth != "none" and key is None and not (table and table.base_url):
            self.missing_keys[row.name] = row.key_env
            return
        if url is not None:
            row = Provider(
                name=row.name, base_url=url if "://" in url else f"http://{url}", dialect=row.dialect, auth=row.auth,
                headers=row.headers, profile=row.profile,
            )  # fmt: skip
        self.upstreams[row.name] = http_upstream(row, table, key, self.pool)

    def targets(self, model: str, options: dict[str, Any] | None = None) -> list[Target]:
        """The targets for *model*, in the order to try.

        Raises:
            ModelNotFound: nobody serves it; the message lists near names.
        """
        found = self.names.get(model)
        if found is None:
            found = self.resolve(model)
            if len(self.names) < MAX_NAMES:
                self.names[model] = found
        return narrow(self, found, options) if options else found

    def resolve(self, model: str) -> list[Target]:
        named = self.config.models.get(model)
        if named is not None:
            return [target for name in named.targets for target in self.direct(name)][:MAX_TARGETS]
        return self.direct(model)

    def direct(self, model: str) -> list[Target]:
        head, slash, rest = model.partition("/")
        if slash and head in self.upstreams:
            if head == "demo":
                parse_model(rest)
            return [Target(self.upstreams[head], rest)]
        creator, name = (head, rest) if slash else (catalogue.creator_of(model), model)
        if creator is not None:
            found = [
                Target(self.upstreams[provider], target)
                for provider, target in catalogue.serving(creator, name)
                if provider in self.upstreams
            ]
            if found:
                return found[:MAX_TARGETS]
        raise self.unknown(model, head if slash else creator)

    def unknown(self, model: str, head: str | None) -> ModelNotFound:
        candidates = [head or "", *(provider for provider, _ in catalogue.serving(head or "", ""))]
        keyless = next((provider for provider in candidates if provider in self.missing_keys), None)
        if keyless is not None:
            variable = self.missing_keys[keyless][0]
            return ModelNotFound(
                f"the model {model[:80]!r} is served by {keyless}, which has no key here: set {variable}", param="model"
            )
        near = difflib.get_close_matches(model, self.listed(), 3, 0.4)
        hint = f"; near names: {', '.join(near)}" if near else "; see GET /v1/models"
        return ModelNotFound(f"no target serves the model {model[:80]!r}{hint}", param="model")

    def listed(self) -> list[str]:
        """Model ids that can be named for sure: configured ones, and those of providers without a catalogue."""
        ids = [*self.config.models, *(f"demo/{kind}" for kind in DEMO_MODELS)]
        for name, upstream in self.upstreams.items():
            table = self.config.providers.get(name)
            models = (table.models if table else ()) or getattr(upstream, "models", ())
            ids.extend(f"{name}/{model}" for model in models)
        return ids


MAX_NAMES = 4096  # clients choose the names; past this they are resolved each time


def timeouts(table: ProviderTable | None) -> Timeouts:
    if table is None:
        return Timeouts()
    own = table.timeouts
    return Timeouts(own.connect, own.first_byte, own.idle, own.total)


def http_upstream(row: Provider, table: ProviderTable | None, key: str | None, pool: Pool) -> HttpUpstream:
    """The upstream for *row* as *table* modifies it."""
    table = table or ProviderTable()
    profile: Profile = row.profile
    if table.ends_with is not None:
        fields = {name: getattr(profile, name) for name in profile.__struct_fields__}
        profile = Profile(**{**fields, "ends_with": table.ends_with})
    return HttpUpstream(
        row.name, table.base_url or row.base_url, pool=pool, dialect=table.dialect or row.dialect, profile=profile,
        api_key=key, auth=table.auth or row.auth, headers={**dict(row.headers), **table.headers},
        timeouts=timeouts(table), retries=table.retries,
    )  # fmt: skip


def narrow(routes: Routes, found: list[Target], options: dict[str, Any]) -> list[Target]:
    """*found* as ``providerOptions.gateway`` wants it: ``only`` filters, ``order`` sorts, ``models`` adds fallbacks."""
    only, order, models = (string_list(options, key) for key in ("only", "order", "models"))
    targets = list(found)
    for name in models or ():
        targets.extend(routes.resolve(name))
    if only is not None:
        targets = [target for target in targets if target.upstream.name in only]
        if not targets:
            raise InvalidRequest(
                f"providerOptions.gateway.only leaves no provider for this model; it has "
                f"{', '.join(sorted({t.upstream.name for t in found}))}",
                param="providerOptions.gateway.only",
            )
    if order is not None:
        rank = {name: i for i, name in enumerate(order)}
        targets.sort(key=lambda target: rank.get(target.upstream.name, len(rank)))
    return targets[:MAX_TARGETS]


def string_list(options: dict[str, Any], key: str) -> list[str] | None:
    value = options.get(key)
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise InvalidRequest(f"providerOptions.gateway.{key} must be a list of strings", param=f"providerOptions.gateway.{key}")
