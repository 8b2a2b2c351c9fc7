"""A hedged start: when the first target takes long, ask the second too; whoever speaks first answers.

    first target  ──(hedge_after_s)──────────── content ── loses: cancelled
                        second target ── content ── wins: its bytes so far, then everything after, go to the outcome

Each lane is an :class:`~streamward.upstream.attempts.Attempts` of its own with its own retries. What it receives is
kept back and looked at until it holds content: the first *semantic* token wins, never a role, a comment or an error.
An answer that is not streamed wins when it is complete. To its owner a ``Hedge`` is used like ``Attempts``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from streamward.dataplane.client import AnswerHead
from streamward.errors import ErrorInfo
from streamward.events import TERMINAL, Error, Event, is_content
from streamward.upstream.attempts import GATEWAY_POLICY, MAX_REPLY_BYTES, Attempts, Outcome, RetryPolicy, Target
from streamward.upstream.health import Health
from streamward.wire.dialect import Decoded
from streamward.wire.table import decoded

HEDGE_AFTER_S = 1.0
"""While too few times to first token are known to tell when one is late."""

HEDGE_MIN_S = 0.05
LATE = 0.95  # percentile of the first target's recent times after which it counts as late


def hedge_delay_s(target: Target, health: Health, configured_s: float) -> float:
    """How long the first target may be silent before the second is asked."""
    if configured_s > 0:
        return configured_s
    found = health.targets.get(target.name)
    late = found.percentile_s(LATE) if found is not None else None
    return HEDGE_AFTER_S if late is None else max(late, HEDGE_MIN_S)


class Hedge:
    """The tries of one call at two targets at once. At least two *targets*; those after the second are fallbacks."""

    def __init__(
        self, targets: Sequence[Target], render: Callable[[Target], bytes], outcome: Outcome, *, stream: bool,
        after_s: float, health: Health, on_failure: Callable[[Target, ErrorInfo], None] | None = None,
        policy: RetryPolicy = GATEWAY_POLICY,
    ) -> None:  # fmt: skip
        self.outcome = outcome
        self.after_s = after_s
        self.health = health
        self.hedge_timer: asyncio.TimerHandle | None = None
        self.lanes = [
            Lane(self, part, render, stream=stream, on_failure=on_failure, policy=policy)
            for part in (targets[:1], targets[1:])
        ]
        self.winner: Lane | None = None
        self.paused = False
        self.over = False

    # -- as Attempts

    @property
    def leading(self) -> Attempts:
        """The attempts of the winner; of the first lane still running before there is one."""
        running = (lane for lane in self.lanes if lane.started and not lane.lost)
        return (self.winner or next(running, self.lanes[-1])).attempts

    @property
    def target(self) -> Target:
        return self.leading.target

    @property
    def targets(self) -> list[Target]:
        return [target for lane in self.lanes for target in lane.attempts.targets]

    @property
    def tries(self) -> int:
        return sum(lane.attempts.tries for lane in self.lanes)

    @property
    def position(self) -> int:
        """How many targets stand before the one that answers."""
        attempts = self.leading
        return attempts.position + (0 if attempts is self.lanes[0].attempts else 1)

    @property
    def timer(self) -> asyncio.TimerHandle | None:
        return self.leading.timer

    @property
    def ttft_s(self) -> float:
        return self.leading.ttft_s

    def start(self) -> None:
        self.hedge_timer = asyncio.get_running_loop().call_later(self.after_s, self.start_second)
        self.lanes[0].start()

    def start_second(self) -> None:
        if self.hedge_timer is not None:
            self.hedge_timer.cancel()
            self.hedge_timer = None
        if not self.over and self.winner is None and not self.lanes[1].started:
            self.lanes[1].start()

    def commit(self) -> None:
        self.leading.commit()

    def reject(self, error: ErrorInfo) -> None:
        self.leading.reject(error)

    def finish(self) -> None:
        self.over = True
        self.leading.finish()

    def cancel(self) -> None:
        self.over = True
        if self.hedge_timer is not None:
            self.hedge_timer.cancel()
            self.hedge_timer = None
        for lane in self.lanes:
            lane.attempts.cancel()

    def pause(self) -> None:
        self.paused = True
        if self.winner is not None:
            self.winner.attempts.pause()

    def resume(self) -> None:
        self.paused = False
        if self.winner is not None:
            self.winner.attempts.resume()

    # -- from the lanes

    def won(self, lane: Lane) -> None:
        """*lane* holds content: it answers. The others are cancelled before anything else is done."""
        self.winner = lane
        if self.hedge_timer is not None:
            self.hedge_timer.cancel()
            self.hedge_timer = None
        for other in self.lanes:
            if other is not lane:
                self.note_late(other)
                other.attempts.cancel()
        if self.paused:
            lane.attempts.pause()

    def note_late(self, lane: Lane) -> None:
        """A first target that was overtaken took at least so long: left out, late answers would never count."""
        if lane is self.lanes[0] and lane.attempts.handle is not None:
            now = time.monotonic()
            self.health.of(lane.attempts.target.name).timed(now, now - lane.attempts.tried_at)

    def gave_up(self, lane: Lane, error: ErrorInfo) -> None:
        if lane is self.lanes[0] and not self.lanes[1].started:
            self.start_second()
        elif all(other.lost or not other.started for other in self.lanes):
            self.over = True
            self.outcome.gave_up(error)


class Lane:
    """One of the two: keeps what it receives until it wins, then passes everything on."""

    def __init__(
        self, hedge: Hedge, targets: Sequence[Target], render: Callable[[Target], bytes], *, stream: bool,
        on_failure: Callable[[Target, ErrorInfo], None] | None, policy: RetryPolicy,
    ) -> None:  # fmt: skip
        self.hedge = hedge
        self.attempts = Attempts(targets, render, self, stream=stream, on_failure=on_failure, policy=policy)
        self.stream = stream
        self.started = False
        self.lost = False
        self.answer: tuple[Target, AnswerHead] | None = None
        self.held: list[bytes] = []
        self.held_bytes = 0
        self.decoder: Decoded | None = None

    def start(self) -> None:
        self.started = True
        self.attempts.start()

    @property
    def leads(self) -> bool:
        return self.hedge.winner is self

    def answering(self, target: Target, head: AnswerHead) -> None:
        if self.leads:
            self.hedge.outcome.answering(target, head)
            return
        self.answer = (target, head)
        self.held = []
        self.held_bytes = 0
        self.decoder = decoded(target.upstream.dialect, target.profile) if self.stream else None

    def data_received(self, data: bytes) -> None:
        if self.leads:
            self.hedge.outcome.data_received(data)
            return
        self.held.append(data)
        self.held_bytes += len(data)
        if self.decoder is not None:
            self.look(self.decoder.feed(data))
        elif self.held_bytes > MAX_REPLY_BYTES:
            self.attempts.reject(ErrorInfo("content_too_large", "the provider's answer is too large", 502))

    def look(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Error):
                self.attempts.reject(event.error)
                return
            if is_content(event) or isinstance(event, TERMINAL):
                self.win()
                return

    def win(self) -> None:
        """Answer with what was kept; everything after it goes straight on."""
        self.hedge.won(self)
        self.decoder = None
        assert self.answer is not None
        target, head = self.answer
        held, self.held = self.held, []
        self.hedge.outcome.answering(target, head)
        self.hedge.outcome.data_received(b"".join(held))

    def ended(self) -> None:
        if not self.leads:
            if self.decoder is not None:
                self.look(self.decoder.close())
                if not self.leads:
                    return  # it said nothing: rejected, or another try runs
            else:
                self.win()
        if not self.hedge.over:
            self.hedge.outcome.ended()

    def broke(self, error: ErrorInfo) -> None:
        self.hedge.outcome.broke(error)

    def gave_up(self, error: ErrorInfo) -> None:
        self.lost = True
        if self.leads:
            self.hedge.over = True
            self.hedge.outcome.gave_up(error)
        else:
            self.hedge.gave_up(self, error)
