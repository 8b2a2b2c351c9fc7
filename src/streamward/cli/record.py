"""``streamward record``: a live stream to a capture file."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from streamward.cli.probe import Request, capture_live
from streamward.errors import InvalidRequest
from streamward.wire.lint import Capture, dump, public_url


def run_record(request: Request, out: Path, *, with_request: bool) -> int:
    """Write the answer to *request* to *out* (``-``: standard output). 1 when the server gave no whole answer."""
    console = Console(stderr=True)
    with console.status(f"recording {request.url}", spinner="dots"):
        capture = asyncio.run(capture_live(request))
    if capture.status == 0:
        why = capture.error or "nothing came"
        raise InvalidRequest(f"no answer from {public_url(request.url)}: {why}; is a server running there?")
    if with_request and request.body is not None:
        capture.request = json.loads(request.body)
    write(out, dump(capture))
    size = len(capture.body)
    console.print(
        f"{capture.status}, {size} bytes in {len(capture.reads)} reads over {capture.ended_at_s:.2f} s, {capture.ending}"
        + (f" ({capture.error})" if capture.error else "")
        + (f" -> {out}" if str(out) != "-" else ""),
        highlight=False,
    )
    return exit_code(capture)


def exit_code(capture: Capture) -> int:
    return 0 if capture.status == 200 and capture.ending == "complete" else 1


def write(out: Path, lines: Iterable[str]) -> None:
    if str(out) == "-":
        sys.stdout.writelines(lines)
        return
    try:
        with out.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
    except OSError as exc:
        raise InvalidRequest(f"{out} cannot be written: {exc.strerror}") from None
