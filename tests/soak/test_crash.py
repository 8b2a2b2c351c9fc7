"""The crash test in its short form; `make soak SECONDS=600` is the long one."""

from pathlib import Path

import pytest

from soak.crash import Plan, crash


@pytest.mark.slow
@pytest.mark.parametrize("store", ["redis", "sqlite"])
async def test_no_token_is_lost_or_repeated_whatever_is_cut_or_killed(tmp_path: Path, store: str):
    """Hundreds of streams in three dialects: each has all its frames once and one true ending, at every worker."""
    plan = Plan(store=store, seconds=10.0, clients=48, workers=3, seed=20, harm_every_s=2.2)

    report = await crash(plan, tmp_path)

    assert report.problems == [], "\n".join(report.lines())
    assert report.streams > 100
    assert min(report.dialects[name] for name in ("chat", "messages", "responses")) > 20
    assert report.moves > report.streams
    assert report.harms["kill -9"] >= 1
    assert (report.harms["redis kill -9"] >= 1) == (store == "redis")
    assert report.endings["finished"] > report.streams // 3
    assert report.endings["stream_interrupted"] > 0, "nothing was running in the worker that was killed"
