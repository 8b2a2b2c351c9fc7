"""How many tokens a call holds: asked of its provider where that counts, else estimated; the answer says which."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from streamward.call import Call
from streamward.dataplane.client import AnswerHead
from streamward.errors import ErrorInfo, StreamwardError
from streamward.gateway.estimates import estimated_tokens
from streamward.upstream.attempts import Attempts, RetryPolicy, Target
from streamward.upstream.upstream import HttpUpstream, OnPath
from streamward.wire import json_text
from streamward.wire.table import counting

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway

PATIENCE_S = 10.0
"""Longest wait for a provider's count: whoever asks wants to send the call next."""

MAX_COUNT_BYTES = 64 << 10
POLICY = RetryPolicy(max_wait_s=0.0)


async def counted(gateway: Gateway, call: Call) -> tuple[int, bool]:
    """Input tokens of *call*, and whether its provider counted them.

    Raises:
        ModelNotFound: nobody serves the model.
    """
    for target in gateway.routes.targets(call.model):
        if isinstance(target.upstream, HttpUpstream):
            count = await asked(target, target.upstream, call)
            return (count, True) if count is not None else (estimated_tokens(call), False)
    return estimated_tokens(call), False


async def asked(target: Target, upstream: HttpUpstream, call: Call) -> int | None:
    """The count of one provider; None when it has none to give, whatever the reason."""
    dialect = counting(upstream.dialect)
    if dialect is None:
        return None
    try:
        body = dialect.render_count_request(call, model=target.model, profile=target.profile)
    except StreamwardError:
        return None
    raw = json_text.encode_compact(body)
    answer = Answer()
    place = Target(OnPath(upstream, dialect.count_path(target.model)), target.model)
    attempts = Attempts([place], lambda _: raw, answer, stream=False, policy=POLICY)
    attempts.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            whole = await answer.whole
    except TimeoutError:
        whole = None
    finally:
        attempts.cancel()
    try:
        value = json_text.decode_any(whole) if whole is not None else None
    except (ValueError, RecursionError):
        value = None
    return dialect.parse_count(value) if isinstance(value, dict) else None


class Answer:
    """A short answer as a whole; None when there is none. The outcome of its attempts."""

    def __init__(self) -> None:
        self.whole: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.parts: list[bytes] = []
        self.size = 0

    def settle(self, answer: bytes | None) -> None:
        if not self.whole.done():
            self.whole.set_result(answer)

    def answering(self, target: Target, head: AnswerHead) -> None:
        self.parts, self.size = [], 0

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > MAX_COUNT_BYTES:
            self.settle(None)
        else:
            self.parts.append(data)

    def ended(self) -> None:
        self.settle(b"".join(self.parts))

    def broke(self, error: ErrorInfo) -> None:
        self.settle(None)

    def gave_up(self, error: ErrorInfo) -> None:
        self.settle(None)
