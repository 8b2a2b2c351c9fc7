"""From a model's name and Vercel's options to the targets to try."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamward.dataplane.pool import Pool
from streamward.errors import InvalidRequest, ModelNotFound, StreamwardError
from streamward.gateway.config import Config, ModelTable, ProviderTable, ProviderTimeouts
from streamward.gateway.plan import Routes
from streamward.upstream.providers import PROVIDERS
from streamward.upstream.routes import MAX_NAMES, MAX_TARGETS
from streamward.upstream.upstream import HttpUpstream

KEYS = {"OPENAI_API_KEY": "k1", "ANTHROPIC_API_KEY": "k2", "OPENROUTER_API_KEY": "k3", "AI_GATEWAY_API_KEY": "k4"}
Build = Callable[..., Routes]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Routes of a configuration and an environment; nothing of this machine's own leaks in."""
    pool = Pool(trust_env=False)

    def routes(environ: dict[str, str] | None = None, **tables: Any) -> Routes:
        return Routes(Config(**tables), pool, {} if environ is None else environ)

    yield routes
    await pool.aclose()


def names(routes: Routes, model: str, **options: Any) -> list[tuple[str, str]]:
    return [(target.upstream.name, target.model) for target in routes.targets(model, options or None)]


async def test_provider_and_model(build: Build):
    """Split at the first slash: the rest is the provider's own name for it."""
    routes = build(KEYS)

    assert names(routes, "openai/gpt-4o") == [("openai", "gpt-4o")]
    assert names(routes, "openrouter/meta/llama-3:free") == [("openrouter", "meta/llama-3:free")]
    assert names(routes, "demo/chat?tps=5") == [("demo", "chat?tps=5")]


async def test_creator_and_model(build: Build):
    """Whoever of the catalogue has a key, most direct first."""
    assert names(build({"OPENROUTER_API_KEY": "k"}), "anthropic/claude-x") == [("openrouter", "anthropic/claude-x")]
    assert names(build(KEYS), "mistral/large") == [("openrouter", "mistral/large"), ("vercel", "mistral/large")]


async def test_bare_names(build: Build):
    routes = build(KEYS)

    assert names(routes, "gpt-4o") == [
        ("openai", "gpt-4o"), ("openrouter", "openai/gpt-4o"), ("vercel", "openai/gpt-4o"),
    ]  # fmt: skip
    assert names(routes, "claude-x")[0] == ("anthropic", "claude-x")


async def test_named_models_come_first(build: Build):
    """Also under a name the catalogue knows; their targets in the order written."""
    models = {"gpt-4o": ModelTable(("demo/lorem", "openai/gpt-4o")), "fast": ModelTable(("claude-x",))}
    routes = build(KEYS, models=models)

    assert names(routes, "gpt-4o") == [("demo", "lorem"), ("openai", "gpt-4o")]
    assert names(routes, "fast")[0] == ("anthropic", "claude-x")


async def test_targets_are_bounded(build: Build):
    routes = build(KEYS, models={"many": ModelTable(("demo/chat",) * 50)})

    assert len(names(routes, "many")) == MAX_TARGETS
    assert len(names(routes, "many", models=["gpt-4o"] * 50)) == MAX_TARGETS


async def test_names_of_clients_are_not_kept_for_ever(build: Build):
    routes = build(KEYS)
    for number in range(MAX_NAMES + 10):
        routes.targets(f"openai/m{number}")

    assert len(routes.names) == MAX_NAMES
    assert names(routes, "openai/last") == [("openai", "last")]


# -- what is not there


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("gpt-4o", "OPENAI_API_KEY"), ("openai/gpt-4o", "OPENAI_API_KEY"), ("groq/llama", "GROQ_API_KEY"),
        ("mistral/large", "MISTRAL_API_KEY"), ("azure/my-deployment", "AZURE"), ("demo/chatt", "demo/chat"),
        ("demo-chat", "demo/chat"), ("nobody/knows", "GET /v1/models"), ("", "GET /v1/models"), ("/", "GET /v1/models"),
        ("x" * 10_000, "GET /v1/models"),
    ],
)  # fmt: skip
async def test_unknown_models(build: Build, model: str, said: str):
    """A 404 that says what to do: set the key, or the near name; the whole name is not repeated."""
    with pytest.raises(ModelNotFound) as caught:
        build().targets(model)

    assert (caught.value.info.status, caught.value.info.code) == (404, "model_not_found")
    assert said in caught.value.info.message
    assert len(caught.value.info.message) < 300


async def test_a_misspelt_option_of_a_demo(build: Build):
    with pytest.raises(InvalidRequest, match="known options"):
        build().targets("demo/chat?speed=5")


async def test_local_servers_only_when_asked_for(build: Build):
    """Named in the configuration or by their variable: nobody wants every local port probed."""
    assert {"ollama", "vllm"}.isdisjoint(build().upstreams)
    assert names(build(providers={"ollama": ProviderTable()}), "ollama/llama3:8b") == [("ollama", "llama3:8b")]
    assert names(build({"VLLM_BASE_URL": "http://gpu:8000/v1", "VLLM_API_KEY": "k"}), "vllm/q") == [("vllm", "q")]


# -- upstreams


def upstream(routes: Routes, name: str) -> HttpUpstream:
    found = routes.upstreams[name]
    assert isinstance(found, HttpUpstream)
    return found


async def test_keys_from_the_environment(build: Build):
    """The first variable that is set and not empty."""
    google = build({"GOOGLE_GENERATIVE_AI_API_KEY": "", "GEMINI_API_KEY": "g"})

    assert {"demo", "google"} == set(google.upstreams)
    assert upstream(google, "google").profile == PROVIDERS["google"].profile


async def test_a_url_from_the_environment(build: Build):
    """With or without its scheme."""
    ollama = upstream(build({"OLLAMA_HOST": "gpu.lan:1234"}), "ollama")
    openai = upstream(build({**KEYS, "OPENAI_BASE_URL": "https://proxy.lan/openai/v1"}), "openai")

    assert (ollama.endpoint.scheme, ollama.endpoint.host, ollama.endpoint.port) == ("http", "gpu.lan", 1234)
    assert (openai.endpoint.host, openai.base_path) == ("proxy.lan", "/openai/v1")


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("https://mine.openai.azure.com", "/openai/v1"), ("https://mine.openai.azure.com/", "/openai/v1"),
     ("https://mine.openai.azure.com/openai/deployments/d", "/openai/deployments/d")],
)  # fmt: skip
async def test_azure_is_reached_at_its_own_resource(build: Build, endpoint: str, path: str):
    """The variable everybody sets holds no path; without it there is no Azure, and no key goes anywhere."""
    keyed = {"AZURE_API_KEY": "k"}

    azure = upstream(build({**keyed, "AZURE_OPENAI_ENDPOINT": endpoint}), "azure")

    assert (azure.endpoint.host, azure.base_path) == ("mine.openai.azure.com", path)
    assert "azure" not in build(keyed).upstreams
    with pytest.raises(ModelNotFound, match="AZURE_OPENAI_ENDPOINT"):
        build(keyed).targets("azure/d")


async def test_a_table_changes_its_row(build: Build):
    """What it does not say stays the row's."""
    table = ProviderTable(
        base_url="https://relay.lan/v1", api_key="k", retries=5, ends_with="eof", timeouts=ProviderTimeouts(idle=7)
    )
    groq = upstream(build(providers={"groq": table}), "groq")

    assert (groq.endpoint.host, groq.retries, groq.timeouts.idle) == ("relay.lan", 5, 7)
    assert (groq.profile.ends_with, groq.profile.usage_path) == ("eof", ("x_groq", "usage"))


async def test_a_provider_of_ones_own(build: Build):
    table = ProviderTable(base_url="http://box.lan/v1", dialect="messages", auth="x-api-key", api_key="k", models=("a", "b"))
    routes = build(providers={"box": table})

    assert names(routes, "box/any") == [("box", "any")]
    assert upstream(routes, "box").dialect == "messages"
    assert {"box/a", "box/b", "demo/chat"} <= set(routes.listed())


# -- providerOptions.gateway


async def test_order(build: Build):
    """Listed providers first, in that order; the others stay behind them in theirs."""
    routes = build(KEYS)

    assert [name for name, _ in names(routes, "gpt-4o", order=["vercel", "openrouter"])] == ["vercel", "openrouter", "openai"]
    assert [name for name, _ in names(routes, "gpt-4o", order=["nobody"])] == ["openai", "openrouter", "vercel"]


async def test_only(build: Build):
    routes = build(KEYS)

    assert [name for name, _ in names(routes, "gpt-4o", only=["vercel", "openai"])] == ["openai", "vercel"]
    with pytest.raises(InvalidRequest, match="openai, openrouter, vercel") as caught:
        names(routes, "gpt-4o", only=["azure"])
    assert caught.value.info.param == "providerOptions.gateway.only"


async def test_models_are_fallbacks(build: Build):
    """Other models after the first one's targets; an unknown one is said to be."""
    routes = build(KEYS)

    found = names(routes, "anthropic/claude-x", models=["demo/chat", "openai/gpt-4o"])
    assert found == [("anthropic", "claude-x"), ("demo", "chat"), ("openai", "gpt-4o")]
    assert names(routes, "claude-x", models=["demo/chat"], only=["demo"]) == [("demo", "chat")]
    with pytest.raises(ModelNotFound):
        names(routes, "claude-x", models=["nobody/knows"])


async def test_options_do_not_stick(build: Build):
    """One request's wishes are not the next one's."""
    routes = build(KEYS)
    before = names(routes, "gpt-4o")
    names(routes, "gpt-4o", order=["vercel"], models=["demo/chat"])

    assert names(routes, "gpt-4o") == before


@pytest.mark.parametrize("key", ["only", "order", "models"])
@pytest.mark.parametrize("wrong", ["openai", 5, {}, [5], [None], [["a"]]])
async def test_options_of_a_wrong_type(build: Build, key: str, wrong: Any):
    with pytest.raises(StreamwardError) as caught:
        names(build(KEYS), "gpt-4o", **{key: wrong})

    assert (caught.value.info.status, caught.value.info.param) == (400, f"providerOptions.gateway.{key}")
