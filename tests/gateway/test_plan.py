"""From a model's name to the targets tried: the order of the rules, and what is said when none fits."""

from collections.abc import Mapping

import pytest

from streamward.dataplane.pool import Pool
from streamward.errors import InvalidRequest, ModelNotFound
from streamward.gateway.config import parse
from streamward.gateway.plan import Routes

KEYS = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "OPENROUTER_API_KEY": "c", "GROQ_API_KEY": "d"}


async def names(model: str, text: str = "", environ: Mapping[str, str] = KEYS, options: dict | None = None) -> list[str]:
    pool = Pool()
    try:
        routes = Routes(parse(text, "test.toml", environ), pool, environ)
        return [target.name for target in routes.targets(model, options)]
    finally:
        await pool.aclose()


RULES = {
    "openai/gpt-4o-mini": ["openai/gpt-4o-mini"],
    "groq/llama-3.3-70b/x": ["groq/llama-3.3-70b/x"],
    "gpt-4o": ["openai/gpt-4o", "openrouter/openai/gpt-4o"],
    "claude-sonnet-5": ["anthropic/claude-sonnet-5", "openrouter/anthropic/claude-sonnet-5"],
    "google/gemini-3-flash": ["openrouter/google/gemini-3-flash"],
    "openrouter/openai/gpt-4o": ["openrouter/openai/gpt-4o"],
    "demo/echo": ["demo/echo"],
}


@pytest.mark.parametrize("model", RULES)
async def test_names_are_resolved_by_provider_then_creator_then_first_letters(model: str):
    assert await names(model) == RULES[model]


async def test_configured_names_come_first():
    text = '[models."gpt-4o"]\ntargets = ["demo/echo", "anthropic/claude-x"]'

    assert await names("gpt-4o", text) == ["demo/echo", "anthropic/claude-x"]


async def test_a_provider_of_the_configuration_is_a_prefix():
    text = '[providers.mine]\nbase_url = "http://127.0.0.1:9/v1"'

    assert await names("mine/some/model", text, {}) == ["mine/some/model"]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("openai/gpt-4o", "set OPENAI_API_KEY"),
        ("gpt-4o", "set OPENAI_API_KEY"),
        ("nobody/x", "/v1/models"),
        ("demo/ecko", "demo/echo"),
        ("", "no target"),
        ("x" * 250, "no target"),
    ],
)
async def test_what_nobody_serves_is_said_with_a_way_out(model: str, says: str):
    with pytest.raises(ModelNotFound, match=says):
        await names(model, environ={})


async def test_options_of_the_request_narrow_order_and_add():
    gpt = ["openai/gpt-4o", "openrouter/openai/gpt-4o"]

    assert await names("gpt-4o", options={"order": ["openrouter", "openai"]}) == gpt[::-1]
    assert await names("gpt-4o", options={"only": ["openrouter"]}) == gpt[1:]
    assert await names("gpt-4o", options={"models": ["demo/echo"]}) == [*gpt, "demo/echo"]
    with pytest.raises(InvalidRequest):
        await names("gpt-4o", options={"only": ["nobody"]})
    with pytest.raises(ModelNotFound):
        await names("gpt-4o", options={"models": ["nobody/x"]})
