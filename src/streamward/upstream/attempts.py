"""Trying targets until one commits.

Nothing is shown to the caller before the first content event, so until then a failed try can be repeated or moved to
the next target. ``commit`` ends that freedom. Connect errors, 408, 409, 429 and 5xx are retried on the same target with
back-off and Retry-After honoured; then the next target is tried; what the caller itself did wrong is not retried.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from streamward.dataplane.client import AnswerHead
from streamward.errors import ErrorInfo, StreamwardError
from streamward.upstream.upstream import Handle, Upstream
from streamward.wire.dialect import Profile
from streamward.wire.table import dialect as dialect_module

MAX_ERROR_BODY = 64 << 10
MAX_REPLY_BYTES = 64 << 20
"""A non-streamed answer: images in base64 fit, an endless body does not."""

MAX_RETRY_WAIT_S = 2.0
"""A provider that asks for more patience than this gets it from the caller: its Retry-After is passed on."""

BACKOFF_S = 0.2
BACKOFF_MAX_S = 2.0

NEVER_ELSEWHERE = frozenset({"invalid_request", "context_length_exceeded", "content_policy_violation", "unsupported"})
"""Failures of the call itself: another target would only repeat them."""


class Target(Struct, frozen=True):
    """One (provider, model) to try."""

    upstream: Upstream
    model: str

    @property
    def name(self) -> str:
        return f"{self.upstream.name}/{self.model}"

    @property
    def profile(self) -> Profile:
        return self.upstream.profile


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often one target is tried again before ``commit``, and how long to wait in between."""

    retries: int | None = None
    """None: as the upstream says."""
    backoff_s: float = BACKOFF_S
    backoff_max_s: float = BACKOFF_MAX_S
    jitter: float = 0.5
    """Part of the wait that is left to chance, so that callers who failed together do not return together."""
    max_wait_s: float = MAX_RETRY_WAIT_S
    """Longest wait that is accepted, from a Retry-After too; a longer one ends the tries."""


GATEWAY_POLICY = RetryPolicy()
CENSORED = b"[key removed]"


class Outcome(Protocol):
    """Who waits for the answer. ``gave_up`` is the last call, if it comes."""

    def answering(self, target: Target, head: AnswerHead, /) -> None:
        """A target answers with 200; its body follows. Called again after each rejected try."""

    def data_received(self, data: bytes, /) -> None: ...

    def ended(self) -> None: ...

    def broke(self, error: ErrorInfo, /) -> None:
        """The answer broke off after ``commit``."""

    def gave_up(self, error: ErrorInfo, /) -> None:
        """Every try failed before ``commit``; *error* is the last one."""


class Attempts:
    """The tries of one call. A receiver for the data plane; talks to one :class:`Outcome`."""

    __slots__ = (
        "committed", "handle", "number", "on_failure", "outcome", "over", "paused", "policy", "position", "render", "stream",
        "target", "targets", "timer", "tried_at", "tries", "tries_here", "ttft_s",
    )  # fmt: skip

    def __init__(
        self, targets: Sequence[Target], render: Callable[[Target], bytes], outcome: Outcome, *, stream: bool,
        on_failure: Callable[[Target, ErrorInfo], None] | None = None, policy: RetryPolicy = GATEWAY_POLICY,
    ) -> None:  # fmt: skip
        self.policy = policy
        self.targets = targets
        self.target = targets[0]
        """The one being tried, or that was tried last."""
        self.render = render
        self.outcome = outcome
        self.stream = stream
        self.on_failure = on_failure
        self.position = 0
        self.tries_here = 0
        self.tries = 0
        self.handle: Handle | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.committed = False
        self.over = False
        self.paused = False
        self.number = 0  # of the current try: answers to older ones are ignored
        self.tried_at = 0.0
        self.ttft_s = 0.0
        """From the start of the try that answered to ``commit``."""

    def start(self) -> None:
        """Begin the next try. Never raises: a call the target cannot take is a failed try."""
        self.timer = None
        target = self.target = self.targets[self.position]
        self.tries += 1
        self.tries_here += 1
        try:
            body = self.render(target)
        except StreamwardError as exc:
            self.failed_try(exc.info)
            return
        self.number += 1
        self.tried_at = time.monotonic()
        receiver = TryReceiver(self, self.number)
        handle = target.upstream.send(target.model, body, stream=self.stream, receiver=receiver)
        if receiver.over:
            return
        self.handle = handle
        if self.paused:
            handle.pause()

    def commit(self) -> None:
        self.committed = True
        self.ttft_s = time.monotonic() - self.tried_at

    def reject(self, error: ErrorInfo) -> None:
        """The answer so far is not one (an error event first, junk, truncation): give this try up."""
        self.number += 1
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        self.failed_try(error)

    def cancel(self) -> None:
        """Stop everything; the provider learns of it at once."""
        self.over = True
        self.number += 1
        if self.timer is not None:
            self.timer.cancel()
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    def finish(self) -> None:
        """The answer is complete: nothing more is heard, the connection may be used again."""
        self.over = True
        self.number += 1
        if self.handle is not None:
            self.handle.let_go()
            self.handle = None

    def pause(self) -> None:
        self.paused = True
        if self.handle is not None:
            self.handle.pause()

    def resume(self) -> None:
        self.paused = False
        if self.handle is not None:
            self.handle.resume()

    def failed_try(self, error: ErrorInfo) -> None:
        if self.over:
            return
        if self.committed:
            self.over = True
            self.outcome.broke(error)
            return
        target = self.targets[self.position]
        if self.on_failure is not None:
            self.on_failure(target, error)
        wait = error.retry_after_s if error.retry_after_s is not None else backoff(self.tries_here, self.policy)
        retries = target.upstream.retries if self.policy.retries is None else self.policy.retries
        if error.safe_to_retry and self.tries_here <= retries and wait <= self.policy.max_wait_s:
            self.timer = asyncio.get_running_loop().call_later(wait, self.start)
            return
        if self.position + 1 < len(self.targets) and error.code not in NEVER_ELSEWHERE:
            self.position += 1
            self.tries_here = 0
            self.start()
            return
        self.over = True
        self.outcome.gave_up(error)


class TryReceiver:
    """The data plane's receiver for one try; deaf once its try was given up."""

    __slots__ = ("attempts", "error_body", "error_bytes", "error_head", "error_status", "number", "over", "secret")

    def __init__(self, attempts: Attempts, number: int) -> None:
        self.attempts = attempts
        self.number = number
        self.secret = attempts.target.upstream.secret
        self.over = False
        self.error_status = 0
        self.error_head: AnswerHead | None = None
        self.error_body: list[bytes] = []
        self.error_bytes = 0

    def current(self) -> bool:
        return self.number == self.attempts.number

    def head_received(self, head: AnswerHead) -> None:
        if not self.current():
            return
        problem = self.wrong_answer(head)
        if head.status != 200:
            self.error_status = head.status
            self.error_head = head
        elif problem is not None:
            self.over = True
            self.attempts.reject(problem)
        else:
            self.attempts.outcome.answering(self.attempts.target, head)

    def wrong_answer(self, head: AnswerHead) -> ErrorInfo | None:
        """A 200 that is not what was asked for: a page, JSON instead of a stream, a stream instead of JSON."""
        stated = head.headers.get("content-type", "")
        attempts = self.attempts
        wanted = dialect_module(attempts.target.upstream.dialect).MEDIA_TYPE if attempts.stream else "application/json"
        if stated == wanted:
            return None
        kind = stated.partition(";")[0].strip().lower()
        if kind in (wanted, "") or (kind.endswith("+json") and wanted == "application/json"):
            return None
        if wanted == "application/x-ndjson" and kind in ("application/ndjson", "application/json", "application/jsonl"):
            return None
        return ErrorInfo(
            "upstream_invalid", f"the provider answered with another content type than {wanted}", 502, safe_to_retry=True
        )

    def data_received(self, data: bytes) -> None:
        attempts = self.attempts
        if self.number != attempts.number:
            return
        if not self.error_status:
            if self.secret and self.secret in data:
                data = data.replace(self.secret, CENSORED)  # a provider, or a proxy before it, that shows what it was sent
            attempts.outcome.data_received(data)
        elif self.error_bytes < MAX_ERROR_BODY:
            self.error_body.append(data)
            self.error_bytes += len(data)
        else:
            self.over = True
            self.attempts.reject(self.answered_error())

    def ended(self) -> None:
        self.over = True
        if not self.current():
            return
        self.attempts.handle = None
        if self.error_status:
            self.attempts.failed_try(self.answered_error())
        else:
            self.attempts.outcome.ended()

    def failed(self, error: ErrorInfo) -> None:
        self.over = True
        if not self.current():
            return
        self.attempts.handle = None
        if self.error_status:
            error = self.answered_error()
        self.attempts.failed_try(error)

    def answered_error(self) -> ErrorInfo:
        """The provider's error answer as our caller may see it."""
        assert self.error_head is not None
        module = dialect_module(self.attempts.target.upstream.dialect)
        if 300 <= self.error_status < 400:
            return ErrorInfo("upstream_error", "the provider redirects, which is never followed; fix its base_url", 502)
        error = module.parse_error(self.error_status, b"".join(self.error_body))
        after = retry_after(self.error_head.headers)
        return replace(error, retry_after_s=after) if after is not None else error


def retry_after(headers: dict[str, str]) -> float | None:
    """Seconds from ``retry-after-ms`` or ``Retry-After`` (delta form), if it is stated sensibly."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * scale
        except ValueError:
            continue
        if 0 <= seconds <= MAX_RETRY_AFTER_S:
            return seconds
    return None


MAX_RETRY_AFTER_S = 86400.0


def backoff(tries: int, policy: RetryPolicy = GATEWAY_POLICY) -> float:
    """Jitter under a doubling bound."""
    return random.uniform(1 - policy.jitter, 1.0) * min(policy.backoff_s * 2.0 ** (tries - 1), policy.backoff_max_s)  # noqa: S311
