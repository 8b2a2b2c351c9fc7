"""Compaction: a conversation as one opaque item, accepted back as input.

The item's ``encrypted_content`` holds a summary by the same model, marked and encoded so that nobody takes it for text
of theirs. It is opaque, not secret: whoever holds it has seen the conversation. Follows Open Responses 2026-04-24.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import Any

from streamward.errors import InvalidRequest
from streamward.wire.responses.items import Item

SEAL = "sw1.compaction."
MAX_SUMMARY_BYTES = 4 << 20  # unpacked: a summary is a few kilobytes, and a bomb is refused

INSTRUCTIONS = (
    "Summarise the conversation so that another model can continue it without having seen it. Keep every decision, fact, "
    "name, number, file, open task and preference that may matter later, and what the user asked for last. Write plain "
    "text, in the language of the conversation, and nothing but the summary."
)
REQUEST = "Summarise our conversation so far, as your instructions say."
LEAD = "Summary of the earlier conversation, which was compacted:\n\n"


def sealed(summary: str) -> str:
    """*summary* as ``encrypted_content``."""
    return SEAL + base64.urlsafe_b64encode(zlib.compress(summary.encode("utf-8", "replace"), 9)).decode()


def unsealed(content: str) -> str | None:
    """The summary in an ``encrypted_content`` of ours; None when it is not one."""
    if not content.startswith(SEAL):
        return None
    try:
        unpack = zlib.decompressobj()
        text = unpack.decompress(base64.urlsafe_b64decode(content[len(SEAL) :]), MAX_SUMMARY_BYTES)
        return text.decode() if unpack.eof else None
    except (binascii.Error, zlib.error, ValueError):
        return None


def expand_compactions(items: Sequence[Any]) -> list[Any]:
    """*items* with each compaction item of ours as the message it means; those of a provider stay for the provider.

    Raises:
        InvalidRequest: an item that bears our mark and was damaged.
    """
    return [expanded(item, index) if is_ours(item) else item for index, item in enumerate(items)]


def is_ours(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "compaction"
        and isinstance(item.get("encrypted_content"), str)
        and item["encrypted_content"].startswith(SEAL)
    )


def expanded(item: Item, index: int) -> Item:
    summary = unsealed(item["encrypted_content"])
    if summary is None:
        raise InvalidRequest(
            "the compaction item was changed on its way: send it back as it came", param=f"input[{index}].encrypted_content"
        )
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": LEAD + summary}]}
