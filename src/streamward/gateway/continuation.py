"""Going on after a break: the next target is asked for the rest of an answer the caller has begun to read.

Opt-in (``continue_midstream`` of a model, or the header ``x-streamward-continue: 1``). What is shown and what is left
out is decided in ``streamward.wire.splice``; here the next targets are tried, and the call keeps its one record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamward.dataplane.client import AnswerHead
from streamward.errors import ErrorInfo
from streamward.gateway.prices import Prices, cost_usd
from streamward.gateway.records import Record
from streamward.upstream.attempts import Attempts, Target
from streamward.wire import json_text
from streamward.wire.splice import Splice
from streamward.wire.table import decoded
from streamward.wire.table import dialect as dialect_module

if TYPE_CHECKING:
    from streamward.gateway.exchange import CallExchange

HEADER = b"x-streamward-continue"


def spliced(call: CallExchange, target: Target) -> Splice:
    """The relay of a call that may go on at another target; it decodes, also between equal dialects."""
    asked = call.parsed()
    limit = call.gateway.config.limits.max_event_bytes
    stage = decoded(target.upstream.dialect, target.profile, max_event_bytes=limit)
    return Splice(stage, call.module.Encoder(call.context()), asked)


def goes_on(call: CallExchange, splice: Splice, out: bytes) -> bool:
    """After a break: ask the next target. False when there is nobody left to ask, and the break has to be told."""
    old = call.attempts
    if splice.broken is None or splice.error is not splice.broken or old is None or call.detached:
        return False
    if old.position + 1 >= len(old.targets):
        return False
    call.gateway.failed_try(old.target, splice.broken)
    old.cancel()
    if out:
        call.record.bytes_out += len(out)
        call.sink.write(out)
    leg = NextLeg(call, splice)
    attempts = Attempts(old.targets, leg.render, leg, stream=True, on_failure=call.gateway.failed_try)
    attempts.position = old.position + 1
    attempts.tries = old.tries
    attempts.paused = old.paused
    splice.wait()
    call.attempts = leg.attempts = attempts
    call.record.legs = call.record.legs or (old.target.name,)
    attempts.start()
    return True


class NextLeg:
    """The outcome of the tries of one leg after the first."""

    attempts: Attempts

    def __init__(self, call: CallExchange, splice: Splice) -> None:
        self.call = call
        self.splice = splice
        assert splice.broken is not None
        self.broke_with = splice.broken

    def render(self, target: Target) -> bytes:
        module = dialect_module(target.upstream.dialect)
        body = module.render_request(self.splice.continued(), model=target.model, profile=target.profile)
        return json_text.encode_compact(body)

    def answering(self, target: Target, head: AnswerHead) -> None:
        limit = self.call.gateway.config.limits.max_event_bytes
        stage = decoded(target.upstream.dialect, target.profile, max_event_bytes=limit)
        self.splice.join(stage, b": streamward-seam target=%b\n\n" % safe(target.name))

    def data_received(self, data: bytes) -> None:
        self.take(self.splice.feed(data))

    def ended(self) -> None:
        if not self.call.over:
            self.take(self.splice.close())

    def broke(self, error: ErrorInfo) -> None:
        if not self.call.over:
            self.take(self.splice.fail(error))

    def gave_up(self, error: ErrorInfo) -> None:
        """No target goes on: the caller hears of the break it does not know of yet."""
        self.call.end_stream(self.splice.give_out(self.broke_with))

    def take(self, out: bytes) -> None:
        call, splice = self.call, self.splice
        if not splice.leg_shown:
            if splice.error is not None:
                error = splice.error
                splice.wait()
                self.attempts.reject(error)
            return
        if not self.attempts.committed:
            self.attempts.commit()
            call.record.target = self.attempts.target.name
            call.record.legs = (*call.record.legs, call.record.target)
        call.moved = True
        if splice.ended:
            call.end_stream(out)
        elif out and not call.detached:
            call.record.bytes_out += len(out)
            call.sink.write(out)


def cost_of_legs(record: Record, splice: Splice, prices: Prices) -> float | None:
    """The cost of an answer in several parts: each at its own target's price, the last with what is left of the sums.

    None when one of the prices is not known: a part of the cost is not the cost.
    """
    given, made, cached = record.input_tokens or 0, record.output_tokens or 0, record.cached_tokens or 0
    total = 0.0
    for target, leg in zip(record.legs, splice.legs, strict=False):
        price = prices.of(target)
        if price is None:
            return None
        used = leg.input_tokens or 0, leg.output_tokens or 0, leg.cached_input_tokens or 0
        total += cost_usd(price, *used)
        given, made, cached = given - used[0], made - used[1], cached - used[2]
    last = prices.of(record.target)
    return None if last is None else total + cost_usd(last, max(given, 0), max(made, 0), max(cached, 0))


def safe(name: str) -> bytes:
    """A target's name inside an SSE comment: one line, whatever its model is called."""
    return "".join(char if char.isprintable() else "?" for char in name).encode("utf-8", "replace")
