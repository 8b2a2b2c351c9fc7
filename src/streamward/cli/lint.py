"""``streamward lint``: every rule of a stream, on a live URL or a file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from streamward.cli.probe import Request, capture_live
from streamward.errors import InvalidRequest
from streamward.wire.lint import Capture, Linted, Read, is_capture, lint, load, public_url


def read_file(path: Path) -> Capture:
    """A capture file, or the raw bytes of a body (``-``: standard input).

    Raises:
        InvalidRequest: it cannot be read, or is a broken capture.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as exc:
        raise InvalidRequest(f"{path} cannot be read: {exc.strerror}") from None
    if is_capture(data[:400].decode("utf-8", "replace")):
        return load(data.decode("utf-8", "replace").splitlines())
    return Capture(reads=[Read(0.0, data)] if data else [])


def run_lint(
    target: str, request: Request | None, *, dialect: str | None, as_json: bool, show_all: bool, strict: bool
) -> int:
    """Lint *target*: the answer to *request*, or a file. 1 when a rule is broken (a warning counts when *strict*)."""
    console = Console()
    if request is not None:
        with Console(stderr=True).status(f"reading {request.url}", spinner="dots"):
            capture = asyncio.run(capture_live(request))
        if capture.status == 0:
            why = capture.error or "nothing came"
            raise InvalidRequest(f"no answer from {public_url(request.url)}: {why}; is a server running there?")
    else:
        capture = read_file(Path(target))
    if capture.status == 200:
        linted = lint(capture, dialect, pace_s=request.pace_s if request is not None else 0.0)
    else:
        raise InvalidRequest(f"the server answered {capture.status}: {shown_body(capture)}")
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(as_value(linted))).decode() + "\n")
    else:
        show(console, linted, show_all=show_all)
    return 1 if linted.report.errors or (strict and linted.report.warnings) else 0


def shown_body(capture: Capture) -> str:
    text = capture.body[:200].decode("utf-8", "replace")
    return " ".join(text.split()) or "an empty body"


def as_value(linted: Linted) -> dict[str, Any]:
    results = linted.report.results.values()
    return {
        "dialect": linted.dialect, "frames": linted.frames, "ending": linted.ending, "errors": linted.report.errors,
        "warnings": linted.report.warnings, "timing": linted.timing, "rules": list(results),
    }  # fmt: skip


def show(console: Console, linted: Linted, *, show_all: bool) -> None:
    report = linted.report
    console.print(f"[bold]{linted.dialect}[/bold]  {linted.frames} frames, {linted.ending}", highlight=False)
    if linted.timing is not None and linted.timing.last_s > 0:
        timing = linted.timing
        console.print(
            f"first content after {timing.first_s * 1000:.0f} ms, {timing.frames} deltas in {timing.pieces} pieces "
            f"over {timing.last_s - timing.first_s:.2f} s, at most {timing.largest} together",
            style="dim", highlight=False,
        )  # fmt: skip
    for result in report.results.values():
        if result.broken:
            colour, mark = ("red", "✗") if result.severity == "error" else ("yellow", "!")
            console.print(f"[{colour}]{mark} {result.name}[/{colour}]  {result.demand}", highlight=False)
            table = Table.grid(padding=(0, 1, 0, 2))
            for finding in result.findings:
                table.add_row("" if finding.frame is None else f"frame {finding.frame}", finding.message)
            if result.broken > len(result.findings):
                table.add_row("", f"and {result.broken - len(result.findings)} more")
            console.print(table, highlight=False, markup=False)
        elif show_all:
            console.print(f"[green]✓ {result.name}[/green]  [dim]{result.demand}[/dim]", highlight=False)
    held = len(report.results) - len(report.broken)
    console.print(
        f"{held} of {len(report.results)} rules hold, {report.errors} broken, {report.warnings} warnings", highlight=False
    )
