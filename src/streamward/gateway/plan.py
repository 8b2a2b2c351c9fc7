"""The gateway's configuration as routes, and which of a model's targets a request wants.

How a name becomes targets is ``upstream.routes``' business; Vercel's ``providerOptions.gateway`` narrows and orders them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

from msgspec.structs import replace

from streamward.dataplane.client import Timeouts
from streamward.dataplane.pool import Pool
from streamward.errors import ErrorInfo, InvalidRequest, StreamwardError
from streamward.gateway.config import Config, ModelTable, ProviderTable
from streamward.upstream import cards, routes
from streamward.upstream.attempts import Attempts, Outcome, Target
from streamward.upstream.health import Health
from streamward.upstream.hedge import Hedge, hedge_delay_s
from streamward.upstream.providers import PROVIDERS
from streamward.upstream.routes import MAX_TARGETS, Setting
from streamward.upstream.strategies import PLAIN, Policy, Sort, arrange, healthy_first, sorted_by
from streamward.wire.dialect import Profile


class Routes(routes.Routes):
    """The routes of one configuration."""

    def __init__(
        self, config: Config, pool: Pool, environ: Mapping[str, str] | None = None, health: Health | None = None
    ) -> None:  # fmt: skip
        self.config = config
        self.health = health or Health()
        self.chance = random.Random()  # noqa: S311 - it spreads load, it guards nothing
        providers = {name: setting_of(name, table) for name, table in config.providers.items()}
        models = {name: table.targets for name, table in config.models.items()}
        super().__init__(pool, providers, models, environ)
        self.policies: dict[str, Policy] = {}
        """Configured models that are routed by more than their order; most calls find nothing here."""
        for name, table in config.models.items():
            policy = policy_of(self, table)
            if policy != PLAIN:
                self.policies[name] = policy

    def targets(self, model: str, options: dict[str, Any] | None = None) -> list[Target]:
        """The targets for *model*, in the order to try: as its strategy, the targets' health and *options*
        (``providerOptions.gateway``) have it.

        Raises:
            ModelNotFound: nobody serves it; the message lists near names.
        """
        found = super().targets(model)
        if options:
            return narrow(self, found, options)
        if len(found) == 1:
            return found
        policy = self.policies.get(model, PLAIN)
        return arrange(found, policy, self.health, time.monotonic(), self.chance)

    def continues(self, model: str) -> bool:
        """Whether an answer of *model* that breaks off is continued by its next target."""
        policy = self.policies.get(model)
        return policy is not None and policy.continue_midstream

    def attempts(
        self, model: str, targets: list[Target], render: Callable[[Target], bytes], outcome: Outcome, *, stream: bool,
        on_failure: Callable[[Target, ErrorInfo], None],
    ) -> Attempts | Hedge:  # fmt: skip
        """The tries of one call: at one target after the other, or hedged where *model* is configured so."""
        policy = self.policies.get(model)
        if policy is None or policy.strategy != "hedge" or len(targets) < 2:
            return Attempts(targets, render, outcome, stream=stream, on_failure=on_failure)
        return Hedge(
            targets, render, outcome, stream=stream, on_failure=on_failure, health=self.health,
            after_s=hedge_delay_s(targets[0], self.health, policy.hedge_after_s),
        )  # fmt: skip


def policy_of(routes: Routes, table: ModelTable) -> Policy:
    """A target name may stand for several targets (``gpt-4o``: everybody who serves it); they share its weight."""
    weights: list[float] = []
    if table.strategy == "weighted":
        for i, name in enumerate(table.targets):
            weight = table.weights[i] if i < len(table.weights) else 1.0
            try:
                count = len(routes.direct(name))
            except StreamwardError:
                count = 0  # its provider has no key here: asking for the model will say so
            weights.extend([weight / max(count, 1)] * count)
    return Policy(
        strategy=table.strategy, weights=tuple(weights), hedge_after_s=table.hedge_after_ms / 1000,
        continue_midstream=table.continue_midstream,
    )  # fmt: skip


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
    """*found* as ``providerOptions.gateway`` wants it: ``models`` adds fallbacks, ``only`` filters, ``sort`` and
    ``order`` rank (``order`` has the last word)."""
    only, order, others = (string_list(options, key) for key in ("only", "order", "models"))
    targets = list(found)
    for name in others or ():
        targets.extend(target for target in routes.resolve(name) if target not in targets)
    if only is not None:
        targets = [target for target in targets if target.upstream.name in only]
        if not targets:
            raise InvalidRequest(
                f"providerOptions.gateway.only leaves no provider for this model; it has "
                f"{', '.join(sorted({t.upstream.name for t in found}))}",
                param="providerOptions.gateway.only",
            )
    now = time.monotonic()
    sort = sort_of(options)
    if sort is not None:
        targets = sorted_by(targets, sort, routes.health, now, cost_of)
    if order is not None:
        rank = {name: i for i, name in enumerate(order)}
        targets.sort(key=lambda target: rank.get(target.upstream.name, len(rank)))
    return healthy_first(targets[:MAX_TARGETS], routes.health, now)


def cost_of(target: Target) -> float | None:
    """Comparable price of *target*, by the weights of a usual call: three tokens in for one out."""
    price = cards.price_of(target.name)
    return None if price is None else 3 * price.input + price.output


def sort_of(options: dict[str, Any]) -> Sort | None:
    value = options.get("sort")
    if value is None or value in get_args(Sort):
        return cast("Sort | None", value)
    raise InvalidRequest(
        f"providerOptions.gateway.sort must be one of {', '.join(get_args(Sort))}", param="providerOptions.gateway.sort"
    )


def string_list(options: dict[str, Any], key: str) -> list[str] | None:
    value = options.get(key)
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise InvalidRequest(f"providerOptions.gateway.{key} must be a list of strings", param=f"providerOptions.gateway.{key}")
