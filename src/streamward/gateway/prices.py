"""What tokens cost. A price that is not known is None, and so is every cost made of it: nothing is made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

PER = 1_000_000


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens. ``cached_input`` is for input read from the provider's cache; None: as other input."""

    input: float
    output: float
    cached_input: float | None = None


FREE = Price(0.0, 0.0)
OWN_PROVIDERS = frozenset({"demo", "local"})
"""They run here: nobody sends a bill."""

PriceOf = Callable[[str], Price | None]


def no_price(target: str) -> Price | None:
    """A catalogue that knows no price."""
    return None


class Prices:
    """Prices by target (``provider/model``): the configuration's first, then the catalogue's."""

    def __init__(self, own: Mapping[str, Price], catalogue: PriceOf = no_price) -> None:
        self.own = own
        self.catalogue = catalogue

    def of(self, target: str) -> Price | None:
        price = self.own.get(target)
        if price is not None:
            return price
        provider = target.partition("/")[0]
        price = self.own.get(provider + "/*")
        if price is not None:
            return price
        return FREE if provider in OWN_PROVIDERS else self.catalogue(target)


def cost_usd(price: Price, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
    """The cost of one call. Reasoning is part of *output_tokens*, cached input of *input_tokens*."""
    cached = min(cached_tokens, input_tokens)
    cached_rate = price.input if price.cached_input is None else price.cached_input
    return ((input_tokens - cached) * price.input + cached * cached_rate + output_tokens * price.output) / PER
