"""The client's side of an invocation: head, body, ends, and the clocks that bound them.

What becomes of the bytes of a worker; how they come here is in ``invocation``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from streamward.dataplane.exchange import Request, Sink, render_fields
from streamward.functions import failures, link
from streamward.functions.headers import Inbound, event_boundary, is_event_stream, outbound
from streamward.functions.logs import RequestMark
from streamward.functions.pool import Lane
from streamward.functions.processes import WorkerProcess
from streamward.functions.router import Match

if TYPE_CHECKING:
    from streamward.functions.host import FunctionsHost

TOLD_S = 0.5  # how long code may go on after its time is up
CLEANUP_S = 5.0  # clean-up after the client has left
HEARTBEAT = b": keep-alive\n\n"
NEVER = float("inf")
OUTCOMES = {"FUNCTION_INVOCATION_TIMEOUT": "timeout", "FUNCTION_THROTTLED": "throttled"}


class ClientSide:
    """State of one request and everything that is written to its client."""

    def __init__(
        self, host: FunctionsHost, lane: Lane, match: Match, request: Request, sink: Sink, inbound: Inbound,
        request_id: str, call: str,
    ) -> None:  # fmt: skip
        self.host = host
        self.loop = host.loop
        self.lane = lane
        self.file = lane.file
        self.config = lane.route.config
        self.match = match
        self.request = request
        self.sink = sink
        self.inbound = inbound
        self.request_id = request_id
        self.call = call
        path = request.raw_path.decode("latin-1")
        self.mark = RequestMark(request_id, path, request.method, lane.file, inbound.trace_id)
        self.arrived_at = self.loop.time()
        self.arrived_ns = time.time_ns()
        self.worker: WorkerProcess | None = None
        self.served_by = "front"
        self.paused = False
        self.begun = False
        self.begun_at = 0.0
        self.ended = False  # for the client
        self.deadline = NEVER
        self.timer: asyncio.TimerHandle | None = None
        self.beat_at = 0.0
        # the response
        self.head: link.Head | None = None
        self.committed = False
        self.events = False
        self.tail = b"\n\n"
        self.sent_bytes = 0
        self.chunks = 0
        self.first_byte_at = 0.0
        self.active_at = 0.0
        self.status = 0
        self.outcome = ""
        self.code = ""

    def cancel_worker(self, reason: link.CancelReason, patience_s: float) -> None:
        """Tell the code to end; implemented by the link's side."""
        raise NotImplementedError

    def report(self) -> None:
        """The invocation is over on both sides; implemented by the link's side."""
        raise NotImplementedError

    # -- what the worker sent

    def head_frame(self, head: link.Head) -> None:
        self.head = head
        self.events = is_event_stream(head.headers)
        self.active_at = self.loop.time()
        if self.ended:
            return
        if self.request.method == "HEAD" and self.call == "GET":
            self.commit()
            if not self.ended:
                self.sink.finish()
                self.end_for_client("ok", head.status)
                self.cancel_worker("disconnect", CLEANUP_S)
        elif self.events:
            self.arm()

    def commit(self) -> None:
        """Give status and headers to the client's side; sent with the first byte."""
        head = self.head
        if self.committed or self.ended or head is None:
            return
        streamed = head.length is None and head.status not in (204, 304)
        fields = outbound(head.headers, streamed=streamed)
        fields += self.host.response_fields(self.request_id, stale=self.lane.stale)
        try:
            if not 200 <= head.status <= 999:
                raise ValueError(f"status {head.status} cannot be sent")
            rendered = render_fields(fields)
        except ValueError as exc:
            self.host.book.add("error", str(exc), mark=self.mark, instance=self.instance)
            self.fail("FUNCTION_INVOCATION_FAILED", str(exc))
            return
        self.committed = True
        self.status = head.status
        self.sink.start(head.status, rendered, length=head.length)

    def body_frame(self, data: bytes, now: float, *, final: bool) -> None:
        if self.ended or not data:
            return
        if not self.committed:
            self.commit()
            if not self.committed:
                return
        if not self.chunks:
            self.first_byte_at = now
            self.host.metrics.observe("streamward_ttfb_seconds", self.file, now - self.arrived_at)
        self.active_at = now
        self.chunks += 1
        self.sent_bytes += len(data)
        if self.events:
            self.tail = (self.tail + data)[-4:] if len(data) < 4 else data[-4:]
        if final and self.whole():
            self.end_for_client("ok", self.status)
            self.sink.finish(data)
            return
        self.sink.write(data)
        if self.chunks == 1 and (self.config.idle_timeout or self.config.first_byte_timeout):
            self.arm()

    def whole(self) -> bool:
        assert self.head is not None
        return self.head.length is None or self.sent_bytes >= self.head.length or self.request.method == "HEAD"

    def end_frame(self) -> None:
        if self.ended:
            return
        self.commit()
        if not self.committed:
            return
        if self.whole() or self.status in (204, 304):
            self.end_for_client("ok", self.status)
            self.sink.finish()
        else:
            assert self.head is not None
            said = f"the function announced {self.head.length} bytes and sent {self.sent_bytes}"
            self.host.book.add("error", said, mark=self.mark, instance=self.instance)
            self.fail("FUNCTION_INVOCATION_FAILED", said)

    @property
    def instance(self) -> str:
        return self.worker.instance if self.worker is not None else "front"

    # -- ends

    def fail(self, code: str, detail: str, *, outcome: str = "") -> None:
        """End the response with an error of the host: a proper one before the first byte, else a cut."""
        if self.ended:
            return
        outcome = outcome or OUTCOMES.get(code, "error")
        cut = self.committed
        self.code = code
        self.host.metrics.count("streamward_errors", self.file, code)
        self.end_for_client(outcome, self.report_status(outcome, code))
        if not cut:
            self.host.refuse(self.request, self.sink, self.request_id, code, detail=detail)
        else:
            if self.events and event_boundary(self.tail):
                self.sink.write(failures.last_event(code, self.request_id))
            self.sink.abort()
        if self.worker is None:
            self.lane.leave(self)
            self.report()
        elif outcome == "timeout":
            self.cancel_worker("timeout", TOLD_S)
        else:
            self.cancel_worker("shutdown" if code == "SERVER_DRAINING" else "disconnect", CLEANUP_S)

    def report_status(self, outcome: str, code: str) -> int:
        fixed = {"timeout": 504, "cancelled": 499, "crashed": -1, "throttled": 503}.get(outcome)
        return fixed if fixed is not None else -1 if self.committed else failures.STATUS.get(code, 500)

    def end_for_client(self, outcome: str, status: int) -> None:
        """Nothing more goes to the client; the worker may still be at it."""
        self.ended = True
        self.outcome, self.status = outcome, status
        if not self.deadline < NEVER:
            self.cancel_timer()

    # -- clocks

    def set_timer(self, when: float) -> None:
        self.cancel_timer()
        self.timer = self.loop.call_at(when, self.on_time)

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def next_due(self) -> float:
        """When there is something to look at next."""
        due = self.deadline
        if self.ended:
            return due
        if not self.chunks:
            if self.config.first_byte_timeout:
                due = min(due, self.begun_at + self.config.first_byte_timeout)
        elif self.config.idle_timeout:
            due = min(due, self.active_at + self.config.idle_timeout)
        if self.events and self.config.sse_heartbeat:
            due = min(due, max(self.active_at, self.beat_at) + self.config.sse_heartbeat)
        return due

    def arm(self) -> None:
        self.set_timer(self.next_due())

    def on_time(self) -> None:
        self.timer = None
        now = self.loop.time()
        if self.worker is None:
            self.waited_too_long()
            return
        if now >= self.deadline or not self.begun:
            self.time_is_up()
            return
        if self.ended:
            self.set_timer(self.deadline)
            return
        config = self.config
        no_first = not self.chunks and config.first_byte_timeout and now >= self.begun_at + config.first_byte_timeout
        idle = self.chunks and config.idle_timeout and now >= self.active_at + config.idle_timeout
        if self.begun and (no_first or idle) and not self.paused:
            self.time_is_up()
            return
        if self.events and config.sse_heartbeat and now >= max(self.active_at, self.beat_at) + config.sse_heartbeat:
            self.heartbeat(now)
        self.set_timer(max(self.next_due(), now + 0.001))

    def heartbeat(self, now: float) -> None:
        self.beat_at = now
        if event_boundary(self.tail) and not self.paused:
            self.commit()
            if self.committed and not self.ended:
                self.sink.write(HEARTBEAT)

    def time_is_up(self) -> None:
        self.deadline = NEVER
        if not self.ended:
            self.fail("FUNCTION_INVOCATION_TIMEOUT", "", outcome="timeout")
        else:
            self.cancel_worker("timeout", TOLD_S)

    def waited_too_long(self) -> None:
        if not self.ended:
            self.lane.leave(self)
            self.fail("FUNCTION_THROTTLED", "")
