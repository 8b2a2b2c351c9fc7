"""Provider ``local``: the engine of ``local`` as an upstream.

The engine is an ordinary Chat Completions server on loopback; what is added here is the time before it is up, and that
it is asked for streams only (:mod:`streamward.upstream.local_collect`).
"""

from __future__ import annotations

import asyncio

from streamward.dataplane.client import Receiver, Timeouts
from streamward.dataplane.pool import Pool
from streamward.errors import ErrorInfo
from streamward.upstream.local import LocalEngine
from streamward.upstream.local_collect import Collected, as_stream
from streamward.upstream.upstream import Handle, HttpUpstream
from streamward.wire.dialect import Profile

PROFILE = Profile(max_tokens_field="max_tokens", developer_role=False)


class LocalUpstream:
    """One GGUF model. A call made before the engine is up fails at once, retriably, and says so."""

    name = "local"
    dialect = "chat_completions"
    profile = PROFILE
    secret = b""
    retries = 5  # a restart of the engine takes less than their back-off adds up to

    def __init__(self, engine: LocalEngine, pool: Pool, timeouts: Timeouts | None = None) -> None:
        self.engine = engine
        self.pool = pool
        self.timeouts = timeouts or Timeouts()
        self.models = (engine.name.partition("/")[2],)
        self.http: HttpUpstream | None = None

    def send(self, model: str, body: bytes, *, stream: bool, receiver: Receiver) -> Handle:
        engine = self.engine
        if model != self.models[0]:
            known = ErrorInfo("model_not_found", f"the local engine holds {engine.name} only", 404)
            return Refusal(receiver, known)
        if not engine.running:
            why = engine.failure or "the local model is still loading"
            return Refusal(receiver, ErrorInfo("upstream_reset", why[:300], 503, safe_to_retry=engine.failure is None))
        if self.http is None:
            self.http = HttpUpstream(
                self.name, engine.base_url, pool=self.pool, dialect=self.dialect, profile=self.profile,
                api_key=engine.api_key, timeouts=self.timeouts,
            )  # fmt: skip
        streamed = None if stream else as_stream(body)
        if streamed is not None:  # what was given up stops at its next token
            return self.http.send(model, streamed, stream=True, receiver=Collected(receiver, self.profile))
        return self.http.send(model, body, stream=stream, receiver=receiver)


class Refusal:
    """A call that fails without being made."""

    def __init__(self, receiver: Receiver, error: ErrorInfo) -> None:
        self.pending = asyncio.get_running_loop().call_soon(receiver.failed, error)

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def let_go(self) -> None: ...

    def cancel(self) -> None:
        self.pending.cancel()
