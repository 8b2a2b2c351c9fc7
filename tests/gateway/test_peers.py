"""The figures of several workers as one: sums, what ended workers leave, what a scrape sees while one is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from streamward.gateway import peers
from streamward.gateway.peers import ENDED, Family, Peers, figures, fold


def families(requests: float, active: float, lag: float) -> list[Metric]:
    counter = CounterMetricFamily("streamward_requests", "Requests.", labels=("route", "status"))
    counter.add_metric(("/v1/models", "200"), requests)
    histogram = HistogramMetricFamily("streamward_wait_seconds", "Waits.", labels=("route",))
    histogram.add_metric(("/v1/models",), [("0.1", requests - 1), ("+Inf", requests)], requests / 2)
    return [
        counter, histogram, GaugeMetricFamily("streamward_active", "Now.", value=active),
        GaugeMetricFamily("streamward_lag_seconds", "Now.", value=lag),
    ]  # fmt: skip


def shown(text: bytes) -> dict[str, float]:
    return {
        sample.name + "".join(f",{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def leave(folder: Path, name: str, *found: Metric) -> None:
    (folder / f"{name}.figures").write_bytes(figures(found))


@pytest.fixture
def dead() -> int:
    """The pid of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


async def test_a_scrape_adds_up_who_lives_and_who_has_ended(tmp_path: Path, dead: int):
    leave(tmp_path, str(dead), *families(10, 7, 9.0))
    one, two = Peers(tmp_path, lambda: families(2, 1, 0.1)), Peers(tmp_path, lambda: families(3, 1, 0.3))
    two.socket, two.file = tmp_path / "1.peer", tmp_path / "1.figures"  # as if of another process
    async with one, two:
        while not two.file.exists():  # noqa: ASYNC110 (written by a thread)
            await asyncio.sleep(0)
        totals = shown(await one.render())

    assert totals == {
        "streamward_requests_total,/v1/models,200": 15, "streamward_wait_seconds_bucket,0.1,/v1/models": 12,
        "streamward_wait_seconds_bucket,+Inf,/v1/models": 15, "streamward_wait_seconds_count,/v1/models": 15,
        "streamward_wait_seconds_sum,/v1/models": 7.5,
        "streamward_active": 2,  # the dead have none
        "streamward_lag_seconds": 0.3,  # no amount: the highest
    }  # fmt: skip


async def test_a_worker_that_hangs_is_counted_as_its_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers, "ANSWER_S", 0.01)
    leave(tmp_path, "1", *families(10, 7, 9.0))
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_unix_server(lambda _, writer: held.append(writer), tmp_path / "1.peer")
    async with Peers(tmp_path, lambda: families(2, 1, 0.1)) as one:
        totals = shown(await one.render())
    silent.close()
    for writer in held:
        writer.transport.abort()
    await asyncio.sleep(0)

    assert (totals["streamward_requests_total,/v1/models,200"], totals["streamward_active"]) == (12, 1)


async def test_an_orderly_end_leaves_the_last_figures(tmp_path: Path):
    count = [1]
    async with Peers(tmp_path, lambda: families(count[0], 0, 0)) as one:
        count[0] = 5
    left = {family.name: family for family in msgspec.json.decode(one.file.read_bytes(), type=list[Family])}

    assert left["streamward_requests"].samples[0][2] == 5
    assert not one.socket.exists()


def test_what_ended_workers_left_becomes_one_file(tmp_path: Path, dead: int):
    leave(tmp_path, ENDED.removesuffix(".figures"), *families(100, 0, 0))
    leave(tmp_path, str(dead), *families(10, 7, 9.0))
    leave(tmp_path, str(os.getpid()), *families(1, 7, 9.0))
    (tmp_path / f"{dead}.peer").touch()

    fold(tmp_path)
    fold(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{os.getpid()}.figures", ENDED, "fold.lock"]
    folded = {family.name: family for family in msgspec.json.decode((tmp_path / ENDED).read_bytes(), type=list[Family])}
    assert folded["streamward_requests"].samples[0][2] == 110
    assert "streamward_active" not in folded


@pytest.mark.parametrize("junk", [b"", b"{", b'[{"name":1}]'])
async def test_a_file_that_cannot_be_read_costs_only_itself(tmp_path: Path, dead: int, junk: bytes):
    (tmp_path / f"{dead}.figures").write_bytes(junk)
    async with Peers(tmp_path, lambda: families(2, 1, 0.1)) as one:
        assert shown(await one.render())["streamward_requests_total,/v1/models,200"] == 2
