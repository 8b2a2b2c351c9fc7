"""``GET /v1/models``: who is listed, in which order, with what is known of them; near names; cost from the same file."""

import pytest

from streamward.gateway.config import parse
from streamward.gateway.model_list import per_token, pricing
from streamward.gateway.prices import Price
from support.gateway_server import config_text, gateway_server
from support.raw_http import ask, chat_request, request
from support.scripted_upstream import HELLO, scripted_upstream, stream

KEYS = {"ANTHROPIC_API_KEY": "sk-1", "OPENAI_API_KEY": "sk-2"}
NAMED = {"models__house": 'targets = ["anthropic/claude-sonnet-4-5", "demo/chat"]', "models__mine": 'targets = ["mock/m"]'}


async def listed(served) -> list[dict]:
    answer = await ask(served.port, request("GET", "/v1/models"))
    assert answer.status == 200
    return answer.json()["data"]


async def test_openais_four_fields_and_everybody_elses():
    async with gateway_server(config_text(**NAMED), environ=KEYS) as served:
        entries = {entry["id"]: entry for entry in await listed(served)}

    for entry in entries.values():
        assert (entry["object"], type(entry["created"])) == ("model", int)
        assert entry["owned_by"]
    found = entries["openai/gpt-4o-mini"]
    assert found["pricing"] == {
        "prompt": "0.00000015", "completion": "0.0000006", "input": "0.00000015", "output": "0.0000006",
        "input_cache_read": "0.000000075",
    }  # fmt: skip
    assert (found["context_length"], found["context_window"], found["max_tokens"]) == (128000, 128000, 16384)
    assert found["top_provider"] == {"context_length": 128000, "max_completion_tokens": 16384}
    assert found["architecture"]["input_modalities"] == ["text", "image"]
    assert {"tools", "response_format"} <= set(found["supported_parameters"])
    assert "vision" in found["tags"]
    assert found["pricing_as_of"].startswith("20")
    assert entries["openai/text-embedding-3-small"]["type"] == "embedding"
    assert entries["house"]["name"] == entries["anthropic/claude-sonnet-4-5"]["name"]
    assert set(entries["mine"]) == {"id", "object", "created", "owned_by"}  # nothing is known: nothing is said


async def test_configured_names_first_and_demos_last():
    async with gateway_server(config_text(**NAMED), environ=KEYS) as served:
        names = [entry["id"] for entry in await listed(served)]

    assert names[:2] == ["house", "mine"]
    assert names[-1].startswith("demo/")
    assert not any(name.startswith("demo/") for name in names[: names.index("openai/gpt-4o")])
    assert len(names) == len(set(names))


async def test_only_providers_with_a_key_are_listed():
    async with gateway_server(config_text(), environ={"ANTHROPIC_API_KEY": "sk-1"}) as served:
        owners = {entry["owned_by"] for entry in await listed(served)}

    assert owners == {"anthropic", "demo"}


async def test_a_providers_own_list_goes_before_the_catalogues():
    text = config_text(providers__openai='models = ["gpt-4o", "my-fine-tune"]')
    async with gateway_server(text, environ=KEYS) as served:
        names = [entry["id"] for entry in await listed(served) if entry["owned_by"] == "openai"]

    assert names == ["openai/gpt-4o", "openai/my-fine-tune"]


async def test_one_model_by_its_id():
    """Ids hold slashes; bare names are known by their creator."""
    async with gateway_server(config_text(), environ=KEYS) as served:
        full = (await ask(served.port, request("GET", "/v1/models/openai/gpt-4o"))).json()
        bare = (await ask(served.port, request("GET", "/v1/models/gpt-4o"))).json()
        dated = (await ask(served.port, request("GET", "/v1/models/anthropic/claude-sonnet-4-5-20250929"))).json()

    assert full["id"] == "openai/gpt-4o"
    assert (bare["id"], bare["pricing"]) == ("gpt-4o", full["pricing"])
    assert dated["context_length"] == 200000


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("opnai/gpt-4o-mini", "openai/gpt-4o-mini"), ("antropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("hose", "house"), ("demo/chatt", "demo/chat"), ("claud-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("OPENAI/GPT-4O", "openai/gpt-4o"),
    ],
)  # fmt: skip
async def test_near_names(asked: str, near: str):
    async with gateway_server(config_text(**NAMED), environ=KEYS) as served:
        answer = await ask(served.port, chat_request(asked))

    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert near in answer.error["message"]


async def test_cost_is_in_records_and_metrics():
    """By the file's price, and by the operator's own where there is one."""
    async with scripted_upstream(stream(*HELLO)) as upstream:
        text = config_text(
            providers__openai=f'base_url = "{upstream.base_url}"', prices='"openai/o3" = { input = 1000, output = 2000 }'
        )
        async with gateway_server(text, environ=KEYS) as served:
            await ask(served.port, chat_request("openai/gpt-4o"))
            await ask(served.port, chat_request("openai/o3"))
            await ask(served.port, chat_request("openai/unheard-of"))
            known, own, unknown = [await served.record(number) for number in range(3)]
            metrics = served.gateway.metrics.render().decode()
            priced = (await ask(served.port, request("GET", "/v1/models/openai/o3"))).json()["pricing"]

    assert known["cost_usd"] == pytest.approx((7 * 2.5 + 2 * 10) / 1e6)
    assert own["cost_usd"] == pytest.approx((7 * 1000 + 2 * 2000) / 1e6)
    assert "cost_usd" not in unknown
    assert 'streamward_cost_usd_total{target="openai/gpt-4o"}' in metrics
    assert priced["prompt"] == "0.001"


@pytest.mark.parametrize(
    ("price", "text"), [(2.5, "0.0000025"), (0.0, "0"), (0.075, "0.000000075"), (1e6, "1"), (15, "0.000015")]
)
def test_prices_are_written_out(price: float, text: str):
    """No exponent, no trailing zeros."""
    assert per_token(price) == text
    assert pricing(Price(price, price)) == dict.fromkeys(("prompt", "completion", "input", "output"), text)


def test_a_price_table_is_read():
    config = parse('[prices]\n"a/b" = { input = 1, output = 2 }', "t.toml", {})

    assert config.prices == {"a/b": Price(1.0, 2.0)}
