"""Buffering, seen in arrival times."""

import pytest

from streamward.wire.lint.timing import check_timing, measure

STEADY = [0.2 + 0.04 * n for n in range(40)]
HELD_BACK = [1.8] * 40
BURSTS = [0.2 + 0.4 * (n // 10) + 0.0001 * n for n in range(40)]
FAST = [0.05 + 0.0005 * n for n in range(40)]


@pytest.mark.parametrize(
    ("arrivals", "pace_s", "rules"),
    [
        (STEADY, 0.04, []),
        (STEADY, 0.0, []),
        (FAST, 0.0, []),
        (HELD_BACK, 0.04, ["timing-keeps-pace"]),
        (HELD_BACK, 0.0, ["timing-not-held-back"]),
        (BURSTS, 0.0, ["timing-no-bursts"]),
        (HELD_BACK[:5], 0.04, []),
        ([], 0.04, []),
    ],
    ids=["steady", "unknown pace", "fast model", "held back", "held back, pace unknown", "bursts", "too few", "none"],
)
def test_what_is_reported(arrivals: list[float], pace_s: float, rules: list[str]):
    assert [finding.rule for finding in check_timing(arrivals, pace_s=pace_s)] == rules


def test_measure():
    timing = measure(BURSTS)

    assert timing is not None
    assert (timing.frames, timing.pieces, timing.largest) == (40, 4, 10)
    assert timing.median_gap_s == pytest.approx(0.4, abs=0.01)
