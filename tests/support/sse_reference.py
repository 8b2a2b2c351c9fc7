"""A naive reader of server-sent events: the WHATWG standard's text, step by step, on the whole stream at once.

Slow and plain on purpose. The real reader is compared with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Interpreted:
    """What a stream dispatched, and the state it left behind."""

    events: list[tuple[str, str, str]] = field(default_factory=list)
    """(data, event name, last event id) of each message."""
    last_event_id: str = ""
    retry_ms: int | None = None


def interpret(stream: bytes) -> Interpreted:
    """HTML, 9.2.6 "Interpreting an event stream"."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)
    lines.pop()  # what has no line end is no line yet
    seen = Interpreted()
    data = event = event_id = ""
    for line in lines:
        if line == "":
            seen.last_event_id = event_id
            if data != "":
                seen.events.append((data.removesuffix("\n"), event, event_id))
            data = event = ""
            continue
        if line.startswith(":"):
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data += value + "\n"
        elif name == "id":
            if "\0" not in value:
                event_id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            seen.retry_ms = int(value[:12])
    return seen
