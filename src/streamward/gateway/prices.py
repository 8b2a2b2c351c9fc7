"""What tokens cost. A price that is not known is None, and so is every cost made of it: nothing is made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamward.upstream.cards import Price as Price
from streamward.upstream.cards import price_of

PER = 1_000_000
FREE = Price(0.0, 0.0)
OWN_PROVIDERS = frozenset({"demo", "local"})
"""They run here: nobody sends a bill."""

MAX_KNOWN = 4096  # targets; clients invent names

PriceOf = Callable[[str], Price | None]


class Prices:
    """Prices by target (``provider/model``): the configuration's first, then the catalogue's."""

    def __init__(self, own: Mapping[str, Price], catalogue: PriceOf = price_of) -> None:
        self.own = own
        self.catalogue = catalogue
        self.found: dict[str, Price | None] = {}

    def of(self, target: str) -> Price | None:
        try:
            return self.found[target]
        except KeyError:
            price = self.look_up(target)
            if len(self.found) < MAX_KNOWN:
                self.found[target] = price
            return price

    def look_up(self, target: str) -> Price | None:
        provider = target.partition("/")[0]
        if self.own:
            price = self.own.get(target) or self.own.get(provider + "/*")
            if price is not None:
                return price
        return FREE if provider in OWN_PROVIDERS else self.catalogue(target)


def cost_usd(price: Price, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
    """The cost of one call. Reasoning is part of *output_tokens*, cached input of *input_tokens*."""
    cached = min(cached_tokens, input_tokens)
    cached_rate = price.input if price.cached_input is None else price.cached_input
    return ((input_tokens - cached) * price.input + cached * cached_rate + output_tokens * price.output) / PER
