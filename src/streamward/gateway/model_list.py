"""``/v1/models``: OpenAI's four fields, and beside them what users of OpenRouter and Vercel look for.

Both spell the same facts differently (``context_length`` and ``context_window``, ``pricing.prompt`` and
``pricing.input``); each entry carries both spellings. Prices are strings of US dollars per token, as theirs are.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from streamward.gateway.plan import Routes
from streamward.gateway.prices import Price, PriceOf
from streamward.upstream import catalogue
from streamward.upstream.cards import Card, card_of

CREATED = 1_764_028_800  # 2025-11-25: OpenAI's shape demands a time, and no model of ours has one
DEMO = "a simulated model that follows a script; no key needed"
TINY = "a real but tiny toy model that only knows this project; runs on this machine"
PARAMETERS = {
    "tools": ("tools", "tool_choice"),
    "structured_output": ("response_format", "structured_outputs"),
    "reasoning": ("reasoning",),
}
TAGS = {"tools": "tool-use", "reasoning": "reasoning", "structured_output": "structured-output"}
PER_MILLION = Decimal(1_000_000)


def model_object(routes: Routes, name: str, price_of: PriceOf) -> dict[str, Any]:
    """One entry. What is not known is left out. A configured name is described by its first target that is known."""
    owner, _, rest = name.partition("/")
    configured = routes.config.models.get(name)
    body: dict[str, Any] = {"id": name, "object": "model", "created": CREATED}
    body["owned_by"] = "streamward" if configured is not None else owner
    if owner in ("demo", "local") and configured is None:
        return {**body, "name": rest, "description": TINY if name == "local/tiny" else DEMO if owner == "demo" else rest}
    for target in configured.targets if configured is not None else (name,):
        full = target_name(target)
        card, price = card_of(full), price_of(full)
        if card is not None:
            body |= facts(card)
        if price is not None:
            body["pricing"] = pricing(price)
        if card is not None or price is not None:
            break
    return body


def target_name(name: str) -> str:
    """The target a model id most likely means: itself, or its bare name at its creator's."""
    if "/" in name:
        return name
    return f"{catalogue.creator_of(name) or ''}/{name}"


def facts(card: Card) -> dict[str, Any]:
    embeds = "embedding" in card.output
    inputs, outputs = list(card.input), list(card.output)
    body: dict[str, Any] = {
        "name": card.name,
        "type": "embedding" if embeds else "language",
        "architecture": {
            "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}", "input_modalities": inputs, "output_modalities": outputs,
        },
        "pricing_as_of": card.as_of,
    }  # fmt: skip
    if card.context is not None:
        body["context_length"] = body["context_window"] = card.context
        body["top_provider"] = {"context_length": card.context, "max_completion_tokens": card.max_output}
    if card.max_output is not None:
        body["max_tokens"] = card.max_output
    if card.features:
        body["supported_parameters"] = [name for feature in card.features for name in PARAMETERS.get(feature, ())]
        body["tags"] = [TAGS[feature] for feature in card.features if feature in TAGS]
        if "image" in card.input:
            body["tags"].append("vision")
    return body


def pricing(price: Price) -> dict[str, str]:
    """US dollars per token, under both spellings."""
    figures = {"prompt": price.input, "completion": price.output, "input": price.input, "output": price.output}
    if price.cached_input is not None:
        figures["input_cache_read"] = price.cached_input
    return {name: per_token(value) for name, value in figures.items()}


def per_token(per_million: float) -> str:
    """Without an exponent, which readers of these strings do not expect."""
    text = format(Decimal(str(per_million)) / PER_MILLION, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
