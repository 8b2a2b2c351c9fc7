"""Write ``src/streamward/upstream/data/models.json`` anew from the package ``genai-prices``.

    pip install --target /tmp/prices genai-prices
    PYTHONPATH=/tmp/prices python scripts/refresh_models.py

The package (Pydantic's, MIT) collects what providers publish about prices and context windows; it is needed here only,
not to run streamward. What it does not hold (output limits, modalities, abilities) is in ``FACTS`` below, from the
providers' own documentation, for the models whose documentation was read; a fact that is not known is left out.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "src/streamward/upstream/data/models.json"
NOTE = "Prices are US dollars per million tokens, as published on the day `as_of`. They change: check before you bill."
PROVIDERS = {
    "openai": "openai", "anthropic": "anthropic", "google": "google", "xai": "x-ai", "mistral": "mistral",
    "deepseek": "deepseek", "groq": "groq", "perplexity": "perplexity", "cohere": "cohere", "togetherai": "together",
    "fireworks": "fireworks", "cerebras": "cerebras", "moonshotai": "moonshotai", "minimax": "minimax", "zai": "zai",
    "baseten": "baseten", "novita": "novita",
}  # fmt: skip
"""Our name of a provider, and the package's."""

NOT_TEXT = re.compile(
    r":|@|\.ft-|(^|[-/])(image|tts|realtime|transcribe|audio|whisper|live|voxtral|guard|safeguard|ada|babbage|curie|davinci)\b"
)
"""Names of what is not asked for text through these dialects, of fine-tunes, and of what is long gone."""

TEXT, SEES = ["text"], ["text", "image"]
CHAT = ["tools", "structured_output"]
THINKS = [*CHAT, "reasoning"]
FACTS: dict[str, dict[str, Any]] = {
    "openai/gpt-4o": {"max_output": 16384, "input": SEES, "features": CHAT},
    "openai/gpt-4o-mini": {"max_output": 16384, "input": SEES, "features": CHAT},
    "openai/gpt-4.1": {"max_output": 32768, "input": SEES, "features": CHAT},
    "openai/gpt-4.1-mini": {"max_output": 32768, "input": SEES, "features": CHAT},
    "openai/gpt-4.1-nano": {"max_output": 32768, "input": SEES, "features": CHAT},
    "openai/o3": {"max_output": 100000, "input": SEES, "features": THINKS},
    "openai/o3-mini": {"max_output": 100000, "input": TEXT, "features": THINKS},
    "openai/o4-mini": {"max_output": 100000, "input": SEES, "features": THINKS},
    "openai/gpt-5": {"max_output": 128000, "input": SEES, "features": THINKS},
    "openai/gpt-5-mini": {"max_output": 128000, "input": SEES, "features": THINKS},
    "openai/gpt-5-nano": {"max_output": 128000, "input": SEES, "features": THINKS},
    "openai/text-embedding-3-small": {"input": TEXT, "output": ["embedding"], "features": ["embeddings"]},
    "openai/text-embedding-3-large": {"input": TEXT, "output": ["embedding"], "features": ["embeddings"]},
    "openai/text-embedding-ada-002": {"input": TEXT, "output": ["embedding"], "features": ["embeddings"]},
    "anthropic/claude-3-haiku": {"max_output": 4096, "input": SEES, "features": ["tools"]},
    "anthropic/claude-3-5-haiku-latest": {"max_output": 8192, "input": SEES, "features": ["tools"]},
    "anthropic/claude-sonnet-4-0": {"max_output": 64000, "input": SEES, "features": ["tools", "reasoning"]},
    "anthropic/claude-sonnet-4-5": {"max_output": 64000, "input": SEES, "features": THINKS},
    "anthropic/claude-haiku-4-5": {"max_output": 64000, "input": SEES, "features": THINKS},
    "anthropic/claude-opus-4-0": {"max_output": 32000, "input": SEES, "features": ["tools", "reasoning"]},
    "anthropic/claude-opus-4-1": {"max_output": 32000, "input": SEES, "features": THINKS},
    "anthropic/claude-opus-4-5": {"max_output": 64000, "input": SEES, "features": THINKS},
    "google/gemini-2.0-flash": {"max_output": 8192, "input": ["text", "image", "audio", "video"], "features": CHAT},
    "google/gemini-2.5-flash": {"max_output": 65536, "input": ["text", "image", "audio", "video"], "features": THINKS},
    "google/gemini-2.5-flash-lite": {"max_output": 65536, "input": ["text", "image", "audio", "video"], "features": THINKS},
    "google/gemini-2.5-pro": {
        "context": 1048576,
        "max_output": 65536,
        "input": ["text", "image", "audio", "video"],
        "features": THINKS,
    },
    "google/gemini-embedding-001": {"input": TEXT, "output": ["embedding"], "features": ["embeddings"]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as-of", default=datetime.datetime.now(tz=datetime.UTC).date().isoformat())
    today = datetime.date.fromisoformat(parser.parse_args().as_of)
    from genai_prices.data import providers  # type: ignore[import-not-found]

    by_id = {provider.id: provider for provider in providers}
    models: dict[str, dict[str, Any]] = {}
    for name, theirs in PROVIDERS.items():
        for model in by_id[theirs].models:
            if name == "google" and not model.id.startswith(("gemini", "gemma")):
                continue  # others' models, on Vertex
            card = card_of(name, model, today)
            if card is not None:
                models[f"{name}/{model.id}"] = card
    version = importlib.metadata.version("genai-prices")
    head = {"as_of": today.isoformat(), "note": NOTE, "source": f"genai-prices {version}; output limits and abilities: "
            "the providers' documentation"}  # fmt: skip
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(card, ensure_ascii=False)}" for key, card in sorted(models.items()))
    fields = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    OUT.write_text(f'{{\n{fields} "models": {{\n{lines}\n }}\n}}\n', encoding="utf-8")


def card_of(provider: str, model: Any, today: datetime.date) -> dict[str, Any] | None:
    """One line of the file; None for what is gone, or is not paid by text tokens."""
    price = price_on(model.prices, today)
    if (
        model.deprecated
        or (NOT_TEXT.search(model.id) and "embedding" not in model.id)
        or price is None
        or price.input_mtok is None
    ):
        return None
    rate = {"input": base(price.input_mtok), "output": base(price.output_mtok) or 0.0}
    if price.cache_read_mtok is not None:
        rate["cached_input"] = base(price.cache_read_mtok)
    tiers = any(hasattr(value, "tiers") for value in (price.input_mtok, price.output_mtok))
    aliases, prefixes = names_of(model)
    card: dict[str, Any] = {"as_of": today.isoformat(), "name": model.name or model.id, "price": rate}
    if tiers or len(conditions(model.prices)) > 1:
        card["price_varies"] = True  # by prompt length or time of day; what stands here is the dearest
    if model.context_window:
        card["context"] = model.context_window
    card |= FACTS.get(f"{provider}/{model.id}", {})
    card |= {key: value for key, value in (("aliases", aliases), ("prefixes", prefixes)) if value}
    return card


def conditions(prices: Any) -> list[Any]:
    """The prices that hold at different hours of one day."""
    many = prices if isinstance(prices, list) else []
    return [item for item in many if type(item.constraint).__name__ != "StartDateConstraint"]


def price_on(prices: Any, today: datetime.date) -> Any:
    """The price that holds on *today*; the dearest hour's where it depends on the hour."""
    if not isinstance(prices, list):
        return prices
    hourly = [item.prices for item in conditions(prices)]
    if len(hourly) > 1:
        return max(hourly, key=lambda price: base(price.input_mtok) or 0.0)
    found = None
    for item in prices:
        start = getattr(item.constraint, "start_date", None)
        if item.constraint is None or (start is not None and start <= today):
            found = item.prices
    return found


def base(value: Any) -> float | None:
    return None if value is None else float(getattr(value, "base", value))


def names_of(model: Any) -> tuple[list[str], list[str]]:
    """Other names of *model*, and beginnings that stand for it."""
    clauses = getattr(model.match, "or_", [model.match])
    aliases = [clause.equals for clause in clauses if hasattr(clause, "equals")]
    prefixes = [clause.starts_with for clause in clauses if hasattr(clause, "starts_with")]
    return [name for name in aliases if name != model.id], prefixes


if __name__ == "__main__":
    main()
