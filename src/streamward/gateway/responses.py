"""Stored responses as the gateway's routes see them: read, continued, cancelled, forgotten.

A response is stored when it ends; one in the background is stored at once, and its durable stream says how far it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from streamward.durable import FramesGone, StreamState
from streamward.errors import InvalidRequest, NotFound, StreamwardError
from streamward.gateway.storage import Storage, StoredResponse
from streamward.gateway.stream_frames import INTERRUPTED
from streamward.wire import json_text
from streamward.wire.responses import snapshot, stored
from streamward.wire.responses.encode import payload_of
from streamward.wire.responses.items import Item

if TYPE_CHECKING:
    from streamward.gateway.config import Config
    from streamward.gateway.durable_calls import Durable

SWEEP_S = 60.0
LAST_FRAMES = 3  # the terminal event, the end marker, and one to spare
CANCEL_WAIT_S = 5.0

log = logging.getLogger("streamward.gateway")


class Responses:
    """The stored responses of this worker's database, and the streams of those that run in the background."""

    def __init__(self, config: Config, storage: Storage, durable: Durable, clock: Callable[[], float] = time.time) -> None:
        self.config = config.storage
        self.storage = storage
        self.table = storage.responses
        self.durable = durable
        self.clock = clock

    # -- writing

    def record(
        self, response: dict[str, Any], given: Sequence[Item], tenant: str, *, background: bool = False
    ) -> StoredResponse:
        """The row for *response*, whose input items were *given*."""
        now = self.clock()
        return StoredResponse(
            response["id"], tenant, response, list(given), response.get("previous_response_id"), background, now,
            now + self.config.retention_s,
        )  # fmt: skip

    def keep(self, row: StoredResponse) -> None:
        """Store *row* soon; a background response is there already and is brought up to date."""
        statements = self.table.update(row) if row.background else self.table.insert(row)
        self.storage.database.later(*statements)

    async def keep_now(self, row: StoredResponse) -> None:
        await self.storage.database.run(*self.table.insert(row))

    # -- reading

    async def row(self, response_id: str, tenant: str) -> StoredResponse:
        """
        Raises:
            NotFound: unknown, forgotten, or another tenant's.
        """
        found = await self.table.get(response_id, tenant, self.clock())
        if found is None:
            raise NotFound(f"there is no response {response_id[:64]!r}: it was not stored, was deleted, or is not yours")
        return found

    async def view(self, response_id: str, tenant: str) -> StoredResponse:
        """The response as it is now. Raises NotFound."""
        row = await self.row(response_id, tenant)
        if row.background and row.response.get("status") in UNFINISHED:
            return with_response(row, await self.progress(row))
        return row

    async def progress(self, row: StoredResponse) -> dict[str, Any]:
        """How far a background response is whose ending has not come to the database (yet, or ever)."""
        state = await self.durable.streams.store.state(row.id)
        if state is None:
            return {**row.response, **snapshot.failed(INTERRUPTED)}
        if state.live:
            return {**row.response, "status": "in_progress" if state.next else "queued"}
        final = await self.final(state)
        if final is None:
            final = {**row.response, **snapshot.failed(INTERRUPTED)}
        self.keep(with_response(row, final))
        return final

    async def final(self, state: StreamState) -> dict[str, Any] | None:
        """The response object in a stream's terminal event."""
        found: dict[str, Any] | None = None
        try:
            reader = await self.durable.streams.tail(state.id, after=max(state.next - LAST_FRAMES, state.earliest) - 1)
            async with reader as frames:
                async for frame in frames:
                    event = json_text.decode_any(payload_of(frame.data) or b"null")
                    if isinstance(event, dict) and event.get("type") in TERMINAL_EVENTS:
                        found = event["response"]
        except (FramesGone, NotFound):
            return None
        return found

    # -- conversations

    async def history(self, response_id: str, tenant: str) -> list[Item]:
        """All items of the conversation up to and with the response *response_id*.

        Raises:
            InvalidRequest: it is not stored, not finished, or something it continues is gone.
        """
        chain = await self.table.chain(response_id, tenant, self.clock())
        if not chain:
            raise no_previous(response_id)
        if chain[0].previous_id is not None:
            raise no_previous(chain[0].previous_id)
        last = chain[-1]
        if last.background and last.response.get("status") in UNFINISHED:
            chain[-1] = last = with_response(last, await self.progress(last))
            if last.response.get("status") in UNFINISHED:
                raise InvalidRequest(
                    f"the response {response_id[:64]!r} is still {last.response['status']}: wait for its end first",
                    code="previous_response_not_finished", param="previous_response_id",
                )  # fmt: skip
        return [item for row in chain for item in row.items]

    async def with_references(self, items: list[Any], tenant: str) -> list[Any]:
        """*items* with each ``item_reference`` replaced by the stored item. Raises NotFound."""
        ids = [
            item["id"] for item in items
            if isinstance(item, dict) and stored.is_reference(item) and isinstance(item.get("id"), str)
        ]  # fmt: skip
        found = await self.table.items(ids, tenant, self.clock()) if ids else {}
        return stored.resolve_references(items, found.get)

    # -- ending and forgetting

    async def cancel(self, response_id: str, tenant: str) -> dict[str, Any]:
        """Stop a background response; one that is over stays as it is.

        Raises:
            NotFound, InvalidRequest: it is not one of the background.
        """
        row = await self.view(response_id, tenant)
        if not row.background:
            raise InvalidRequest("only responses created with background=true can be cancelled", param="response_id")
        if row.response.get("status") in UNFINISHED:
            await self.durable.streams.stop(response_id, wait_s=CANCEL_WAIT_S)
            row = await self.view(response_id, tenant)
        return row.response

    async def delete(self, response_id: str, tenant: str) -> dict[str, Any]:
        """Forget a response; one that still runs is stopped. Raises NotFound."""
        row = await self.row(response_id, tenant)
        if row.background and row.response.get("status") in UNFINISHED:
            await self.durable.streams.store.request_stop(response_id)
        await self.table.delete(response_id, tenant)
        return {"id": response_id, "object": "response", "deleted": True}

    async def upkeep(self) -> None:
        """Forget what is past retention and bounds, for as long as this worker lives."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.table.sweep(
                    self.clock(), max_rows=self.config.max_responses, max_chars=self.config.max_response_bytes
                )
            except StreamwardError as exc:
                log.error("storage_sweep_failed", extra={"reason": str(exc)})


def with_response(row: StoredResponse, response: dict[str, Any]) -> StoredResponse:
    return StoredResponse(
        row.id, row.tenant, response, row.input, row.previous_id, row.background, row.created_at, row.expires_at
    )


def no_previous(response_id: str) -> InvalidRequest:
    return InvalidRequest(
        f"the earlier response {response_id[:64]!r} is not stored here: send the whole conversation as input",
        code="previous_response_not_found", param="previous_response_id",
    )  # fmt: skip


UNFINISHED = frozenset({"queued", "in_progress"})
TERMINAL_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})
