"""Model names: whose they are, and who serves them under which id."""

from __future__ import annotations

import pytest

from streamward.upstream.catalogue import AGGREGATORS, BARE, CREATORS, INDIRECT, creator_of, serving
from streamward.upstream.providers import PROVIDERS


@pytest.mark.parametrize(
    ("model", "creator"),
    [
        ("gpt-4o", "openai"), ("chatgpt-5", "openai"), ("o3-mini", "openai"), ("claude-sonnet-4-5", "anthropic"),
        ("gemini-2.5-pro", "google"), ("gemma-3", "google"), ("grok-4", "xai"), ("magistral-medium", "mistral"),
        ("deepseek-chat", "deepseek"), ("command-r", "cohere"), ("sonar-pro", "perplexity"), ("qwen3-max", "alibaba"),
        ("Kimi-K2", "moonshotai"), ("GLM-4.6", "zai"), ("MiniMax-M2", "minimax"), ("llama-3.3-70b", "meta"),
        ("nobody-knows", None), ("", None), ("my-gpt-4", None),
    ],
)  # fmt: skip
def test_bare_names(model: str, creator: str | None):
    """By their first letters, in any case."""
    assert creator_of(model) == creator


def test_every_bare_name_has_a_creator_that_is_served():
    assert {creator for _, creator in BARE} <= set(CREATORS)


@pytest.mark.parametrize("creator", CREATORS)
def test_every_creator_is_served_by_known_providers(creator: str):
    """Most direct first: aggregators come after everybody else, unless there is nobody else."""
    providers = [provider for provider, _ in serving(creator, "m")]

    assert providers
    assert set(providers) <= set(PROVIDERS)
    assert len(set(providers)) == len(providers)
    direct = [provider not in AGGREGATORS for provider in providers]
    assert direct == sorted(direct, reverse=True)
    assert any(direct) != (creator in INDIRECT)


def test_aggregators_keep_the_creator_in_the_id():
    assert serving("anthropic", "claude-x") == [
        ("anthropic", "claude-x"), ("openrouter", "anthropic/claude-x"), ("vercel", "anthropic/claude-x"),
    ]  # fmt: skip
    assert serving("nobody", "m") == []


def test_grok_under_both_of_its_creators():
    assert serving("spacexai", "grok-4")[0] == serving("xai", "grok-4")[0] == ("xai", "grok-4")


def test_aggregators_are_providers():
    assert set(PROVIDERS) >= AGGREGATORS
