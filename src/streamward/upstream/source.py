"""Pulling events from a model: the attempts' push side with a bounded buffer in front of one reader.

``read`` waits for events, ``aclose`` stops the provider at once. This is what the SDK's engine and the command line
stand on; the gateway relays bytes instead.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from streamward.call import Call
from streamward.dataplane.client import AnswerHead
from streamward.errors import ErrorInfo
from streamward.events import TERMINAL, Error, Event, Finish, Start, is_content
from streamward.reply import replay
from streamward.upstream.attempts import GATEWAY_POLICY, MAX_REPLY_BYTES, Attempts, RetryPolicy, Target
from streamward.wire import json_text
from streamward.wire.dialect import Decoded
from streamward.wire.table import decoded
from streamward.wire.table import dialect as dialect_module

HIGH_WATER = 256
"""Events waiting for the reader before the provider is paused: a few seconds of a fast model."""


class EventSource:
    """The events of one call. Not started before the first ``read``; one reader.

    The events obey the grammar; the last one is terminal. Leaving early needs ``aclose`` (or ``cancel``), which closes
    the connection to the provider at once.
    """

    def __init__(self, call: Call, targets: Sequence[Target], policy: RetryPolicy = GATEWAY_POLICY) -> None:
        self.call = call
        self.attempts = Attempts(targets, self.render, self, stream=call.stream, policy=policy)
        self.decoder: Decoded | None = None
        self.held: list[Event] = []
        self.buffer: list[Event] = []
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.waiter: asyncio.Future[None] | None = None
        self.tap: Callable[[list[Event]], bool] | None = None
        """Is shown events while the reader waits, and may keep them (True): a token then wakes no task of the reader's."""
        self.started = False
        self.ended_ = False
        self.committed = False
        self.paused = False
        self.target: Target | None = None
        self.answer: AnswerHead | None = None

    async def read(self) -> list[Event]:
        """The next events, at least one; an empty list once the terminal event was read."""
        if not self.started:
            self.started = True
            self.attempts.start()
        while not self.buffer:
            if self.ended_:
                return []
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None
        events, self.buffer = self.buffer, []
        if self.paused:
            self.paused = False
            self.attempts.resume()
        return events

    def cancel(self) -> None:
        """Stop at once; nothing more is read."""
        self.attempts.cancel()
        self.ended_ = True
        self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def aclose(self) -> None:
        self.cancel()

    # -- Outcome of the attempts

    def render(self, target: Target) -> bytes:
        module = dialect_module(target.upstream.dialect)
        return json_text.encode_request(module.render_request(self.call, model=target.model, profile=target.profile))

    def answering(self, target: Target, head: AnswerHead) -> None:
        self.target = target
        self.answer = head
        self.held = []
        self.body = []
        self.body_bytes = 0
        self.decoder = decoded(target.upstream.dialect, target.profile) if self.call.stream else None

    def data_received(self, data: bytes) -> None:
        if self.decoder is not None and self.committed:
            self.push(self.decoder.feed(data))
            return
        if self.decoder is None:
            self.body.append(data)
            self.body_bytes += len(data)
            if self.body_bytes > MAX_REPLY_BYTES:
                self.body = []
                self.attempts.reject(ErrorInfo("content_too_large", "the provider's answer is too large", 502))
            return
        self.take(self.decoder.feed(data))

    def ended(self) -> None:
        if self.decoder is not None:
            self.take(self.decoder.close())
            return
        assert self.target is not None
        module = dialect_module(self.target.upstream.dialect)
        try:
            body = json_text.decode_any(b"".join(self.body))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self.attempts.reject(
                ErrorInfo("upstream_invalid", "the provider's answer is not a JSON object", 502, safe_to_retry=True)
            )
            return
        reply = module.parse_reply(body, self.target.profile)
        if reply.error is not None:
            self.attempts.reject(reply.error)
            return
        self.attempts.commit()
        self.committed = True
        self.push(list(replay(reply)))

    def take(self, events: list[Event]) -> None:
        if self.committed:
            self.push(events)
            return
        self.held.extend(events)
        for event in events:
            if isinstance(event, Error):
                self.attempts.reject(event.error)
                return
            if is_content(event) or isinstance(event, TERMINAL):
                self.attempts.commit()
                self.committed = True
                self.push(self.held)
                self.held = []
                return

    def push(self, events: list[Event]) -> None:
        if not events or self.ended_:
            return
        # Only to a reader that waits with nothing on its way to it: whatever it read before has been dealt with.
        if self.waiter is not None and self.tap is not None and not self.buffer and self.tap(events):
            return
        self.buffer.extend(events)
        if isinstance(events[-1], TERMINAL):
            self.ended_ = True
            if isinstance(events[-1], Finish):
                self.attempts.finish()
            else:
                self.attempts.cancel()
        elif len(self.buffer) > HIGH_WATER and not self.paused:
            self.paused = True
            self.attempts.pause()
        self.wake()

    def broke(self, error: ErrorInfo) -> None:
        self.push(self.decoder.fail(error) if self.decoder is not None else [Error(error)])

    def gave_up(self, error: ErrorInfo) -> None:
        self.push([Start(f"failed-{secrets.token_hex(4)}"), Error(error)])
