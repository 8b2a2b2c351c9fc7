"""One request on its way through the front: link in, client out, clocks running.

An exchange of the data plane, driven by callbacks only: no task, await or queue per request or chunk.

    waiting -> dispatched -> begun -> head known -> committed (bytes sent) -> ended (client) -> done (worker)
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from streamward.dataplane.exchange import Request, Sink
from streamward.functions import link
from streamward.functions.headers import Inbound
from streamward.functions.pool import MAX_ATTEMPTS, Lane
from streamward.functions.processes import WorkerProcess
from streamward.functions.response import CLEANUP_S, TOLD_S, ClientSide
from streamward.functions.router import Match, with_query

if TYPE_CHECKING:
    from streamward.functions.host import FunctionsHost

ANSWER_S = 0.1  # how long a live event loop may take to answer a ping
BODY_AHEAD = 256 << 10  # request body bytes held while the worker does not take them
READS_PER_TURN = 4  # of one link, then the others get a turn


class Invocation(ClientSide):
    """One request of a function."""

    body_timeout_s = 0.0

    def __init__(
        self, host: FunctionsHost, lane: Lane, match: Match, request: Request, sink: Sink, inbound: Inbound,
        request_id: str, call: str,
    ) -> None:  # fmt: skip
        super().__init__(host, lane, match, request, sink, inbound, request_id, call)
        self.attempts = 0
        self.sock: socket.socket | None = None
        self.frames = link.FrameReader()
        self.reading = False
        self.outgoing: list[bytes] = []  # of the request's body, towards the worker
        self.outgoing_bytes = 0
        self.body_bytes = 0
        self.has_body = request.content_length != 0
        self.accepts_body = self.has_body
        self.dispatched_at = 0.0
        self.lingers = False  # in a thread that cannot be interrupted, or at work after the response
        self.reported = False
        self.discarding = False  # the client left, the function may go on

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
            if not self.reading or self.read_once() < link.READ_SIZE:
                return

    def read_once(self) -> int:
        """Read the link once; how many bytes came, 0 when there is nothing now."""
        sock = self.sock
        if sock is None:
            return 0
        try:
            data = sock.recv(link.READ_SIZE)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            # Its end was announced by END or FAIL, or the worker died and will be reported as dead.
            self.close_link()
            return 0
        self.take(data)
        return len(data)

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
