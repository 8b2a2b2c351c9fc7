"""From a model name to the targets to try.

Named models come first; then ``provider/model`` for a configured or known provider (split at the first slash); then
``creator/model`` and bare names by the catalogue. Used by the gateway (with its configuration) and by the SDK (with
the environment alone). Connections are the pool's, choosing among targets is the caller's.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from streamward.dataplane.client import Timeouts
from streamward.dataplane.pool import Pool
from streamward.errors import InvalidRequest, ModelNotFound
from streamward.upstream import cards, catalogue, sigv4
from streamward.upstream.attempts import Target
from streamward.upstream.demo import MODELS as DEMO_MODELS
from streamward.upstream.demo import DemoUpstream, parse_model
from streamward.upstream.providers import LOCAL_SERVERS, PROVIDERS, Auth, Provider
from streamward.upstream.sigv4 import Signer, region_of
from streamward.upstream.upstream import DEFAULT_RETRIES, HttpUpstream, Upstream
from streamward.wire.dialect import Profile

log = logging.getLogger("streamward.upstream")

MAX_TARGETS = 16  # a request may list more; nobody waits for the seventeenth
MAX_NEAR_CHARS = 100  # of a wrong name that near ones are looked for
MAX_NAMES = 4096  # clients choose the names; past this they are resolved each time


class Setting(Struct, frozen=True, kw_only=True):
    """How one provider is used; ``None`` and empty fields leave what its row says."""

    base_url: str | None = None
    dialect: str | None = None
    api_key: str | None = None
    auth: Auth | None = None
    timeouts: Timeouts = Timeouts()
    headers: Mapping[str, str] = {}
    retries: int = DEFAULT_RETRIES
    profile: Profile | None = None
    models: tuple[str, ...] = ()
    """Model ids to list."""


class Routes:
    """The upstreams there are, and which of them serve a name. Replaced as a whole on reload."""

    def __init__(
        self, pool: Pool, providers: Mapping[str, Setting] | None = None, models: Mapping[str, tuple[str, ...]] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.pool = pool
        self.providers = providers or {}
        self.models = models or {}
        self.environ = os.environ if environ is None else environ
        self.upstreams: dict[str, Upstream] = {}
        self.missing_keys: dict[str, tuple[str, ...]] = {}
        self.names: dict[str, list[Target]] = {}  # resolved names; bounded by MAX_NAMES
        self.upstreams["demo"] = DemoUpstream(self.providers.get("demo", Setting()).timeouts)
        for row in PROVIDERS.values():
            self.add_known(row, self.providers.get(row.name))
        for name, setting in self.providers.items():
            if name not in PROVIDERS and name not in ("demo", "local"):
                row = Provider(name=name, base_url=setting.base_url or "")
                signer = self.signer(row, setting, setting.api_key)
                self.upstreams[name] = http_upstream(row, setting, setting.api_key, pool, signer)

    def add_known(self, row: Provider, setting: Setting | None) -> None:
        found = (self.environ[name].strip() for name in row.key_env if self.environ.get(name, "").strip())
        key = (setting.api_key if setting else None) or next(found, None)
        url = self.environ.get(row.url_env or "") or None
        row = replace(row, base_url=row.base_url.replace("{AWS_REGION}", region_of(self.environ)))
        signer = self.signer(row, setting, key)
        if row.name in LOCAL_SERVERS:
            if setting is None and url is None:
                return
        elif row.auth != "none" and key is None and signer is None and not (setting and setting.base_url):
            self.missing_keys[row.name] = row.key_env
            return
        if url is not None:
            url = url if "://" in url else f"http://{url}"
            if row.url_path and not urlsplit(url).path.strip("/"):
                url = url.rstrip("/") + row.url_path
            row = replace(row, base_url=url)
        elif not row.base_url and not (setting and setting.base_url):
            self.missing_keys[row.name] = (row.url_env or "base_url",)
            return
        self.upstreams[row.name] = http_upstream(row, setting, key, self.pool, signer)

    def signer(self, row: Provider, setting: Setting | None, key: str | None) -> Signer | None:
        """Who signs the requests of a provider that wants that and was given no *key*."""
        if key is not None or ((setting and setting.auth) or row.auth) != "aws":
            return None
        try:
            return sigv4.signer(self.environ)
        except InvalidRequest as exc:
            log.warning("provider %s is left out: %s", row.name, exc)
            return None

    def targets(self, model: str) -> list[Target]:
        """The targets for *model*, in the order to try.

        Raises:
            ModelNotFound: nobody serves it; the message lists near names.
        """
        found = self.names.get(model)
        if found is None:
            found = self.resolve(model)
            if len(self.names) < MAX_NAMES:
                self.names[model] = found
        return found

    def resolve(self, model: str) -> list[Target]:
        named = self.models.get(model)
        if named is not None:
            return [target for name in named for target in self.direct(name)][:MAX_TARGETS]
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
                f"the model {model[:80]!r} is served by {keyless}, which is not set up here: set {variable}", param="model"
            )
        near = self.near(model)
        hint = f"; near names: {', '.join(near)}" if near else provider_hint(model) or "; see GET /v1/models"
        return ModelNotFound(f"no target serves the model {model[:80]!r}{hint}", param="model")

    def listed(self) -> list[str]:
        """Model ids to offer: the local model, configured names, what providers with a key serve, the demos.

        A provider's configured ``models`` are listed instead of those the catalogue knows.
        """
        ids = [f"local/{model}" for model in getattr(self.upstreams.get("local"), "models", ())]
        ids.extend(self.models)
        for name in self.upstreams:
            setting = self.providers.get(name)
            if setting is not None and setting.models:
                ids.extend(f"{name}/{model}" for model in setting.models)
            elif name not in ("demo", "local"):
                ids.extend(cards.models_of(name))
        ids.extend(f"demo/{kind}" for kind in DEMO_MODELS)
        return list(dict.fromkeys(ids))

    def near(self, model: str) -> list[str]:
        """Names like *model*, also when only its provider or creator part is missing."""
        ids = {name.lower(): name for name in reversed(self.listed())}
        asked = model.lower()[:MAX_NEAR_CHARS]
        found = difflib.get_close_matches(asked, ids, 3, 0.6)
        if "/" not in asked:
            bare: dict[str, str] = {}
            for name in ids:
                bare.setdefault(name.rpartition("/")[2], name)
            found += [bare[name] for name in difflib.get_close_matches(asked, bare, 3, 0.6)]
        found += difflib.get_close_matches(asked, ids, 3, 0.4)
        return [ids[name] for name in dict.fromkeys(found)][:3]


def provider_hint(model: str) -> str:
    """For a misspelt provider that is not set up here."""
    name, slash, rest = model.lower()[:MAX_NEAR_CHARS].partition("/")
    found = difflib.get_close_matches(name, PROVIDERS, 1, 0.75) if slash else []
    if not found or found[0] == name:
        return ""
    variables = PROVIDERS[found[0]].key_env
    return f"; did you mean {found[0]}/{rest}" + (f" (set {variables[0]})?" if variables else "?")


def http_upstream(
    row: Provider, setting: Setting | None, key: str | None, pool: Pool, signer: Signer | None
) -> HttpUpstream:
    """The upstream for *row* as *setting* modifies it."""
    setting = setting or Setting()
    return HttpUpstream(
        row.name, setting.base_url or row.base_url, pool=pool, dialect=setting.dialect or row.dialect,
        profile=setting.profile or row.profile, api_key=key, auth=setting.auth or row.auth,
        headers={**dict(row.headers), **setting.headers}, timeouts=setting.timeouts, retries=setting.retries,
        signer=signer,
    )  # fmt: skip
