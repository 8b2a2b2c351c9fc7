"""Buffering on the way, from arrival times: frames that were sent apart and arrive together.

Nothing on the wire says when a frame was sent, so there are two ways to know. The demo model states its pace in its
name (``demo/chat?tps=20``): arrivals must keep it. For any other model a hop that collects shows as its pattern:
everything at the very end of a long wait, or bursts of many frames with silence between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from streamward.wire.lint.finding import Finding, Rule

RULES = (
    Rule("timing-not-held-back", "the answer is not held back until it is complete"),
    Rule("timing-no-bursts", "frames arrive one by one, not in bursts"),
    Rule("timing-keeps-pace", "frames arrive at the pace that the demo model sends them"),
)
MIN_FRAMES = 8
"""Fewer content frames say nothing about their spacing."""

LONG_WAIT_S = 1.0
HELD_BACK_SHARE = 0.02
"""All frames in the last fiftieth of a wait of a second or more: no model answers like that, a buffer does."""

TOGETHER_S = 0.002
"""Frames closer than this came in one piece."""

BURST_FRAMES = 4
BURST_GAP_S = 0.05
"""Pieces of four frames and more on average, with pauses that a reader sees."""

PACE_SHARE = 0.5
"""Arrivals spread over less than half the time that sending took were collected somewhere."""


class Timing(Struct, frozen=True):
    """What arrival times show."""

    first_s: float
    last_s: float
    frames: int
    pieces: int
    """Groups of frames that came together."""
    largest: int
    """Frames in the largest group."""
    median_gap_s: float
    """Between pieces."""


def measure(arrivals: Sequence[float]) -> Timing | None:
    """Figures for the arrival times of content frames; None when there are none."""
    if not arrivals:
        return None
    sizes, gaps = [1], []
    for before, now in pairwise(arrivals):
        if now - before <= TOGETHER_S:
            sizes[-1] += 1
        else:
            sizes.append(1)
            gaps.append(now - before)
    gaps.sort()
    return Timing(
        arrivals[0], arrivals[-1], len(arrivals), len(sizes), max(sizes), gaps[len(gaps) // 2] if gaps else 0.0
    )


def check_timing(arrivals: Sequence[float], *, pace_s: float = 0.0) -> list[Finding]:
    """*arrivals* of content frames in seconds since the request; *pace_s* between two frames as sent, if known."""
    timing = measure(arrivals)
    if timing is None or timing.frames < MIN_FRAMES:
        return []
    spread = timing.last_s - timing.first_s
    sent = pace_s * (timing.frames - 1)
    if sent and spread < sent * PACE_SHARE:
        return [
            Finding(
                "timing-keeps-pace",
                f"{timing.frames} frames were sent over {sent:.2f} s and arrived within {spread:.2f} s, "
                f"in {timing.pieces} pieces: something on the way buffers",
            )
        ]
    if timing.last_s >= LONG_WAIT_S and spread < timing.last_s * HELD_BACK_SHARE:
        return [
            Finding(
                "timing-not-held-back",
                f"all {timing.frames} frames arrived within {spread * 1000:.0f} ms, after {timing.first_s:.1f} s of waiting",
            )
        ]
    average = timing.frames / timing.pieces
    if timing.pieces > 1 and average >= BURST_FRAMES and timing.median_gap_s >= BURST_GAP_S:
        return [
            Finding(
                "timing-no-bursts",
                f"{timing.frames} frames arrived in {timing.pieces} pieces of about {average:.0f}, "
                f"{timing.median_gap_s * 1000:.0f} ms apart",
            )
        ]
    return []
