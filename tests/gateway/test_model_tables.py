"""``[models]``: what is refused at start, and what the tables become."""

import pytest

from streamward.dataplane.pool import Pool
from streamward.gateway.config import ConfigError, parse
from streamward.gateway.plan import Routes
from streamward.upstream.strategies import Policy


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('targets = ["demo/chat"]\nweights = [1, 2]', "2 numbers for 1 targets"),
        ('targets = ["demo/chat", "demo/echo"]\nweights = [1, -1]', "from 0 on"),
        ('targets = ["demo/chat", "demo/echo"]\nweights = [0, 0]', "not all of them 0"),
        ('targets = ["demo/chat"]\nweights = [nan]', "from 0 on"),
        ('targets = ["demo/chat"]\nstrategy = "luck"', "strategy"),
        ('targets = ["demo/chat"]\nhedge_after_ms = -1', "hedge_after_ms"),
        ("targets = []", "targets"),
        ('targets = ["demo/chat"]\ncontinue_mid_stream = true', "continue_midstream"),
    ],
)
def test_wrong_tables_are_refused(table: str, said: str):
    with pytest.raises(ConfigError, match=said):
        parse(f"[models.m]\n{table}", "t.toml", {})


async def test_a_targets_weight_is_shared_by_those_who_serve_it():
    """``gpt-4o`` stands for three providers here: together they weigh 3."""
    text = '[models.m]\ntargets = ["gpt-4o", "demo/chat"]\nstrategy = "weighted"\nweights = [3, 1]'
    keys = {"OPENAI_API_KEY": "k", "OPENROUTER_API_KEY": "k", "AI_GATEWAY_API_KEY": "k"}
    routes = Routes(parse(text, "t.toml", {}), Pool(trust_env=False), keys)

    assert len(routes.targets("m")) == 4
    assert routes.policies["m"] == Policy(strategy="weighted", weights=(1.0, 1.0, 1.0, 1.0))


async def test_plain_tables_need_no_policy():
    """They cost nothing per call."""
    routes = Routes(parse('[models.m]\ntargets = ["demo/chat", "demo/echo"]', "t.toml", {}), Pool(trust_env=False), {})

    assert routes.policies == {}
