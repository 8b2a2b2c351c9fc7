"""The provider table: every row can be used, and every quirk has a golden stream that shows it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from streamward.events import Finish, Source
from streamward.reply import collect
from streamward.upstream.providers import LOCAL_SERVERS, PROVIDERS, ROWS, Provider
from streamward.wire import chat_completions
from streamward.wire.dialect import Profile
from streamward.wire.table import DIALECTS, UPSTREAM_DIALECTS
from support import chat_golden
from support.codec import decode

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows(row: Provider):
    """A URL that can be called, a dialect that exists, variables that can be set."""
    url = urlsplit(row.base_url)

    assert row.dialect in DIALECTS | UPSTREAM_DIALECTS
    assert re.fullmatch(r"[a-z]+", row.name)
    if row.base_url:
        assert url.scheme == ("http" if row.name in LOCAL_SERVERS else "https")
        assert url.hostname
        assert not url.query
        assert not row.base_url.endswith("/")
    else:
        assert row.url_env, "without a URL of its own it needs one from the environment"
    assert all(VARIABLE.fullmatch(name) for name in (*row.key_env, *([row.url_env] if row.url_env else [])))
    assert bool(row.key_env) == (row.auth != "none")
    assert all(name == name.lower() and value for name, value in row.headers)


def test_names_are_unique_and_keys_are_not_shared():
    """One key must not go to two companies."""
    keys = [name for row in ROWS for name in row.key_env]

    assert len(PROVIDERS) == len(ROWS)
    assert len(set(keys)) == len(keys)
    assert set(PROVIDERS) >= LOCAL_SERVERS


def test_no_host_is_a_placeholder():
    """A key must not be sent to somebody who happens to own an example's name."""
    assert not [row.name for row in ROWS if "example" in row.base_url]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_profiles_are_of_the_dialect(row: Provider):
    """What a profile drops or rules out is a field of requests, not of its own invention."""
    known = {"user", "logit_bias", "store", "metadata", "tools", "n", "logprobs", "json_schema", "images", "embeddings"}

    assert row.profile.drops_fields | row.profile.unsupported <= known
    assert not row.profile.drops_fields & row.profile.unsupported


def test_who_has_no_golden_stream_of_its_own_is_read_as_the_reference_is():
    """A row that says how its streams deviate shows one."""
    shown = {name.partition("_")[0] for name in chat_golden.NAMES}

    for row in ROWS:
        if row.dialect == "chat_completions" and row.name not in shown:
            for deviation in ("ends_with", "single_newline_frames", "usage_path", "output_excludes_reasoning"):
                assert getattr(row.profile, deviation) == getattr(Profile(), deviation), (row.name, deviation)


# Each quirk, the golden stream that has it, and what goes wrong when the profile forgets it.


def read(name: str, profile: Profile) -> Any:
    return collect(decode(chat_completions, chat_golden.raw(name), profile))


FAILED = {"openrouter_error", "sglang_abort", "vercel_error", "vllm_error"}


@pytest.mark.parametrize("name", [name for name in chat_golden.NAMES if name.partition("_")[0] in PROVIDERS])
def test_golden_streams_of_providers(name: str):
    """Read with the provider's own row, a stream of its form is understood to the end."""
    events = decode(chat_completions, chat_golden.raw(name), PROVIDERS[name.partition("_")[0]].profile)

    assert events == chat_golden.expected(name)
    assert isinstance(events[-1], Finish) == (name not in FAILED)


@pytest.mark.parametrize(
    ("name", "quirk"),
    [
        ("groq", lambda reply: reply.usage and reply.usage.total == 50),
        ("xai", lambda reply: reply.usage.output_tokens == 291 and reply.usage.total == 303),
        ("perplexity", lambda reply: reply.finish_reason == "stop"),
        ("deepinfra", lambda reply: reply.text == "One two"),
        ("sambanova", lambda reply: reply.text == "One two"),
    ],
)
def test_a_profile_is_needed(name: str, quirk: Any):
    """With it the stream is right, without it wrong: no field of a row is decoration."""
    assert quirk(read(name, PROVIDERS[name].profile))
    assert not quirk(read(name, Profile()))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("mistral", lambda reply: (reply.reasoning, reply.text) == ("Two plus two.", "Four.")),
        ("mistral", lambda reply: reply.usage.total == 29),
        ("deepseek", lambda reply: (reply.reasoning, reply.usage.cached_input_tokens) == ("Hm.", 16)),
        ("perplexity", lambda reply: [b.url for b in reply.blocks if isinstance(b, Source)] == [
            "https://example.org/a", "https://example.org/b"]),
        ("perplexity", lambda reply: reply.usage.total == 9),
        ("azure", lambda reply: (reply.id, reply.text) == ("az1", "Hello")),
        ("openrouter", lambda reply: (reply.blocks[0].signature, reply.text) == ("c2ln", "Four")),
        ("vllm", lambda reply: (reply.text, reply.usage.total) == ("Oslo", 10)),
        ("llamacpp", lambda reply: (reply.text, reply.usage.total) == ("Hi!", 6)),
        ("togetherai", lambda reply: (reply.text, reply.usage.total, reply.raw_reason) == ("Hi you", 6, "eos")),
        ("fireworks", lambda reply: (reply.text, reply.usage.total) == ("Hi", 5)),
        ("openrouter_error", lambda reply: (reply.text, reply.error.code) == ("Hal", "upstream_error")),
        ("vllm_error", lambda reply: (reply.text, reply.error.code) == ("Os", "upstream_error")),
    ],
)  # fmt: skip
def test_quirks(name: str, check: Any):
    assert check(read(name, chat_golden.profile(name)))


@pytest.mark.parametrize("row", [row for row in ROWS if row.dialect == "chat_completions"], ids=lambda row: row.name)
def test_requests_in_every_profile(row: Provider):
    """One way to say the limit, no developer role where it is unknown, usage asked for unless that is refused."""
    call = chat_completions.parse_request(
        {"model": "m", "stream": True, "max_tokens": 5, "user": "u", "messages": [{"role": "developer", "content": "d"}]}
    )

    body = chat_completions.render_request(call, model="m", profile=row.profile)

    assert [key for key in body if key.startswith("max_")] == [row.profile.max_tokens_field]
    assert body["messages"][0]["role"] == ("developer" if row.profile.developer_role else "system")
    assert ("stream_options" in body) == row.profile.asks_usage
    assert ("user" in body) == ("user" not in row.profile.drops_fields)
