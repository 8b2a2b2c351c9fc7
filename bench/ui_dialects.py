"""Cost of the UI dialects on the hot path, and of partial JSON: ``python bench/ui_dialects.py``.

Prints the best of several runs, in microseconds per delta and seconds per megabyte. No I/O.
"""

from __future__ import annotations

import json
import time
import timeit
from typing import Any

from streamward.events import Event, Start, StepStart, TextDelta, TextStart, ToolInputDelta, ToolInputStart
from streamward.wire import data_stream, text, ui_message
from streamward.wire.partial_json import PartialJson

DELTAS: dict[str, Event] = {
    "text delta, ASCII": TextDelta("text-0", " hello"),
    "text delta, other": TextDelta("text-0", " wörld “x”"),
    "tool input delta": ToolInputDelta("call-0", '{"ab'),
}


def encoders() -> dict[str, Any]:
    return {
        "UI message stream": ui_message.Encoder(),
        "data stream": data_stream.Encoder(data_stream.Options(tool_call_streaming=True)),
        "text stream": text.Encoder(),
    }


def per_delta(encoder: Any, event: Event, *, number: int = 200_000) -> float:
    """Microseconds for one delta to become its frame."""
    for first in (Start(), StepStart(), TextStart("text-0"), ToolInputStart("call-0", "tool")):
        encoder.feed(first)
    return min(timeit.repeat(lambda: encoder.feed(event), number=number, repeat=3)) / number * 1e6


def per_megabyte(*, ask_every: int) -> float:
    """Seconds for 1 MB of arguments in fragments of eight bytes, the value asked for each *ask_every* fragments."""
    rows = [{"id": number, "ok": True, "f": 1.5e3} for number in range(12_000)]
    whole = json.dumps({"file": "x = 1\n" * 80_000, "rows": rows}).ljust(1 << 20)
    parser = PartialJson()
    begin = time.perf_counter()
    for number, position in enumerate(range(0, len(whole), 8)):
        parser.feed(whole[position : position + 8])
        if ask_every and number % ask_every == 0:
            parser.value  # noqa: B018 - asking is what is timed
    return time.perf_counter() - begin


def main() -> None:
    for dialect in encoders():
        for name, event in DELTAS.items():
            print(f"{dialect:18} {name:18} {per_delta(encoders()[dialect], event):6.2f} µs")
    for ask_every in (0, 64, 1):
        print(f"partial JSON, 1 MB, asked every {ask_every or 'never':>5} {per_megabyte(ask_every=ask_every):6.2f} s")


if __name__ == "__main__":
    main()
