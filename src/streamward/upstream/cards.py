"""What is known of models: context window, output limit, prices, modalities, abilities.

Read from ``data/models.json`` on first use: a dated file (every entry says ``as_of``), written by
``scripts/refresh_models.py``. Prices change; who bills by them checks them or sets their own in the configuration.
What is not known is None or empty, never guessed.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from streamward.upstream import catalogue

DATED = re.compile(r"[-@](20\d\d-?[01]\d-?[0-3]\d|latest|preview|[01]\d-20\d\d)$")
MAX_KNOWN = 4096  # names that were looked up; clients invent them


class Price(Struct, frozen=True):
    """US dollars per million tokens. ``cached_input`` None: not known, or as other input."""

    input: float
    output: float
    cached_input: float | None = None


class Card(Struct, frozen=True):
    """One model at one provider."""

    as_of: str
    name: str
    price: Price
    price_varies: bool = False
    """By prompt length or hour; ``price`` is that of short prompts, and of the dearest hour."""
    context: int | None = None
    max_output: int | None = None
    input: tuple[str, ...] = ("text",)
    output: tuple[str, ...] = ("text",)
    features: tuple[str, ...] = ()
    """Of ``tools``, ``structured_output``, ``reasoning``, ``embeddings``; empty: not known."""
    aliases: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class Cards(Struct, frozen=True):
    """The file."""

    as_of: str
    note: str
    source: str
    models: dict[str, Card]


@cache
def cards() -> Cards:
    raw = (files("streamward.upstream") / "data" / "models.json").read_bytes()
    return msgspec.json.decode(raw, type=Cards)


@cache
def index() -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    """Names to keys of the file: exact ones, and each provider's beginnings, longest first."""
    exact: dict[str, str] = {}
    beginnings: dict[str, list[tuple[str, str]]] = {}
    for key, card in cards().models.items():
        provider = key.partition("/")[0]
        for alias in card.aliases:
            exact.setdefault(f"{provider}/{alias}", key)
        beginnings.setdefault(provider, []).extend((prefix, key) for prefix in card.prefixes)
    exact.update((key, key) for key in cards().models)
    for pairs in beginnings.values():
        pairs.sort(key=lambda pair: -len(pair[0]))
    return exact, beginnings


known: dict[str, Card | None] = {}


def card_of(target: str) -> Card | None:
    """The card of *target* (``provider/model``, or ``creator/model`` as an aggregator's id has it behind its slash)."""
    try:
        return known[target]
    except KeyError:
        found = look_up(target)
        if len(known) < MAX_KNOWN:
            known[target] = found
        return found


def look_up(target: str) -> Card | None:
    provider, _, model = target.partition("/")
    if provider in catalogue.AGGREGATORS:
        creator, _, model = model.partition("/")
        provider = catalogue.CREATORS.get(creator, (creator,))[0]
    exact, beginnings = index()
    key = exact.get(f"{provider}/{model}") or exact.get(f"{provider}/{DATED.sub('', model)}")
    if key is None:
        key = next((key for prefix, key in beginnings.get(provider, ()) if model.startswith(prefix)), None)
    return cards().models[key] if key is not None else None


def price_of(target: str) -> Price | None:
    """What *target* costs, if the file says so. An aggregator's own price may differ from its provider's."""
    card = card_of(target)
    return card.price if card is not None else None


def models_of(provider: str) -> list[str]:
    """Ids (``provider/model``) of the models known at *provider*."""
    return [key for key in cards().models if key.startswith(f"{provider}/")]
