"""Pure parts of stored and background responses: conversations, listings, snapshots without a stream.

The store itself, ids and time are the gateway's; everything here works on request bodies and items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamward.errors import InvalidRequest, NotFound
from streamward.wire.dialect import Context
from streamward.wire.responses import fields, snapshot
from streamward.wire.responses.items import RESPONSE_PREFIX, Item

DEFAULT_PAGE = 20
MAX_PAGE = 100

PREFIX_OF_INPUT = {
    "message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco", "compaction": "cmp",
}  # fmt: skip


def queued(context: Context) -> dict[str, Any]:
    """The response object of a background run that has not begun."""
    return {**snapshot.base(context), "status": "queued"}


def in_progress(context: Context) -> dict[str, Any]:
    return snapshot.base(context)


def cancelled(response: dict[str, Any]) -> dict[str, Any]:
    """*response* as it is once it was cancelled, with what it had put out; one that is over stays as it is."""
    if response.get("status") not in ("queued", "in_progress"):
        return response
    output = [
        {**item, "status": "incomplete"} if item.get("status") == "in_progress" else item for item in response["output"]
    ]
    return {**response, **snapshot.cancelled(), "output": output}


def input_items(body: dict[str, Any], seed: str) -> list[Item]:
    """The input of *body* as stored items: every one with ``type`` and an id, made from *seed* where it has none."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    return [with_id(item, seed, index) for index, item in enumerate(items)]


def with_id(item: Item, seed: str, index: int) -> Item:
    kind = item.get("type") or "message"
    prefix = PREFIX_OF_INPUT.get(kind, "item")
    stored = {"id": f"{prefix}_{seed.removeprefix(RESPONSE_PREFIX)}_in{index}", **item, "type": kind}
    if not stored["id"]:
        stored["id"] = f"{prefix}_{seed.removeprefix(RESPONSE_PREFIX)}_in{index}"
    if kind == "message":
        text = "output_text" if item.get("role") == "assistant" else "input_text"
        if isinstance(item.get("content"), str):
            part: Item = {"type": text, "text": item["content"]}
            stored["content"] = [{**part, "annotations": [], "logprobs": []} if text == "output_text" else part]
        stored.setdefault("status", "completed")
    elif kind in ("function_call", "function_call_output"):
        stored.setdefault("status", "completed")
    return stored


def resolve_references(items: Sequence[Any], lookup: Callable[[str], Item | None]) -> list[Any]:
    """*items* with each ``item_reference`` replaced by the item that *lookup* finds under its id.

    Raises:
        NotFound: nothing is stored under that id; ``info.param`` names the item.
    """
    resolved = []
    for index, item in enumerate(items):
        if not (isinstance(item, dict) and is_reference(item)):
            resolved.append(item)
            continue
        where = f"input[{index}]"
        found = lookup(fields.required_text(item, "id", where))
        if found is None:
            raise NotFound(
                f"'{where}.id' names {fields.shown(item['id'])}, but no such item is stored; send the item itself",
                code="item_not_found", param=f"{where}.id",
            )  # fmt: skip
        resolved.append(found)
    return resolved


def is_reference(item: Item) -> bool:
    """``{"id": ...}`` alone is a reference too: the specification makes its type optional."""
    return item.get("type") == "item_reference" or (item.get("type") is None and set(item) == {"id"})


def conversation(history: Sequence[Item], body: dict[str, Any], output: Sequence[Item], seed: str) -> list[Item]:
    """What the next turn continues from: earlier items, this request's input, this response's output, in order."""
    return [*history, *input_items(body, seed), *output]


def list_items(
    items: Sequence[Item], *, limit: int | None = None, order: str | None = None, after: str | None = None
) -> dict[str, Any]:
    """One page of stored input items, as ``GET .../input_items`` answers; newest first unless *order* says ``asc``.

    Raises:
        InvalidRequest: naming the query parameter.
    """
    if limit is not None and not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"'limit' must be between 1 and {MAX_PAGE}, not {limit}", param="limit")
    if order not in (None, "asc", "desc"):
        raise InvalidRequest(f"'order' must be asc or desc, not {fields.shown(order)}", param="order")
    page = list(items) if order == "asc" else list(reversed(items))
    if after is not None:
        place = next((index for index, item in enumerate(page) if item.get("id") == after), None)
        if place is None:
            raise InvalidRequest(f"'after' names {fields.shown(after)}, which is not among the items", param="after")
        page = page[place + 1 :]
    size = limit or DEFAULT_PAGE
    data = page[:size]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(page) > size,
    }
