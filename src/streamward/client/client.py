"""The asynchronous client: streamed and whole answers from our gateway, or any server that speaks its dialects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from streamward.client.cursor import START
from streamward.client.failure import answered, total_passed
from streamward.client.policy import Retries, Timeouts
from streamward.client.request import MODULE_OF, Messages, request_body
from streamward.client.stream import KEY, STOP_WAIT_S, Stream, new_key
from streamward.client.transport import Http
from streamward.errors import InvalidRequest, StreamwardError, UpstreamInvalid, to_exception
from streamward.reply import Reply
from streamward.upstream.providers import PROVIDERS
from streamward.wire import json_text
from streamward.wire.dialect import Profile
from streamward.wire.table import dialect as dialect_module

OURS = Profile()
"""The gateway ends every finished stream with the dialect's marker; without it the stream was cut."""

UNKNOWN = Profile(ends_with="finish")
"""Some servers leave the marker out: a stated finish reason is an ending, the end of the body alone never is."""


class Client:
    """Calls to one server. Close it, or use it as ``async with``; calls may run side by side.

    Args:
        base_url: with the version, as servers document it: ``http://127.0.0.1:8787/v1``.
        resumable: ask for durable streams, which survive a lost connection. Servers that have none ignore it.
        profile: how the server deviates from its dialect; known providers are recognised by ``base_url``.
    """

    def __init__(
        self, base_url: str, *, api_key: str | None = None, timeouts: Timeouts | None = None,
        retries: Retries | None = None, headers: Mapping[str, str] | None = None, resumable: bool = True,
        profile: Profile | None = None,
    ) -> None:  # fmt: skip
        self.http = Http(base_url, api_key=api_key, headers=headers)
        self.timeouts = timeouts or Timeouts()
        self.retries = retries or Retries()
        self.resumable = resumable
        self.stated_profile = profile or known_profile(base_url)
        self.stopping: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; stops of abandoned streams are waited for, within their bound."""
        await self.stops(STOP_WAIT_S)
        await self.http.aclose()

    def stream(
        self, *, model: str, messages: Messages | None = None, dialect: str = "chat",
        headers: Mapping[str, str] | None = None, **settings: Any,
    ) -> Stream:  # fmt: skip
        """A streamed answer, to be entered with ``async with``. *settings* are fields of the request as they are.

        Raises:
            InvalidRequest: an unknown dialect, or messages that are none.
        """
        body = request_body(dialect, model, messages, settings, stream=True)
        stored = bool(settings.get("background"))
        return Stream(self, dialect, body=json_text.encode_compact(body), headers=headers, stored=stored)

    def follow(self, stream_id: str, *, after: int = START, dialect: str = "chat") -> Stream:
        """A durable stream that is there already: from its start, or after a frame's number.

        Leaving it early leaves it running: it belongs to whoever began it.
        """
        if dialect not in MODULE_OF:
            raise InvalidRequest(f'dialect is "chat" or "responses", not {dialect!r}', param="dialect")
        stream = Stream(self, dialect, follow=stream_id, after=after)
        stream.detached = True
        return stream

    async def create(
        self, *, model: str, messages: Messages | None = None, dialect: str = "chat",
        headers: Mapping[str, str] | None = None, **settings: Any,
    ) -> Reply:  # fmt: skip
        """A whole answer in one piece.

        All tries carry one ``Idempotency-Key`` (a stated one, or a new one when ``resumable``): a server that knows it
        gives the second try the answer that the first one began. Cancelling stops that answer.

        Raises:
            StreamwardError: the most specific class for what went wrong; retried first where that can help.
        """
        body = json_text.encode_compact(request_body(dialect, model, messages, settings, stream=False))
        module = dialect_module(MODULE_OF[dialect])
        total = self.timeouts.total
        tries = 0
        fields = {name.lower(): value for name, value in (headers or {}).items()}
        own_key = self.resumable and KEY not in fields
        if own_key:
            fields[KEY] = new_key()
        try:
            async with asyncio.timeout(total or None):
                while True:
                    tries += 1
                    try:
                        raw = await self.ask("POST", module.path("", stream=False), body, fields)
                        reply = module.parse_reply(raw, self.stated_profile or UNKNOWN)
                        if reply.error is not None:
                            raise to_exception(reply.error)
                        return reply
                    except StreamwardError as exc:
                        pause = self.retries.pause(tries, exc.info)
                        if not exc.info.safe_to_retry or tries > self.retries.attempts or pause is None:
                            raise
                    await asyncio.sleep(pause)
        except BaseException as exc:
            if own_key and isinstance(exc, (asyncio.CancelledError, TimeoutError)) and self.stated_profile is None:
                self.stop_later("/streams/stop", {KEY: fields[KEY]})
            if isinstance(exc, TimeoutError):
                raise to_exception(total_passed(total)) from None
            raise

    async def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
        """One request and its JSON answer. Raises what the server said, or what broke."""
        incoming = self.http.open(
            method, path, body, headers={"accept": "application/json", **headers}, timeouts=self.timeouts
        )
        try:
            head = await incoming.head()
            if not 200 <= head.status < 300:
                raise to_exception(answered(head.status, head.headers, await incoming.error_body()))
            raw = await incoming.body()
        finally:
            incoming.close()
        try:
            value = json_text.decode_any(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise UpstreamInvalid("the server's answer is not a JSON object; check base_url")
        return value

    # -- for streams

    def profile(self, headers: Mapping[str, str]) -> Profile:
        if self.stated_profile is not None:
            return self.stated_profile
        return OURS if "x-streamward-id" in headers or "x-streamward-stream-id" in headers else UNKNOWN

    def stop_later(self, path: str, headers: Mapping[str, str] | None = None) -> None:
        """Stop an abandoned durable stream on its server, without making anybody wait."""
        task = asyncio.get_running_loop().create_task(self.stop_stream(path, headers or {}), name="streamward-client-stop")
        self.stopping.add(task)
        task.add_done_callback(self.stopping.discard)

    async def stop_stream(self, path: str, headers: Mapping[str, str]) -> None:
        try:
            async with asyncio.timeout(STOP_WAIT_S):
                await self.ask("POST", path, b"{}", headers)
        except (StreamwardError, TimeoutError):
            pass  # it has ended, or the server is gone: nobody is left to tell

    async def stops(self, wait_s: float) -> None:
        """Wait until the stops under way are done, at most *wait_s* seconds."""
        if self.stopping:
            await asyncio.wait(self.stopping, timeout=wait_s)


def known_profile(base_url: str) -> Profile | None:
    """The profile of the provider at this address, if it is one we know."""
    address = urlsplit(base_url).netloc
    return next((row.profile for row in PROVIDERS.values() if urlsplit(row.base_url).netloc == address), None)

