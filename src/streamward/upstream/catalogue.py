"""Model names: whose they are and who serves them.

The part before the slash of ``creator/model`` is who made the model, not who serves it. Bare names are recognised by
their first letters. A name the gateway's configuration lists comes before all of this.
"""

from __future__ import annotations

INDIRECT = (
    "nvidia", "tencent", "kwaipilot", "amazon", "xiaomi", "thinkingmachines", "stepfun", "sakana", "poolside", "morph",
    "inception", "bytedance", "arcee-ai", "interfaze", "inclusionai",
)  # fmt: skip
"""Creators we reach through aggregators only."""

CREATORS: dict[str, tuple[str, ...]] = {
    "openai": ("openai", "azure", "openrouter", "vercel"),
    "anthropic": ("anthropic", "openrouter", "vercel"),
    "google": ("google", "vertex", "openrouter", "vercel"),
    "xai": ("xai", "openrouter", "vercel"),
    "spacexai": ("xai", "openrouter", "vercel"),
    "mistral": ("mistral", "openrouter", "vercel"),
    "deepseek": ("deepseek", "openrouter", "vercel"),
    "cohere": ("cohere", "vercel"),
    "perplexity": ("perplexity", "vercel"),
    "alibaba": ("alibaba", "vercel"),
    "moonshotai": ("moonshotai", "openrouter", "vercel"),
    "minimax": ("minimax", "openrouter", "vercel"),
    "zai": ("zai", "vercel"),
    "meta": ("groq", "togetherai", "fireworks", "cerebras", "vercel"),
    **dict.fromkeys(INDIRECT, ("vercel", "openrouter")),
}  # fmt: skip
"""Creator to the providers that serve it, most direct first."""

AGGREGATORS = frozenset({"openrouter", "vercel", "huggingface"})
"""Providers whose own model ids keep the creator prefix."""

BARE: tuple[tuple[str, str], ...] = (
    ("gpt-", "openai"), ("chatgpt-", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"),
    ("text-embedding-", "openai"), ("claude-", "anthropic"), ("gemini-", "google"), ("gemma-", "google"),
    ("grok-", "xai"), ("mistral-", "mistral"), ("ministral-", "mistral"), ("magistral-", "mistral"),
    ("codestral-", "mistral"), ("pixtral-", "mistral"), ("deepseek-", "deepseek"), ("command-", "cohere"),
    ("sonar", "perplexity"), ("qwen", "alibaba"), ("kimi-", "moonshotai"), ("glm-", "zai"), ("minimax-", "minimax"),
    ("llama-", "meta"),
)  # fmt: skip


def creator_of(model: str) -> str | None:
    """Who made the model with the bare name *model*, if its first letters say so."""
    lowered = model.lower()
    return next((creator for prefix, creator in BARE if lowered.startswith(prefix)), None)


def serving(creator: str, model: str) -> list[tuple[str, str]]:
    """(provider, its model id) pairs that may serve *creator*'s *model*, best first."""
    return [
        (provider, f"{creator}/{model}" if provider in AGGREGATORS else model) for provider in CREATORS.get(creator, ())
    ]
