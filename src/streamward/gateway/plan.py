"""The gateway's configuration as routes, and which of a model's targets a request wants.

How a name becomes targets is ``upstream.routes``' business; Vercel's ``providerOptions.gateway`` narrows and orders them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from streamward.dataplane.client import Timeouts
from streamward.dataplane.pool import Pool
from streamward.errors import InvalidRequest
from streamward.gateway.config import Config, ProviderTable
from streamward.upstream import routes
from streamward.upstream.attempts import Target
from streamward.upstream.providers import PROVIDERS
from streamward.upstream.routes import MAX_TARGETS, Setting
from streamward.wire.dialect import Profile


class Routes(routes.Routes):
    """The routes of one configuration."""

    def __init__(self, config: Config, pool: Pool, environ: Mapping[str, str] | None = None) -> None:
        self.config = config
        providers = {name: setting_of(name, table) for name, table in config.providers.items()}
        models = {name: table.targets for name, table in config.models.items()}
        super().__init__(pool, providers, models, environ)

    def targets(self, model: str, options: dict[str, Any] | None = None) -> list[Target]:
        """The targets for *model*, in the order to try, as *options* (``providerOptions.gateway``) narrow them.

        Raises:
            ModelNotFound: nobody serves it; the message lists near names.
        """
        found = super().targets(model)
        return narrow(self, found, options) if options else found


def setting_of(name: str, table: ProviderTable) -> Setting:
    profile = None
    if table.ends_with is not None:
        known = PROVIDERS.get(name)
        profile = replace(known.profile if known is not None else Profile(), ends_with=table.ends_with)
    return Setting(
        base_url=table.base_url, dialect=table.dialect, api_key=table.api_key, auth=table.auth, timeouts=timeouts(table),
        headers=table.headers, retries=table.retries, profile=profile, models=table.models,
    )  # fmt: skip


def timeouts(table: ProviderTable | None) -> Timeouts:
    if table is None:
        return Timeouts()
    own = table.timeouts
    return Timeouts(own.connect, own.first_byte, own.idle, own.total)


def narrow(routes: Routes, found: list[Target], options: dict[str, Any]) -> list[Target]:
    """*found* as ``providerOptions.gateway`` wants it: ``only`` filters, ``order`` sorts, ``models`` adds fallbacks."""
    only, order, models = (string_list(options, key) for key in ("only", "order", "models"))
    targets = list(found)
    for name in (models or ())[:MAX_TARGETS]:
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
