"""What ``streamward doctor`` says of the targets of a gateway that runs."""

from streamward.cli.doctor import health
from streamward.gateway.config import parse
from streamward.upstream.health import FAILURES_TO_OPEN
from support.gateway_server import config_text, gateway_server
from support.raw_http import ask, chat_request
from support.scripted_upstream import DONE, HELLO, ROLE, delta, document, scripted_upstream, stream

BUSY = document({"error": {"message": "busy"}}, 503)


def config_at(port: int):
    return parse(f"[server]\nport = {port}", "test.toml", {})


async def test_targets_of_a_running_gateway(monkeypatch):
    """A target that keeps failing is a problem; one that does well is told with its figures."""
    monkeypatch.delenv("STREAMWARD_ADMIN_TOKEN", raising=False)
    async with scripted_upstream(stream(*HELLO)) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        fresh = await health(config_at(served.port))
        await ask(served.port, chat_request("mock/well"))
        upstream.answers(BUSY)
        for _ in range(FAILURES_TO_OPEN):
            await ask(served.port, chat_request("mock/busy"))
        upstream.answers(stream(*HELLO), stream(ROLE, delta("x")), stream(ROLE, delta("x"), delta(finish="stop"), DONE))
        for _ in range(3):
            await ask(served.port, chat_request("mock/mixed"))
        found = {finding.what: finding for finding in await health(config_at(served.port))}

    assert [(finding.ok, "no calls yet" in finding.text) for finding in fresh] == [(None, True)]
    assert found["target mock/well"].ok is True
    assert "first token after" in found["target mock/well"].text
    assert found["target mock/busy"].ok is False
    assert "100% errors" in found["target mock/busy"].text
    assert "33% truncations" in found["target mock/mixed"].text


async def test_no_gateway_is_no_problem():
    findings = await health(config_at(1))

    assert [(finding.ok, "no gateway runs" in finding.text) for finding in findings] == [(None, True)]


async def test_figures_that_are_kept_from_us(monkeypatch):
    """The gateway has an admin token that is not ours."""
    monkeypatch.setattr("streamward.gateway.control.ADMIN_TOKEN", "THE_GATEWAYS_TOKEN")
    monkeypatch.setenv("THE_GATEWAYS_TOKEN", "secret")
    async with gateway_server(config_text()) as served:
        findings = await health(config_at(served.port))

    assert findings[0].ok is None
    assert "STREAMWARD_ADMIN_TOKEN" in findings[0].text
