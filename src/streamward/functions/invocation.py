"""One request on its way through the front: link in, client out, clocks running.

An exchange of the data plane, driven by callbacks only: no task, await or queue per request or chunk.

    waiting -> dispatched -> begun -> head known -> committed (bytes sent) -> ended (client) -> done (worker)
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from streamward.dataplane.exchange import Request, Sink, render_fields
from streamward.functions import failures, link
from streamward.functions.headers import Inbound, event_boundary, is_event_stream, outbound
from streamward.functions.logs import RequestMark
from streamward.functions.pool import MAX_ATTEMPTS, Lane
from streamward.functions.processes import WorkerProcess
from streamward.functions.router import Match, with_query

if TYPE_CHECKING:
    from streamward.functions.host import FunctionsHost

TOLD_S = 0.5  # how long code may go on after its time is up
ANSWER_S = 0.1  # how long a live event loop may take to answer a ping
CLEANUP_S = 5.0  # clean-up after the client has left
BODY_AHEAD = 256 << 10  # request body bytes held while the worker does not take them
HEARTBEAT = b": keep-alive\n\n"
NEVER = float("inf")
READS_PER_TURN = 4  # of one link, then the others get a turn


class Invocation:
    """One request of a function."""

    body_timeout_s = 0.0

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
        self.attempts = 0
        self.sock: socket.socket | None = None
        self.frames = link.FrameReader()
        self.reading = False
        self.paused = False
        # towards the worker
        self.outgoing: list[bytes] = []
        self.outgoing_bytes = 0
        self.body_bytes = 0
        self.has_body = request.content_length != 0
        self.accepts_body = self.has_body
        # the state of things
        self.dispatched_at = 0.0
        self.begun = False
        self.begun_at = 0.0
        self.lingers = False  # in a thread that cannot be interrupted, or at work after the response
        self.ended = False  # for the client
        self.reported = False
        self.discarding = False  # the client left, the function may go on
        self.deadline = NEVER
        self.timer: asyncio.TimerHandle | None = None
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

    # -- towards a worker

    def wait(self) -> None:
        """It stands in the queue: bounded by queue_timeout, or init_timeout while no worker is ready."""
        limit = self.config.queue_timeout
        if not any(self.lane.pool.usable(worker) for worker in self.lane.pool.workers):
            limit = max(limit, self.host.config.init_timeout)
        self.set_timer(self.loop.time() + limit)

    def dispatch(self, worker: WorkerProcess) -> None:
        """Hand the request to *worker*, with its end of a fresh link."""
        self.worker = worker
        self.served_by = worker.instance
        self.attempts += 1
        self.dispatched_at = now = self.loop.time()
        self.set_timer(now + max(self.config.max_duration, self.host.config.init_timeout))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        self.sock = ours
        self.frames = link.FrameReader()
        self.loop.add_reader(ours.fileno(), self.readable)
        self.reading = True
        request, query = self.request, self.request.query.decode("latin-1")
        params = self.match.params
        if self.lane.route.tree == "api" or self.match.query:
            query = with_query(query, params if self.lane.route.tree == "api" else {}, self.match.query)
        message = link.Invoke(
            request_id=self.request_id, file=self.file, method=request.method, call=self.call, path=request.path,
            raw_path=request.raw_path, query=query.encode("latin-1"), headers=self.inbound.fields, params=params,
            client=self.inbound.client, server=(request.server[0], request.server[1] or 0) if request.server else ("", 0),
            scheme=self.inbound.scheme, limit=self.config.max_duration, has_body=self.has_body,
            http_minor=request.http_minor,
        )  # fmt: skip
        worker.send(message, [theirs.detach()])

    def reassign(self) -> None:
        """The worker died or froze before it started this request: another one gets it."""
        self.close_link()
        self.worker = None
        self.lane.running -= 1
        if self.ended:
            self.report()
            return
        if self.attempts >= MAX_ATTEMPTS:
            self.fail("FUNCTION_INVOCATION_FAILED", "workers died before they could start the request")
            return
        self.lane.waiting.appendleft(self)
        self.wait()
        self.loop.call_soon(self.lane.advance)

    # -- the request's body (data plane)

    def body_received(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self.body_bytes > self.host.config.max_body_bytes:
            self.fail("FUNCTION_PAYLOAD_TOO_LARGE", "")
            return
        self.push(link.body_frames(data))

    def body_ended(self) -> None:
        if self.has_body:
            self.push(link.frame(link.END))

    def push(self, data: bytes) -> None:
        if self.ended or not self.accepts_body:
            return
        self.outgoing.append(data)
        self.outgoing_bytes += len(data)
        if self.begun and len(self.outgoing) == 1:
            self.flush()
        if self.outgoing_bytes > BODY_AHEAD:
            self.sink.pause_body()

    def flush(self) -> None:
        """Send what of the request's body the worker takes now."""
        sock = self.sock
        if sock is None:
            return
        while self.outgoing:
            try:
                sent = sock.send(self.outgoing[0])
            except BlockingIOError:
                self.loop.add_writer(sock.fileno(), self.flush)
                return
            except OSError:
                self.accepts_body = False
                self.outgoing, self.outgoing_bytes = [], 0
                break
            self.outgoing_bytes -= sent
            if sent < len(self.outgoing[0]):
                self.outgoing[0] = self.outgoing[0][sent:]
            else:
                self.outgoing.pop(0)
        self.loop.remove_writer(sock.fileno())
        if not self.ended:
            self.sink.resume_body()

    # -- the client (data plane)

    def pause(self) -> None:
        self.paused = True
        if self.reading and self.sock is not None and not self.discarding:
            self.loop.remove_reader(self.sock.fileno())
            self.reading = False

    def resume(self) -> None:
        self.paused = False
        self.listen()

    def listen(self) -> None:
        if not self.reading and self.sock is not None:
            self.loop.add_reader(self.sock.fileno(), self.readable)
            self.reading = True

    def disconnected(self) -> None:
        """The client left."""
        if self.ended:
            return
        self.end_for_client("cancelled", 499)
        if self.worker is None:
            self.lane.leave(self)
            self.report()
        elif self.config.cancel_on_disconnect:
            self.cancel_worker("disconnect", CLEANUP_S)
        else:
            self.discarding = True
            self.listen()

    def drain(self) -> None:
        """The grace of a shutdown is over."""
        if not self.ended:
            self.fail("SERVER_DRAINING", "")
        elif self.worker is not None:
            self.cancel_worker("shutdown", TOLD_S)

    # -- from the worker

    def readable(self) -> None:
        for _ in range(READS_PER_TURN):
            if not self.reading or not self.read_once():
                return

    def read_once(self) -> bool:
        """Read the link once; False when there is nothing more now."""
        sock = self.sock
        if sock is None:
            return False
        try:
            data = sock.recv(link.READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            # Its end was announced by END or FAIL, or the worker died and will be reported as dead.
            self.close_link()
            return False
        self.take(data)
        return len(data) == link.READ_SIZE

    def take(self, data: bytes) -> None:
        now = self.loop.time()
        assert self.worker is not None
        self.worker.heard_at = now
        if self.worker.suspect:
            self.worker.alive()
        frames = self.frames.feed(data)
        last = len(frames) - 1
        for index, (kind, payload) in enumerate(frames):
            if kind == link.BODY:
                final = index < last and frames[index + 1][0] == link.END
                self.body_frame(payload, now, final=final)
            elif kind == link.HEAD:
                self.head_frame(link.unpack_head(payload))
            elif kind == link.END:
                self.end_frame()
            elif kind == link.BEGUN:
                self.begun, self.begun_at = True, now
                self.deadline = now + self.config.max_duration
                self.worker.alive()
                if self.outgoing:
                    self.flush()
                self.arm()
            elif kind == link.FLUSH:
                self.commit()
                if self.committed and not self.ended:
                    self.sink.flush_head()
            elif kind == link.FAIL:
                failure = link.unpack_failure(payload)
                self.fail(failure.code, failure.traceback or failure.message)

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

    def cancel_worker(self, reason: link.CancelReason, patience_s: float) -> None:
        worker = self.worker
        if worker is None or worker.gone:
            return
        worker.send(link.Cancel(self.request_id, reason))
        self.close_link()
        if reason != "disconnect":
            worker.ping()
            self.loop.call_later(ANSWER_S, self.lane.pool.look_for_freeze, worker)
            self.cancel_timer()
            self.loop.call_later(patience_s, self.lane.pool.overdue, worker, self.request_id)
        else:
            self.loop.call_later(patience_s, self.check_cleanup)

    def check_cleanup(self) -> None:
        """Its clean-up may take CLEANUP_S; a thread that cannot be interrupted may run to its limit."""
        if self.worker is not None and not self.lingers:
            self.lane.pool.overdue(self.worker, self.request_id)

    def worker_done(self) -> None:
        """The function has ended, work after the response included."""
        if not self.ended:
            self.read_rest()
        if not self.ended:
            self.fail("FUNCTION_INVOCATION_FAILED", "the function ended without saying how")
        self.leave_worker()

    def read_rest(self) -> None:
        """The worker is done or dead; its last frames may still be in the link (at most the socket's buffer).

        They are taken even if the client does not read now: nobody will wait for them later.
        """
        while not self.ended and self.read_once():
            pass

    def worker_died(self, status: int) -> None:
        if not self.ended:
            self.read_rest()
        if not self.ended:
            self.fail("FUNCTION_INVOCATION_FAILED", f"the worker died ({status})", outcome="crashed")
        self.leave_worker()

    def leave_worker(self) -> None:
        self.worker = None
        self.close_link()
        self.lane.running -= 1
        self.report()

    def close_link(self) -> None:
        sock, self.sock = self.sock, None
        if sock is None:
            return
        self.loop.remove_writer(sock.fileno())
        if self.reading:
            self.loop.remove_reader(sock.fileno())
            self.reading = False
        sock.close()

    def report(self) -> None:
        """The one report entry of this invocation, and its figures."""
        if self.reported:
            return
        self.reported = True
        self.cancel_timer()
        self.host.finished(self)

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

    beat_at = 0.0

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


OUTCOMES = {"FUNCTION_INVOCATION_TIMEOUT": "timeout", "FUNCTION_THROTTLED": "throttled"}
