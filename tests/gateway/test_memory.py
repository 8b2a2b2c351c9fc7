"""The bound on memory: where it comes from, and what clients and load balancers see beyond it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from streamward.gateway.memory import NO_LIMIT, allowed_bytes, resident_bytes
from support.gateway_server import config_text, gateway_server, until
from support.raw_http import ask, chat_request, connected, request

GIB = 1 << 30


def cgroup(folder: Path, *contents: str | None) -> tuple[Path, ...]:
    """Files of the cgroup versions, those that are there."""
    paths = tuple(folder / str(i) for i in range(len(contents)))
    for path, text in zip(paths, contents, strict=True):
        if text is not None:
            path.write_text(text)
    return paths


@pytest.mark.parametrize(
    ("stated", "workers", "files", "allowed"),
    [
        (5 * GIB, 4, (f"{GIB}\n",), 5 * GIB),
        (0, 1, (f"{10 * GIB}\n",), 9 * GIB),
        (0, 3, (f"{10 * GIB}\n",), 3 * GIB),
        (0, 1, ("max\n",), 0),
        (0, 1, ("max\n", f"{10 * GIB}\n"), 9 * GIB),
        (0, 1, (None, f"{NO_LIMIT * 7}\n"), 0),
        (0, 1, (None, None), 0),
        (0, 1, ("",), 0),
    ],
)
def test_what_a_process_may_have(tmp_path: Path, stated: int, workers: int, files: tuple[str | None, ...], allowed: int):
    assert allowed_bytes(stated, workers, cgroup(tmp_path, *files)) == allowed


def test_what_a_process_has(tmp_path: Path):
    assert 10 << 20 < resident_bytes() < 10 * GIB
    assert resident_bytes(tmp_path / "not there") == 0


async def test_beyond_it_new_calls_are_refused_and_running_ones_go_on(caplog: pytest.LogCaptureFixture):
    async with gateway_server(config_text()) as served, connected(served.port) as running:
        gateway = served.gateway

        def bound(max_bytes: int) -> None:
            limits = msgspec.structs.replace(gateway.config.limits, max_memory_bytes=max_bytes)
            gateway.config = msgspec.structs.replace(gateway.config, limits=limits)
            gateway.measure_memory()

        await running.send(chat_request("demo/lorem?tps=0&ttft_ms=300&tokens=20"))
        await until(lambda: gateway.active)
        bound(1 << 20)
        refused = await ask(served.port, chat_request("demo/echo?tps=0&ttft_ms=0"))
        ready = await ask(served.port, request("GET", "/readyz"))
        live = await ask(served.port, request("GET", "/healthz"))
        finished = await running.answer()
        bound(100 * GIB)
        served_again = await ask(served.port, chat_request("demo/echo?tps=0&ttft_ms=0"))

    assert (refused.status, refused.error["code"], refused.get("retry-after")) == (503, "overloaded", "1")
    assert (ready.status, ready.json()["reason"], live.status) == (503, "saturated", 200)
    assert (finished.status, finished.finish_reason, served_again.status) == (200, "stop", 200)
    assert "memory_full" in caplog.text
