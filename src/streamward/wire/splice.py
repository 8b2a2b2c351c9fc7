"""One answer from several targets: when a stream breaks off, the next target goes on where it stopped.

    first target:  The quick brown f|        (breaks off)
    next target:          brown fox jumps    (asked with the partial answer)
    the caller:    The quick brown f|ox jumps     "brown f" was said already and is left out

``Splice`` is a relay (see ``streamward.wire.relay``): it decodes every leg and encodes one stream. A break is held back
instead of told; whoever drives the relay asks ``can_continue``, builds the next call with ``continued`` and either
joins the next leg or gives the break out. Pure: who the next target is, is not known here.

It goes on in text only. Inside tool arguments, or after a tool call, two models' JSON would be mixed: refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from streamward.call import Call, Message, Text
from streamward.errors import ErrorInfo
from streamward.events import (
    PART_DELTA,
    PART_END,
    PART_END_OF,
    PART_START,
    Error,
    Event,
    EventBase,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    Usage,
    UsageUpdate,
)
from streamward.wire.dialect import Decoded, Encode
from streamward.wire.overlap import Overlap
from streamward.wire.relay import Transcode

MAX_CONTINUATIONS = 2
"""Legs beyond the first: an answer that breaks three times has another problem than its provider."""

MAX_PARTIAL_CHARS = 200_000
"""A longer partial answer is not sent along again: its input would cost more than a new call."""

CONTINUABLE = frozenset(
    {"upstream_reset", "upstream_timeout", "upstream_error", "upstream_invalid", "stream_truncated", "overloaded"}
)
"""Ways to break off that another target may not share."""

INSTRUCTION = (
    "Your previous answer was cut off by a technical failure. Continue it exactly where it stops, in the same language, "
    "style and format. Do not repeat any of it, do not comment on the interruption, do not start anew: the first "
    "character you write is appended to its last."
)


class Splice(Transcode):
    """The legs of one stream.

    A break that another target may mend ends the relay as any failure does (``ended``, ``error``), with ``broken`` set
    and nothing said to the caller. ``wait`` takes it back into life, ``join`` reads on from another target, ``give_out``
    tells the break after all.
    """

    def __init__(self, decoded: Decoded, encoder: Encode, call: Call) -> None:
        super().__init__(decoded, encoder)
        self.call = call
        self.broken: ErrorInfo | None = None
        self.leg = 1
        self.leg_shown = True
        """The caller was shown something of this leg; of the first one that is its relay's business."""
        self.estimated = False
        """Usage holds a leg whose provider did not state it."""
        self.spent: Usage | None = None  # of the legs before this one
        self.legs: list[Usage] = []
        """Usage of each of them."""
        self.leg_usage: Usage | None = None
        self.leg_began = 0  # value of ``events`` then
        self.text: list[str] = []
        self.chars = 0
        self.open: dict[str, type[EventBase]] = {}  # parts the caller has open, by their ids
        self.ids: dict[str, str] = {}  # of this leg's parts, to those the caller knows
        self.mixed = False  # something was shown that no other target can go on from
        self.overlap = Overlap("")
        self.seam = b""

    def feed(self, data: bytes) -> bytes:
        return self.take(self.decoded.feed(data))

    def close(self) -> bytes:
        return self.take(self.decoded.close())

    def fail(self, error: ErrorInfo) -> bytes:
        if self.broken is not None:
            return self.give_out(error)
        return self.take(self.decoded.fail(error))

    def take(self, events: list[Event]) -> bytes:
        if self.ended or self.broken is not None:
            return b""
        last = events[-1] if events else None
        if not isinstance(last, Error):
            return self.shown(events)
        body = events[:-1]
        while body and isinstance(body[-1], PART_END):  # closed by the decoder because it broke: they may go on
            body = body[:-1]
        out = self.shown(body)
        if self.is_over():
            return out
        if not self.leg_shown or (self.content and last.error.code in CONTINUABLE and self.can_continue()):
            self.broken = self.error = last.error
            self.ended = True
            return out
        self.leg_usage = last.usage or self.leg_usage
        return out + self.encode([*self.ends(), Error(last.error, self.total())])

    def shown(self, events: list[Event]) -> bytes:
        """The bytes for *events*, behind the seam where they are the first of a leg."""
        passed: list[Event] = []
        for event in events:
            passed.extend(self.pass_on(event))
            if passed and isinstance(passed[-1], Error):
                break
        if self.leg_shown or not passed:
            return self.encode(passed)
        self.leg_shown = True
        return self.seam + self.encode(passed)

    def is_over(self) -> bool:
        return self.ended

    # -- breaks

    def can_continue(self) -> bool:
        """Whether another target could go on from what was shown."""
        call = self.call
        plain = call.choices == 1 and not call.logprobs and (call.output is None or call.output.kind == "text")
        return plain and not self.mixed and self.leg <= MAX_CONTINUATIONS and self.chars <= MAX_PARTIAL_CHARS

    def wait(self) -> None:
        """Stay open for another target."""
        self.ended = False
        self.error = None
        if self.leg_shown:  # not so for one more try at the same leg
            self.legs.append(self.of_leg(broken=True))
            self.spent = self.legs[-1] if self.spent is None else added(self.spent, self.legs[-1])
            self.estimated = True
            self.leg_began = self.events
            self.leg_usage = None
            self.leg += 1
            self.leg_shown = False

    def continued(self) -> Call:
        """The call for the next target: what was asked, what was answered so far, and to go on from there."""
        call, text = self.call, "".join(self.text)
        if call.max_output_tokens is not None:
            call = replace(call, max_output_tokens=max(call.max_output_tokens - self.events, 1))
        if not text:
            return call
        partial = (Message("assistant", (Text(text),)), Message("user", (Text(INSTRUCTION),)))
        return replace(call, messages=(*call.messages, *partial))

    def join(self, decoded: Decoded, seam: bytes) -> None:
        """Another target answers; *decoded* reads it. *seam* goes out before the first of it that is shown."""
        self.decoded = decoded
        self.seam = seam
        self.broken = None
        self.ended = False
        self.error = None
        self.ids = {}
        self.overlap = Overlap("".join(self.text))

    def give_out(self, error: ErrorInfo) -> bytes:
        """Tell the caller that the stream broke."""
        self.broken = None
        self.ended = False
        return self.encode([*self.ends(), Error(error, self.total())])

    # -- events

    def pass_on(self, event: Event) -> list[Event]:
        """*event* as it stands in the one stream."""
        if isinstance(event, UsageUpdate):
            self.leg_usage = event.usage
            return [event] if self.leg == 1 else []  # later, the sum is told at the end
        if self.leg == 1:
            return [self.keep(event)] if not isinstance(event, Finish) else [event]
        handler = LATER.get(type(event))
        if handler is not None:
            return handler(self, event)
        if isinstance(event, Finish):
            self.leg_usage = event.usage or self.leg_usage
            return [*self.rest(), *self.ends(), replace(event, usage=self.total())]
        begins = isinstance(event, PART_START) or not isinstance(event, (*PART_DELTA, *PART_END))
        return [*self.rest(), *(self.ends() if begins else ()), self.keep(event)]

    def keep(self, event: Event) -> Event:
        """Remember what the caller is shown."""
        if isinstance(event, TextDelta):
            self.text.append(event.delta)
            self.chars += len(event.delta)
        elif isinstance(event, PART_START):
            self.open[event.id] = type(event)
        elif isinstance(event, PART_END):
            self.open.pop(event.id, None)
        if not isinstance(event, HARMLESS):
            self.mixed = True
        return event

    def nothing(self, event: Event) -> list[Event]:
        """The one stream has begun long ago."""
        return []

    def part_start(self, event: TextStart | ReasoningStart) -> list[Event]:
        if isinstance(event, ReasoningStart) and self.chars:
            return []  # it thinks again about what is being answered already
        if isinstance(event, TextStart):
            going_on = next((part for part, kind in self.open.items() if kind is TextStart), None)
            if going_on is not None:
                self.ids[event.id] = going_on
                return []
        self.ids[event.id] = fresh = f"{event.id}-leg{self.leg}"  # another leg may have used the same id
        return [*self.ends(), self.keep(replace(event, id=fresh))]

    def part_delta(self, event: TextDelta | ReasoningDelta) -> list[Event]:
        part = self.ids.get(event.id)
        if part is None or part not in self.open:
            return []
        delta = self.overlap.feed(event.delta) if isinstance(event, TextDelta) else event.delta
        if self.overlap.restarted:
            return [*self.ends(), Error(ANSWERED_ANEW, self.total())]
        return [self.keep(replace(event, id=part, delta=delta))] if delta else []

    def part_end(self, event: TextEnd | ReasoningEnd) -> list[Event]:
        part = self.ids.pop(event.id, None)
        if part is None or part not in self.open:
            return []
        held = self.rest(part) if isinstance(event, TextEnd) else []
        return [*held, self.keep(replace(event, id=part))]

    def rest(self, part: str | None = None) -> list[Event]:
        """Text that was held back to see whether it says again what was said."""
        held = self.overlap.close()
        part = part or next((part for part, kind in self.open.items() if kind is TextStart), None)
        return [self.keep(TextDelta(part, held))] if held and part is not None else []

    def ends(self) -> list[Event]:
        """Close what the caller has open."""
        out: list[Event] = [PART_END_OF[kind](part) for part, kind in self.open.items()]
        self.open.clear()
        return out

    # -- usage

    def of_leg(self, *, broken: bool = False) -> Usage:
        """One that broke before its provider said what it used counts its deltas as output."""
        stated = self.leg_usage or Usage()
        if not broken:
            return stated
        deltas = self.events - self.leg_began
        return replace(stated, output_tokens=max(stated.output_tokens or 0, deltas), stated_total=None)

    def total(self) -> Usage | None:
        """Of all legs."""
        if self.spent is None or self.leg_usage is None:
            return self.leg_usage or self.spent
        return added(self.spent, self.leg_usage)


def added(first: Usage, second: Usage) -> Usage:
    def both(one: int | None, other: int | None) -> int | None:
        return None if one is None and other is None else (one or 0) + (other or 0)

    return Usage(
        input_tokens=both(first.input_tokens, second.input_tokens),
        output_tokens=both(first.output_tokens, second.output_tokens),
        cached_input_tokens=both(first.cached_input_tokens, second.cached_input_tokens),
        cache_write_tokens=both(first.cache_write_tokens, second.cache_write_tokens),
        reasoning_tokens=both(first.reasoning_tokens, second.reasoning_tokens),
    )


LATER: dict[type[EventBase], Callable[[Splice, Any], list[Event]]] = {
    Start: Splice.nothing, TextStart: Splice.part_start, ReasoningStart: Splice.part_start,
    TextDelta: Splice.part_delta, ReasoningDelta: Splice.part_delta,
    TextEnd: Splice.part_end, ReasoningEnd: Splice.part_end,
}  # fmt: skip
"""Events of legs after the first that are not passed on as they are."""

ANSWERED_ANEW = ErrorInfo(
    "stream_truncated", "the provider's stream broke off, and the next one answered anew instead of going on", 502
)

HARMLESS = (Start, TextStart, TextDelta, TextEnd, ReasoningStart, ReasoningDelta, ReasoningEnd, UsageUpdate)
"""After these another target can go on; after a tool call, a refusal, a file or a citation it cannot."""
