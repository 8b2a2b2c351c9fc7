"""What is known of models: the dated file and how names find their entry."""

from __future__ import annotations

import datetime

import pytest

from streamward.upstream import cards
from streamward.upstream.catalogue import CREATORS
from streamward.upstream.providers import PROVIDERS


def test_every_entry_is_dated_and_sane():
    found = cards.cards()

    assert "check" in found.note
    assert len(found.models) > 300
    for key, card in found.models.items():
        assert key.partition("/")[0] in PROVIDERS, key
        assert datetime.date(2025, 1, 1) < datetime.date.fromisoformat(card.as_of), key
        assert 0 <= card.price.input < 1000 and 0 <= card.price.output < 2000, key
        assert card.price.cached_input is None or card.price.cached_input <= card.price.input, key
        assert card.context is None or 100 < card.context <= 20_000_000, key
        assert card.max_output is None or (card.context or card.max_output) >= card.max_output, key
        assert set(card.features) <= {"tools", "structured_output", "reasoning", "embeddings"}, key
        assert set(card.input) | set(card.output) <= {"text", "image", "audio", "video", "embedding"}, key


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("openai/gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini"),
        ("anthropic/claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4-5"),
        ("vercel/openai/gpt-5", "openai/gpt-5"),
        ("openai/gpt-5-2025-08-07", "openai/gpt-5"),
        ("openai/gpt-4o-and-something-else", None),
        ("mock/gpt-4o", None), ("", None), ("openai/", None), ("/", None),
    ],
)  # fmt: skip
def test_names_find_their_entry(target: str, key: str | None):
    """Dated and aggregators' names too; what is not known is not guessed from a likeness."""
    expected = None if key is None else cards.cards().models[key]

    assert cards.card_of(target) == expected
    assert cards.price_of(target) == (None if expected is None else expected.price)


def test_models_of_a_provider():
    listed = cards.models_of("anthropic")

    assert "anthropic/claude-sonnet-4-5" in listed
    assert all(name.startswith("anthropic/") for name in listed)
    assert cards.models_of("nobody") == []


def test_names_asked_for_are_not_kept_for_ever():
    for number in range(cards.MAX_KNOWN + 10):
        cards.card_of(f"openai/invented-{number}")

    assert len(cards.known) <= cards.MAX_KNOWN


def test_creators_are_served_by_providers_that_exist():
    assert {provider for served in CREATORS.values() for provider in served} <= set(PROVIDERS)
