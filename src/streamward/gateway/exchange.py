"""One call through the gateway: body in, targets tried, stream out, record booked.

    body -> plan -> attempts (nothing sent yet) -> first content: commit -> relay -> exactly one ending -> record

Everything runs on the event loop in callbacks. What went wrong before the commit is an HTTP status; after it, a
terminal frame in the caller's dialect.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from streamward.call import Call
from streamward.dataplane.client import AnswerHead
from streamward.dataplane.exchange import Request, Sink
from streamward.errors import ErrorInfo, InvalidRequest, StreamwardError
from streamward.events import Usage
from streamward.gateway.auth import Caller
from streamward.gateway.continuation import goes_on, spliced
from streamward.gateway.records import Ending, Record
from streamward.reply import Reply
from streamward.upstream.attempts import CENSORED, MAX_REPLY_BYTES, Attempts, Target
from streamward.upstream.hedge import Hedge
from streamward.wire import json_text
from streamward.wire.chat_completions.reply import look_at_reply
from streamward.wire.chat_completions.request_shapes import validate
from streamward.wire.dialect import Context, Dialect
from streamward.wire.relay import Relay, stop_relay
from streamward.wire.splice import Splice
from streamward.wire.sse import KEEP_ALIVE
from streamward.wire.table import chunk_per_frame
from streamward.wire.table import dialect as dialect_module
from streamward.wire.table import relay as make_relay

if TYPE_CHECKING:
    from streamward.gateway.admission import Grant
    from streamward.gateway.app import Gateway

STREAM_FIELDS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache, no-transform\r\n"
    b"x-accel-buffering: no\r\nx-content-type-options: nosniff\r\n"
)
JSON_FIELDS = b"content-type: application/json\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n"
SHUTDOWN = ErrorInfo("server_shutdown", "the server is shutting down; send the request again", 503, retry_after_s=1)
OVERLOADED = ErrorInfo(
    "overloaded", "the server has as much to do as it takes; retry shortly", 503, retry_after_s=1
)
TOO_LONG = ErrorInfo("max_duration_exceeded", "this call took longer than its key may use; ask for a shorter answer", 504)
STOPPED = ErrorInfo("cancelled", "the stream was stopped on request", 499)
OUR_ENDINGS = frozenset({STOPPED.code, SHUTDOWN.code})
"""Of streams that somebody on our side ended: no fault of the target."""

ENDINGS: dict[str, Ending] = {"stream_truncated": "truncated", "cancelled": "cancelled"}
FOREVER = float("inf")


class CallExchange:
    """The exchange of one ``POST`` to a model route, in the client dialect *dialect*."""

    __slots__ = (
        "asked", "attempts", "body", "body_bytes", "body_timeout_s", "call", "caller", "committed", "continues", "cors",
        "detached", "dialect", "drain_at", "gateway", "grant", "held", "include_usage", "is_stream", "last_at", "module",
        "moved", "over", "prepared", "record", "relay", "reply", "reply_bytes", "sink", "started_at", "upstream_fields",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, request: Request, sink: Sink, dialect: str, caller: Caller, cors: bytes) -> None:
        self.gateway = gateway
        self.sink = sink
        self.dialect = dialect
        self.module = dialect_module(dialect)
        self.caller = caller
        self.cors = cors
        self.body_timeout_s = gateway.config.limits.body_timeout_s
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.started_at = gateway.loop.time()
        self.record = Record(time=time.time(), id=gateway.ids.next(), key=caller.shown, route=request.path)
        self.asked: dict[str, Any] = {}
        self.call: Call | None = None
        self.is_stream = False
        self.include_usage = False
        self.attempts: Attempts | Hedge | None = None
        self.relay: Relay | None = None
        self.prepared: tuple[Target, Relay] | None = None
        """The relay of the first answer of that target, made while it is waited for."""
        self.held: list[bytes] = []
        self.reply: list[bytes] = []
        self.reply_bytes = 0
        self.upstream_fields = b""
        self.grant: Grant | None = None
        self.committed = False
        self.continues = False
        """After a break the next target is asked to go on."""
        self.detached = False
        self.over = False
        self.last_at = FOREVER
        self.moved = False  # something was sent since the last tick
        self.drain_at = FOREVER

    # -- the request

    def body_received(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self.body_bytes > self.gateway.config.limits.max_body_bytes:
            self.refuse(too_large(self.gateway.config.limits.max_body_bytes))
            return
        self.body.append(data)

    def body_ended(self) -> None:
        if self.over:
            return
        try:
            targets = self.plan(json_text.decode_object(self.take_body()))
        except StreamwardError as exc:
            self.refuse(exc.info)
            return
        self.launch(targets)

    def take_body(self) -> bytes:
        body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body = []
        return body

    def launch(self, targets: list[Target]) -> None:
        """Run as soon as the limits of the caller's key allow it; most have none."""
        if self.caller.limits is None:
            self.run(targets)
        else:
            self.gateway.begin(self)
            self.gateway.admission.admit(self, targets)

    def run_unless_gone(self, targets: list[Target]) -> None:
        """Run after a wait in which the client may have left."""
        if not self.over:
            self.run(targets)

    def run(self, targets: list[Target]) -> None:
        """Try *targets*, from here on with everything that is due to a call in progress."""
        self.gateway.begin(self)
        gateway = self.gateway
        if self.is_stream and not self.continues:
            self.continues = gateway.routes.continues(self.record.model)
        if self.continues:
            self.continues = self.is_understood()
        self.attempts = gateway.routes.attempts(
            self.record.model, targets, self.render, self, stream=self.is_stream, on_failure=gateway.failed_try
        )  # fmt: skip
        self.attempts.start()
        if self.is_stream and not self.continues and not self.over and self.relay is None:
            # While the provider thinks there is time; once its first token is here, there is none.
            target = self.attempts.target
            self.prepared = target, self.relay_from(target)

    def relay_from(self, target: Target) -> Relay:
        return make_relay(
            target.upstream.dialect, self.dialect, target.profile, self.context(),
            max_event_bytes=self.gateway.config.limits.max_event_bytes,
        )  # fmt: skip

    def plan(self, body: dict[str, Any]) -> list[Target]:
        """What is asked and who can answer it."""
        if self.dialect == "chat_completions":
            asked = validate(body)
            model, self.is_stream = asked.model, bool(asked.stream)
            options = asked.stream_options
            if options is not None and not self.is_stream:
                raise InvalidRequest("stream_options is only allowed with stream: true", param="stream_options")
            self.include_usage = options is not None and bool(options.include_usage)
        else:
            self.call = self.parse(body)
            model, self.is_stream, self.include_usage = self.call.model, self.call.stream, True
        self.asked = body
        self.record.model = model
        self.record.stream = self.is_stream
        return self.gateway.routes.targets(model, gateway_options(body))

    def parse(self, body: dict[str, Any]) -> Call:
        return self.module.parse_request(body)

    def parsed(self) -> Call:
        """What is asked, in the waist's terms. Raises InvalidRequest, Unsupported."""
        if self.call is None:
            self.call = self.module.parse_request(self.asked)
        return self.call

    def is_understood(self) -> bool:
        """Whether the request can be said in other words: some only make sense to a provider of the same dialect."""
        try:
            self.parsed()
        except StreamwardError:
            return False
        return True

    def render(self, target: Target) -> bytes:
        """The request for one target: edited where it speaks the caller's dialect, translated where not."""
        upstream = target.upstream
        relay_request = getattr(self.module, "relay_request", None)
        if upstream.dialect == self.dialect and relay_request is not None:
            return json_text.encode_compact(relay_request(self.asked, model=target.model, profile=upstream.profile))
        module = dialect_module(upstream.dialect)
        return json_text.encode_compact(module.render_request(self.parsed(), model=target.model, profile=upstream.profile))

    def context(self) -> Context:
        record = self.record
        return Context(
            id=ID_PREFIX.get(self.dialect, "") + record.id[3:], model=record.model, created=int(record.time),
            include_usage=self.include_usage, call=self.call,
            options=self.options(),
        )  # fmt: skip

    def options(self) -> dict[str, Any]:
        """Settings of the dialect's encoder."""
        return {"responses_done": self.gateway.config.server.responses_done}

    # -- the answer (Outcome of the attempts)

    def answering(self, target: Target, head: AnswerHead) -> None:
        self.record.target = target.name
        self.upstream_fields = passed_fields(head.headers)
        if self.grant is not None:  # the provider's figures are of the operator's account, ours of this key
            self.upstream_fields = self.grant.fields + passed_fields(head.headers, RATE_FIELDS)
        self.held = []
        self.reply = []
        self.reply_bytes = 0
        if self.continues and self.is_stream:
            self.relay = spliced(self, target)
        elif self.is_stream:
            prepared, self.prepared = self.prepared, None
            fits = prepared is not None and prepared[0] is target
            self.relay = prepared[1] if fits and prepared is not None else self.relay_from(target)

    def data_received(self, data: bytes) -> None:
        relay = self.relay
        if relay is None:
            self.reply_data(data)
            return
        out = relay.feed(data)
        if self.committed:
            self.moved = True
            if relay.ended:
                self.end_stream(out)
            elif out and not self.detached:
                self.record.bytes_out += len(out)
                self.sink.write(out)
            return
        self.before_commit(relay, out)

    def before_commit(self, relay: Relay, out: bytes) -> None:
        assert self.attempts is not None
        if relay.error is not None:
            self.attempts.reject(relay.error)
            return
        self.held.append(out)
        if not relay.content:
            return
        self.attempts.commit()
        self.committed = True
        self.let_go()
        now = self.last_at = self.gateway.loop.time()
        self.record.ttft_ms = (now - self.started_at) * 1000
        self.record.status = 200
        self.sink.start(200, self.fields(STREAM_FIELDS), by_frame=chunk_per_frame(self.dialect))
        out = b"".join(self.held)
        self.held = []
        if relay.ended:
            self.end_stream(out)
        else:
            self.sink.write(out)
            self.record.bytes_out += len(out)
            self.gateway.ticker.add(self)

    def let_go(self) -> None:
        """No further try will be made: what only they needed is freed, idle streams are many."""
        self.asked = {}

    def ended(self) -> None:
        relay = self.relay
        if relay is None:
            self.end_reply()
            return
        if self.over:
            return
        out = relay.close()
        if self.committed:
            self.end_stream(out)
        else:
            self.before_commit(relay, out)

    def broke(self, error: ErrorInfo) -> None:
        if self.relay is not None and not self.over:
            self.end_stream(self.relay.fail(error))

    def gave_up(self, error: ErrorInfo) -> None:
        assert self.attempts is not None
        self.record.target = self.attempts.target.name
        self.refuse(error)

    def end_stream(self, out: bytes) -> None:
        """The relay is over: send what is left, end the response, book the record."""
        relay = self.relay
        assert relay is not None
        if isinstance(relay, Splice) and relay.broken is not None and relay.error is relay.broken:
            if goes_on(self, relay, out):
                return
            out += relay.give_out(relay.broken)
        if self.attempts is not None:
            if relay.error is None:
                self.attempts.finish()
            else:
                self.attempts.cancel()
                if relay.error.code not in OUR_ENDINGS:
                    self.gateway.failed_try(self.attempts.target, relay.error)
        self.account(relay.usage, relay.events, whole=relay.error is None)
        if isinstance(relay, Splice) and relay.estimated:
            self.record.grade = "estimated"
        self.record.finish_reason = relay.finish_reason or ""
        if not self.detached:
            self.record.bytes_out += len(out)
            self.sink.finish(out)
        if relay.error is None:
            self.close("finished")
        else:
            self.record.code = relay.error.code
            self.close(ENDINGS.get(relay.error.code, "failed"))

    # -- answers that are not streamed

    def reply_data(self, data: bytes) -> None:
        self.reply_bytes += len(data)
        if self.reply_bytes > MAX_REPLY_BYTES:
            assert self.attempts is not None
            self.attempts.reject(ErrorInfo("content_too_large", "the provider's answer is too large", 502))
            return
        self.reply.append(data)

    def end_reply(self) -> None:
        assert self.attempts is not None
        target = self.attempts.target
        module = dialect_module(target.upstream.dialect)
        raw = self.reply[0]
        if len(self.reply) > 1:  # a key may lie across two of its pieces
            raw = b"".join(self.reply).replace(target.upstream.secret or CENSORED, CENSORED)
        passed = target.upstream.dialect == self.dialect == "chat_completions"
        reply = look_at_reply(raw, target.profile) if passed else parsed_reply(module, raw, target)
        if reply.error is not None:
            self.attempts.reject(reply.error)
            return
        self.attempts.commit()
        if not passed:
            raw = json_text.encode(self.render_answer(reply))
        self.account(reply.usage, len(raw) // BYTES_PER_TOKEN)
        self.record.finish_reason = reply.finish_reason or ""
        self.record.status = 200
        self.record.bytes_out = len(raw)
        self.record.ttft_ms = (self.gateway.loop.time() - self.started_at) * 1000
        self.sink.start(200, self.fields(JSON_FIELDS), length=len(raw))
        self.sink.finish(raw)
        self.close("finished")

    def render_answer(self, reply: Reply) -> dict[str, Any]:
        return self.module.render_reply(reply, self.context())

    # -- failures, and the client

    def refuse(self, error: ErrorInfo) -> None:
        """Answer with a status: nothing has been sent yet."""
        if self.over:
            return
        if self.attempts is not None:
            self.attempts.cancel()
        self.record.status = error.status
        self.record.code = error.code
        if not self.detached:
            self.gateway.answer_error(self.sink, error, self.module.render_error(error), self.fields(JSON_FIELDS))
        self.close("refused" if self.attempts is None else "cancelled" if error.code == STOPPED.code else "failed")

    def disconnected(self) -> None:
        if self.over:
            return
        streams = self.gateway.config.streams
        if streams.on_disconnect != "cancel" and self.committed and not self.gateway.draining:
            self.detached = True
            self.drain_at = self.gateway.loop.time() + streams.drain_s
            if self.attempts is not None:
                self.attempts.resume()
            return
        if self.attempts is not None:
            self.attempts.cancel()
        if self.relay is not None:
            self.account(self.relay.usage, self.relay.events, whole=False)
        elif self.attempts is not None:  # the provider was asked, and may send a bill
            self.account(None, self.reply_bytes // BYTES_PER_TOKEN)
        self.record.status = self.record.status or 499
        self.close("cancelled")

    def stop(self, error: ErrorInfo = STOPPED) -> None:
        """Somebody who may asked for the end: the provider is cancelled, the caller gets its terminal frames."""
        if self.over:
            return
        if self.committed and self.relay is not None:
            self.end_stream(stop_relay(self.relay, error))
        else:
            self.refuse(error)

    def pause(self) -> None:
        if self.attempts is not None and not self.detached:
            self.attempts.pause()

    def resume(self) -> None:
        if self.attempts is not None:
            self.attempts.resume()

    def drain(self) -> None:
        self.cut(SHUTDOWN)

    def expire(self) -> None:
        """The call takes longer than its key may."""
        self.cut(TOO_LONG)

    def cut(self, error: ErrorInfo) -> None:
        """End the stream now, truthfully."""
        if self.over:
            return
        if self.committed and self.relay is not None:
            self.end_stream(self.relay.fail(error))
        else:
            self.refuse(error)

    def tick(self, now: float) -> None:
        streams = self.gateway.config.streams
        if self.detached:
            relay = self.relay
            if now >= self.drain_at or (relay is not None and relay.events > streams.drain_tokens):
                self.detached = False
                self.drain_at = FOREVER
                if self.attempts is not None:
                    self.attempts.cancel()
                if relay is not None:
                    self.account(relay.usage, relay.events, whole=False)
                self.close("cancelled")
        elif self.moved:
            self.moved = False
            self.last_at = now
        elif streams.keepalive_s and now - self.last_at >= streams.keepalive_s:
            self.last_at = now
            self.sink.write(KEEP_ALIVE)

    # -- bookkeeping

    def fields(self, base: bytes) -> bytes:
        return b"%bx-streamward-id: %b\r\n%b%b" % (base, self.record.id.encode(), self.upstream_fields, self.cors)

    def account(self, usage: Usage | None, events: int, *, whole: bool = True) -> None:
        """Book what was used. Not *whole*: the provider's figures, if any, are of a stream that went on for longer."""
        record = self.record
        record.events = events
        if usage is None:
            record.grade = "estimated"
            record.output_tokens = events
            record.input_tokens = self.body_bytes // BYTES_PER_TOKEN
            return
        complete = usage.output_tokens is not None and usage.input_tokens is not None
        record.grade = "exact" if complete and whole else "provider_partial"
        record.input_tokens = usage.input_tokens
        record.output_tokens = usage.output_tokens
        if not complete or not whole:
            record.output_tokens = max(usage.output_tokens or 0, events)
            if usage.input_tokens is None:
                record.input_tokens = self.body_bytes // BYTES_PER_TOKEN
        record.reasoning_tokens = usage.reasoning_tokens
        record.cached_tokens = usage.cached_input_tokens

    def close(self, ending: Any) -> None:
        self.over = True
        record = self.record
        record.ending = ending
        if self.attempts is not None:
            record.attempts = self.attempts.tries
            record.fallbacks = self.attempts.position
            record.target = record.target or self.attempts.target.name
            self.gateway.settle(self)
        elif self.grant is not None:
            self.grant.settle()
        record.duration_ms = (self.gateway.loop.time() - self.started_at) * 1000
        if self.attempts is not None:
            self.gateway.book_health(record, self.attempts.ttft_s)
        self.gateway.end(self)
        # The attempts point back at us: cut here, so that counting references frees the whole call at once. Memory that
        # waits for the cyclic collector is cold when it is used again.
        self.attempts = None


def parsed_reply(module: Dialect, raw: bytes, target: Target) -> Reply:
    """The provider's whole answer in the waist's terms; ``error`` is set when it is none."""
    try:
        body = json_text.decode_answer(raw)
    except (ValueError, RecursionError):
        body = None
    if type(body) is not dict:
        return Reply(error=NOT_JSON)
    return module.parse_reply(body, target.profile)


def gateway_options(body: dict[str, Any]) -> dict[str, Any] | None:
    """Take Vercel's ``providerOptions.gateway`` out of *body*: it is ours to honour and never forwarded."""
    options = body.get("providerOptions")
    if not isinstance(options, dict) or "gateway" not in options:
        return None
    rest = {key: value for key, value in options.items() if key != "gateway"}
    if rest:
        body["providerOptions"] = rest
    else:
        del body["providerOptions"]
    gateway = options["gateway"]
    if not isinstance(gateway, dict):
        raise InvalidRequest("providerOptions.gateway must be an object", param="providerOptions.gateway")
    return gateway


def passed_fields(headers: dict[str, str], without: tuple[str, ...] = ()) -> bytes:
    """The upstream's header lines a caller may see: rate limits and request ids, but none that begins as *without*."""
    out = b""
    for name in [name for name in headers if name.startswith(PASSED_FIELDS)]:
        if name.startswith(without) or not (name in ID_FIELDS or name.startswith(RATE_FIELDS)):
            continue
        text = headers[name].encode("latin-1", "replace")
        if len(text) <= MAX_PASSED_BYTES and text.isascii() and text.decode().isprintable():
            out += b"%b: %b\r\n" % (name.encode(), text)
    return out


NOT_JSON = ErrorInfo("upstream_invalid", "the provider's answer is not a JSON object", 502, safe_to_retry=True)
BYTES_PER_TOKEN = 4
"""For estimates, which are marked as such: within 13 % on English, worse elsewhere."""

RATE_FIELDS = ("x-ratelimit-", "anthropic-ratelimit-")
ID_FIELDS = ("x-request-id", "request-id")
PASSED_FIELDS = RATE_FIELDS + ID_FIELDS
MAX_PASSED_BYTES = 256
ID_PREFIX = {"chat_completions": "chatcmpl-", "responses": "resp_", "messages": "msg_"}


def too_large(limit: int) -> ErrorInfo:
    return ErrorInfo("content_too_large", f"the request body is larger than {limit} bytes (limits.max_body_bytes)", 413)
