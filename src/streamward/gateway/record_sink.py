"""Where a recorded call writes: between a call that knows only its sink and the recorder of its stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamward.durable import Ending, Recorder
from streamward.errors import ErrorInfo, StreamwardError
from streamward.gateway.exchange import STOPPED
from streamward.gateway.stream_frames import FRAMING, encode
from streamward.wire.sse import KEEP_ALIVE

if TYPE_CHECKING:
    from streamward.gateway.durable_calls import KeptCall

CLIENT_LEFT = ErrorInfo(STOPPED.code, "the client left before anything was sent", 499)
FAILED = ErrorInfo("server_error", "the server failed to keep this call; send it again", 500, safe_to_retry=True)


class RecordSink:
    """Where a recorded call writes: the sink of the call, and the producer its recorder talks to."""

    __slots__ = ("call", "framing", "recorder", "status", "streamed")

    def __init__(self, call: KeptCall) -> None:
        self.call = call
        self.framing = FRAMING[call.dialect]
        self.streamed = call.is_stream
        self.status = 200
        self.recorder: Recorder

    def open(self, recorder: Recorder) -> None:
        """The stream is there: from now on the call may write."""
        self.recorder = recorder
        if self.call.over:  # the client left before it could learn the stream's id
            recorder.close("cancelled", result=encode(self.call.result(CLIENT_LEFT)))

    # -- the call's sink

    def start(self, status: int, fields: bytes, *, length: int | None = None, by_frame: bool = False) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        if data is not KEEP_ALIVE:
            recorder = self.recorder
            recorder.append(self.framing(data, recorder.next))

    def finish(self, data: bytes = b"") -> None:
        call, recorder = self.call, self.recorder
        if self.status != 200:
            error = call.failure or FAILED
            recorder.close(ending_of(error), call.refusal_frames(error), encode(call.result(error)))
            return
        if not self.streamed:
            recorder.close("completed", [data], encode(call.result()))
            return
        failed = call.relay.error if call.relay is not None else None
        recorder.close(
            ending_of(failed), self.framing(data, recorder.next) if data else [], encode(call.result())
        )  # fmt: skip

    def flush_head(self) -> None:
        """There is no head: every reader has its own."""

    def abort(self) -> None:
        self.recorder.close("failed", [], encode(self.call.result(FAILED)))

    def pause_body(self) -> None:
        """The body was read before this sink was made."""

    def resume_body(self) -> None:
        """See ``pause_body``."""

    # -- the recorder's producer

    def on_stop(self) -> None:
        self.call.stop()

    def on_lost(self, error: StreamwardError) -> None:
        call = self.call
        if not call.over:
            if call.attempts is not None:
                call.attempts.cancel()
            call.record.code = error.info.code
            call.close("failed")

    def on_refused(self, error: StreamwardError) -> None:
        self.call.not_created(error)

    def pause(self) -> None:
        if self.call.attempts is not None:
            self.call.attempts.pause()

    def resume(self) -> None:
        if self.call.attempts is not None:
            self.call.attempts.resume()


def ending_of(error: ErrorInfo | None) -> Ending:
    return "completed" if error is None else "cancelled" if error.code == STOPPED.code else "failed"
