"""Calls over real connections: what is asked, retries, deadlines, and which provider a name means."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from streamward import (
    create_provider_registry,
    custom_provider,
    openai_compatible,
    provider,
    set_default_registry,
    stream_text,
)
from streamward.engine.resolve import canonical, targets
from streamward.errors import InvalidRequest, ModelNotFound, UpstreamTimeout
from streamward.testing import ScriptedModel, text, tool_call
from support.scripted_upstream import HELLO, ROLE, SSE, Fault, delta, document, http_chunk, scripted_upstream, stream

REFUSED = document({"error": {"message": "slow down"}}, 429, "retry-after: 0")


async def test_usage_is_asked_for_and_headers_are_sent():
    async with scripted_upstream(stream(*HELLO)) as upstream:
        model = openai_compatible(upstream.base_url, api_key="k", headers={"x-team": "a"})("m")
        result = stream_text(model, system="S", prompt="hi", headers={"X-Call": "1", "x-team": "b"})
        assert await result.text == "Hello"
        seen = await upstream.request()

    body = seen.json()
    assert (body["stream"], body["stream_options"], body["model"]) == (True, {"include_usage": True}, "m")
    assert body["messages"][0] == {"role": "system", "content": "S"}
    assert [seen.header(name) for name in ("authorization", "x-call", "x-team")] == ["Bearer k", "1", "b"]
    usage = await result.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (7, 2)


async def test_half_an_emoji_in_a_message_is_sent_as_a_replacement():
    """A page that cuts its text anywhere posts one; ``json.loads`` lets it through."""
    async with scripted_upstream(stream(*HELLO)) as upstream:
        messages = [{"role": "user", "content": [{"type": "text", "text": "a\ud83d"}]}]
        assert await stream_text(openai_compatible(upstream.base_url)("m"), messages=messages).text == "Hello"
        seen = await upstream.request()

    assert seen.json()["messages"] == [{"role": "user", "content": "a\ufffd"}]


async def test_a_refused_call_is_tried_again():
    async with scripted_upstream(REFUSED, REFUSED, stream(*HELLO)) as upstream:
        assert await stream_text(openai_compatible(upstream.base_url)("m"), prompt="x").text == "Hello"
        assert len(upstream.seen) == 3


@pytest.mark.parametrize(("status", "retries", "tries"), [(429, 2, 3), (429, 0, 1), (500, 1, 2), (401, 2, 1), (400, 2, 1)])
async def test_how_often_it_is_tried(status: int, retries: int, tries: int):
    refusal = document({"error": {"message": "no"}}, status, "retry-after: 0")
    async with scripted_upstream(refusal) as upstream:
        result = stream_text(openai_compatible(upstream.base_url)("m"), prompt="x", max_retries=retries)
        events = await result.full_stream
        assert events[-1].__struct_config__.tag == "error"
        assert len(upstream.seen) == tries


async def test_the_first_back_off_is_about_two_seconds():
    async with scripted_upstream(document({"error": {}}, 503), stream(*HELLO)) as upstream:
        began = time.monotonic()
        assert await stream_text(openai_compatible(upstream.base_url)("m"), prompt="x").text == "Hello"

    assert 1.7 <= time.monotonic() - began <= 2.6


async def test_nothing_is_tried_again_after_the_first_token():
    async with scripted_upstream([SSE, http_chunk(ROLE + delta("Hel")), Fault.RESET]) as upstream:
        result = stream_text(openai_compatible(upstream.base_url)("m"), prompt="x")
        await result.consume()
        assert len(upstream.seen) == 1

    assert result.partial.text == "Hel"


@pytest.mark.parametrize(
    ("limits", "script"),
    [
        ({"first_chunk": 0.1}, [Fault.STALL]),
        ({"between_chunks": 0.1}, [SSE, http_chunk(ROLE + delta("a")), Fault.STALL]),
        ({"step": 0.1}, [SSE, http_chunk(ROLE + delta("a")), Fault.STALL]),
        (0.1, [SSE, http_chunk(ROLE + delta("a")), Fault.STALL]),
    ],
)
async def test_deadlines_end_it_and_close_the_connection(limits: Any, script: Any):
    async with scripted_upstream(script) as upstream:
        result = stream_text(openai_compatible(upstream.base_url)("m"), prompt="x", timeout=limits, max_retries=0)
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout, match="timeout"):
            await result.text
        gone = await (await upstream.request()).wait_gone()

    assert gone - began < 0.4


async def test_a_steady_stream_outlives_its_deadline_between_chunks():
    model = ScriptedModel([text(*"abcdefgh")], delay_s=0.03)

    assert await stream_text(model, prompt="x", timeout={"between_chunks": 0.2}).text == "abcdefgh"


async def test_a_deadline_covers_tools():
    async def forever() -> None:
        await asyncio.Event().wait()

    told: list[Exception] = []
    result = stream_text(
        ScriptedModel([tool_call("forever")]), prompt="x", tools=[forever], timeout={"step": 0.05}, on_error=told.append
    )
    with pytest.raises(UpstreamTimeout, match=r"timeout\.step"):
        await result.text

    assert len(told) == 1


# -- names


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    from streamward.engine.resolve import ENVIRONMENT

    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def test_a_name_goes_to_the_provider_whose_key_there_is(clean: pytest.MonkeyPatch):
    clean.setenv("OPENAI_API_KEY", "k")

    (target,) = targets("openai/gpt-4o-mini")

    assert (target.upstream.name, target.model) == ("openai", "gpt-4o-mini")


async def test_a_name_without_a_key_says_which_is_missing(clean: pytest.MonkeyPatch):
    with pytest.raises(ModelNotFound, match="OPENAI_API_KEY"):
        await stream_text("openai/gpt-4o-mini", prompt="x").text


async def test_a_configured_gateway_gets_every_name(clean: pytest.MonkeyPatch):
    async with scripted_upstream(stream(*HELLO)) as upstream:
        clean.setenv("STREAMWARD_BASE_URL", upstream.base_url)
        clean.setenv("STREAMWARD_API_KEY", "gk")
        assert await stream_text("openai/gpt-4o-mini", prompt="x").text == "Hello"
        seen = await upstream.request()

    assert (seen.json()["model"], seen.header("authorization")) == ("openai/gpt-4o-mini", "Bearer gk")


async def test_a_vercel_key_alone_means_vercels_gateway(clean: pytest.MonkeyPatch):
    clean.setenv("AI_GATEWAY_API_KEY", "vk")

    (target,) = targets("anthropic/claude-sonnet-4")

    assert target.upstream.endpoint.host == "ai-gateway.vercel.sh"  # type: ignore[attr-defined]
    assert target.model == "anthropic/claude-sonnet-4"


async def test_demo_models_need_nobody(clean: pytest.MonkeyPatch):
    assert await stream_text("demo/echo?tps=0&ttft_ms=0", prompt="echo me").text == "echo me"


def test_a_colon_may_stand_for_the_slash():
    assert canonical("openai:gpt-4o") == "openai/gpt-4o"
    assert canonical("ollama/llama3:8b") == "ollama/llama3:8b"
    assert canonical("llama3:8b") == "llama3:8b"


async def test_a_custom_provider_and_a_registry():
    mine = custom_provider(language_models={"fast": ScriptedModel("fast one")}, fallback=provider("openai"))
    registry = create_provider_registry({"mine": mine})

    assert await stream_text(registry.language_model("mine:fast"), prompt="x").text == "fast one"
    assert mine.language_model("gpt-4o").id == "openai/gpt-4o"
    with pytest.raises(ModelNotFound, match="mine"):
        registry.language_model("other:fast")


async def test_a_default_registry_serves_plain_ids():
    set_default_registry(create_provider_registry({"mine": custom_provider(language_models={"m": ScriptedModel("yes")})}))
    try:
        assert await stream_text("mine:m", prompt="x").text == "yes"
    finally:
        set_default_registry(None)


def test_what_is_no_model_is_refused():
    for wrong in ("", 5, None):
        with pytest.raises(InvalidRequest, match="model"):
            stream_text(wrong, prompt="x")  # type: ignore[arg-type]


def test_connections_are_closed_with_their_loop(recwarn: pytest.WarningsRecorder):
    """A program that calls asyncio.run twice leaves no socket behind."""
    import gc

    async def once() -> str:
        async with scripted_upstream(stream(*HELLO)) as upstream:
            return str(await stream_text(openai_compatible(upstream.base_url)("m"), prompt="x").text)

    assert [asyncio.run(once()), asyncio.run(once())] == ["Hello", "Hello"]
    gc.collect()
    assert [str(warning.message) for warning in recwarn if issubclass(warning.category, ResourceWarning)] == []


async def test_a_misspelt_provider_is_guessed(monkeypatch: pytest.MonkeyPatch):
    """Also one that is not set up here: then the message says how to."""
    for name in ("STREAMWARD_BASE_URL", "AI_GATEWAY_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ModelNotFound, match=r"did you mean openai/gpt-4o-mini \(set OPENAI_API_KEY\)\?"):
        await stream_text("opnai/gpt-4o-mini", prompt="x").text
