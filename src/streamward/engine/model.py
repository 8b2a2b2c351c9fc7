"""The seam between the engine and whoever answers model calls.

A :class:`Model` opens a :class:`ModelStream` for a call: events in the grammar of one stream, pulled. Upstream targets,
scripted models of tests and middleware all are models. Which model a name means is ``resolve``'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from streamward.call import Call
from streamward.events import Event
from streamward.upstream.attempts import RetryPolicy, Target
from streamward.upstream.source import EventSource
from streamward.upstream.upstream import HttpUpstream

MAX_RETRIES = 2
RETRY_WAIT_S = 2.0
RETRY_WAIT_MAX_S = 60.0
"""A Retry-After up to this is waited for, as the AI SDK does; a longer one is the caller's decision."""


class CallOptions(Struct, frozen=True, kw_only=True):
    """What travels beside a call: not part of what is asked, but of how."""

    max_retries: int = MAX_RETRIES
    headers: Mapping[str, str] = {}
    provider_options: Mapping[str, Any] = {}

    @property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(
            retries=self.max_retries, backoff_s=RETRY_WAIT_S, backoff_max_s=RETRY_WAIT_MAX_S, jitter=0.1,
            max_wait_s=RETRY_WAIT_MAX_S,
        )  # fmt: skip


DEFAULT_OPTIONS = CallOptions()


class ModelStream(Protocol):
    """The events of one model call. Not started before the first ``read``; one reader."""

    async def read(self) -> Sequence[Event]:
        """The next events, at least one; none once the terminal event was read. Cancelling loses nothing."""

    def cancel(self) -> None:
        """Stop at once; the provider learns of it. Safe at any time, and more than once."""


@runtime_checkable
class Model(Protocol):
    """Somebody who answers model calls."""

    @property
    def id(self) -> str:
        """For people: ``openai/gpt-4o-mini``."""

    def open(self, call: Call, options: CallOptions, /) -> ModelStream:
        """The stream of *call*; nothing is sent yet."""


class UpstreamModel:
    """A model behind the provider connections: a name and the targets that serve it."""

    def __init__(self, model_id: str, targets: Sequence[Target]) -> None:
        self.id = model_id
        self.targets = tuple(targets)

    def open(self, call: Call, options: CallOptions = DEFAULT_OPTIONS, /) -> ModelStream:
        targets = self.targets
        if options.headers:
            targets = tuple(with_headers(target, options.headers) for target in targets)
        call = replace(call, model=self.id, stream=True, include_usage=True)
        return EventSource(call, targets, options.policy)


def with_headers(target: Target, headers: Mapping[str, str]) -> Target:
    if isinstance(target.upstream, HttpUpstream):
        return Target(target.upstream.with_headers(headers), target.model)
    return target
