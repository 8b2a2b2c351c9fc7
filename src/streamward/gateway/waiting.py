"""An exchange whose caller is being looked up: keeps what the request brings until it is known, then steps aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamward.dataplane.exchange import Exchange, Request, Sink
from streamward.errors import ErrorInfo, StreamwardError
from streamward.gateway.auth import Caller

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway


class WaitingExchange:
    """Hands everything to the real exchange, as soon as there is one. The body is not read until then."""

    __slots__ = ("body", "body_timeout_s", "cors", "ended", "gateway", "gone", "inner", "paused", "request", "sink")

    def __init__(self, gateway: Gateway, request: Request, sink: Sink, cors: bytes) -> None:
        self.gateway = gateway
        self.request = request
        self.sink = sink
        self.cors = cors
        self.body_timeout_s = gateway.config.limits.body_timeout_s
        self.inner: Exchange | None = None
        self.body: list[bytes] = []
        self.ended = False
        self.gone = False
        self.paused = False
        sink.pause_body()
        gateway.spawn(self.wait())

    async def wait(self) -> None:
        caller: Caller | ErrorInfo
        try:
            caller = await self.gateway.keys.find(self.request)
        except StreamwardError as exc:
            caller = exc.info
        except BaseException:
            self.sink.abort()
            raise
        if self.gone:
            return
        self.sink.resume_body()
        inner = self.inner = self.gateway.open_for(self.request, self.sink, self.cors, caller)
        body, self.body = self.body, []
        if isinstance(caller, ErrorInfo):
            return  # it has been answered
        for piece in body:
            inner.body_received(piece)
        if self.ended:
            inner.body_ended()
        if self.paused:
            inner.pause()

    def body_received(self, data: bytes) -> None:
        if self.inner is not None:
            self.inner.body_received(data)
        else:
            self.body.append(data)

    def body_ended(self) -> None:
        self.ended = True
        if self.inner is not None:
            self.inner.body_ended()

    def disconnected(self) -> None:
        self.gone = True
        if self.inner is not None:
            self.inner.disconnected()

    def pause(self) -> None:
        self.paused = True
        if self.inner is not None:
            self.inner.pause()

    def resume(self) -> None:
        self.paused = False
        if self.inner is not None:
            self.inner.resume()

    def drain(self) -> None:
        if self.inner is not None:
            self.inner.drain()
