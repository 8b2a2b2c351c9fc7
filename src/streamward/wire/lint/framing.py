"""Rules of SSE framing, over raw bytes: what the standard demands, and what readers in the field need beyond it.

Most line-wise readers take one form only: LF, ``data: `` with its space, one line of data per frame, no frame without
data, whole frames in a read. Each rule names who breaks otherwise in docs/how-to/lint.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamward.wire.lint.finding import Finding, Rule, shown

RULES = (
    Rule("sse-utf8", "the body is UTF-8"),
    Rule("sse-bom", "no byte order mark: many readers lose the first frame to it", "warning"),
    Rule("sse-line-ends", "lines end in LF alone (a CR hides an end marker only)", "warning"),
    Rule("sse-data-space", "a space stands after `data:`: simple readers cut six characters", "warning"),
    Rule("sse-single-line", "a frame has one data line", "warning"),
    Rule("sse-no-empty-frame", "no frame without data: several SDKs hand it on, and fail"),
    Rule("sse-keep-alive", "keep-alives are comments; beside `id:` lines with no blank line after them"),
    Rule("sse-line-separators", "U+2028, U+2029 and U+0085 are escaped: splitlines() readers cut there", "warning"),
    Rule("sse-fields", "only the fields data, event, id and retry", "warning"),
    Rule("sse-whole-frames", "a network read holds whole frames: simple readers parse each read alone", "warning"),
    Rule("sse-last-frame", "the last frame is complete: a blank line ends it"),
)
END_MARKER = b": end\rdata: [DONE]"
SEPARATORS = (b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xc2\x85")


def blocks_of(body: bytes) -> tuple[list[bytes], bytes]:
    """The blocks of *body* as the standard separates them, line ends kept inside; and what follows the last one."""
    text = body.replace(b"\r\n\r\n", b"\n\n").replace(b"\r\r", b"\n\n") if b"\r" in body else body
    *blocks, rest = text.split(b"\n\n")
    return blocks, rest


def check_framing(body: bytes) -> Iterator[Finding]:
    """Findings about the bytes of a whole body. Frames are numbered as the reader numbers them: those with data."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        yield Finding("sse-utf8", f"byte {exc.start} is not UTF-8")
    if body.startswith(b"\xef\xbb\xbf"):
        yield Finding("sse-bom", "the body begins with one")
        body = body[3:]
    blocks, rest = blocks_of(body)
    has_ids = any(line.startswith(b"id:") for block in blocks for line in block.split(b"\n"))
    number = 0
    for block in blocks:
        if block.strip() == END_MARKER:
            number += 1
            continue
        yield from check_block(block, number, has_ids=has_ids)
        if any(line.startswith(b"data") for line in lines_of(block)):
            number += 1
    if rest.strip() and not all(line.startswith(b":") for line in lines_of(rest) if line):
        yield Finding("sse-last-frame", f"the body ends inside {shown(rest[:60])}", number)


def lines_of(block: bytes) -> list[bytes]:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def check_block(block: bytes, number: int, *, has_ids: bool) -> Iterator[Finding]:
    if b"\r" in block:
        yield Finding("sse-line-ends", f"a carriage return in {shown(block[:60])}", number)
    lines = [line for line in lines_of(block) if line]
    if not lines:
        return
    fields = [line for line in lines if not line.startswith(b":")]
    if not fields:
        if has_ids:
            yield Finding("sse-keep-alive", "a comment with a blank line after it, in a stream with ids", number)
        return
    data = [line for line in fields if line.partition(b":")[0] == b"data"]
    if not data:
        yield Finding("sse-no-empty-frame", f"{shown(fields[0][:60])} stands without data", number)
    elif not any(line.partition(b":")[2].strip() for line in data):
        yield Finding("sse-no-empty-frame", "`data:` is empty", number)
    if len(data) > 1:
        yield Finding("sse-single-line", f"{len(data)} data lines", number)
    for line in data:
        if line[4:5] == b":" and line[5:6] not in (b" ", b""):
            yield Finding("sse-data-space", shown(line[:40]), number)
        if any(separator in line for separator in SEPARATORS):
            yield Finding("sse-line-separators", f"a raw one in {shown(line[:60])}", number)
    for line in fields:
        name = line.partition(b":")[0]
        if name not in (b"data", b"event", b"id", b"retry"):
            yield Finding("sse-fields", f"the field {shown(name[:40])}", number)


def check_reads(reads: Sequence[bytes]) -> Iterator[Finding]:
    """Reads that end inside a frame. A read that the network filled to the brim is not the server's doing."""
    number, tail = 0, b""
    for at, data in enumerate(reads):
        *blocks, tail = (tail + data).replace(b"\r\n", b"\n").split(b"\n\n")
        number += len(blocks)
        comment = all(line.startswith(b":") for line in lines_of(tail) if line)
        if at + 1 < len(reads) and not comment and len(data) < FULL_READ:
            yield Finding("sse-whole-frames", f"a read of {len(data)} bytes ends inside a frame", number)


FULL_READ = 16 << 10
"""Reads of this size are cut by buffers on the way, not by a server's writes."""

