"""However an upstream frames its events, every client is told the same: line ends, comments, spaces, a byte order mark."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from matrix.render import CLIENTS, PAIRS, expected, meaning, render, upstream_file


def crlf(raw: bytes) -> bytes:
    return raw.replace(b"\n", b"\r\n")


def cr(raw: bytes) -> bytes:
    return raw.replace(b"\n", b"\r")


def commented(raw: bytes) -> bytes:
    """A comment before every line, so also between ``event`` and ``data``, and as blocks of their own."""
    return b": hi\n\n" + b"".join(b": ping - 1\n" + line + b"\n" for line in raw.split(b"\n")[:-1])


def unspaced(raw: bytes) -> bytes:
    return raw.replace(b"\ndata: ", b"\ndata:").replace(b"\nevent: ", b"\nevent:")


def marked(raw: bytes) -> bytes:
    return b"\xef\xbb\xbf" + raw


FRAMINGS = [crlf, cr, commented, unspaced, marked]
SSE = [pair for pair in PAIRS if pair[0] != "ollama"]


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: framing.__name__)
@pytest.mark.parametrize(("upstream", "case"), SSE)
def test_framing_changes_nothing(upstream: str, case: str, framing: Callable[[bytes], bytes]):
    """In one read, in single bytes, and in reads that end between a CR and its LF, in every client's dialect."""
    raw = framing(upstream_file(upstream, case).read_bytes())
    single = [raw[at : at + 1] for at in range(len(raw))]
    halves = [part + b"\r" for part in raw.split(b"\r")]
    halves[-1] = halves[-1][:-1]

    for client in CLIENTS:
        for reads in ([raw], single, halves):
            assert meaning(client, render(client, upstream, reads)) == expected(client, upstream, case), client


@pytest.mark.parametrize("case", [case for upstream, case in PAIRS if upstream == "ollama"])
def test_crlf_lines_of_ndjson_change_nothing(case: str):
    raw = crlf(upstream_file("ollama", case).read_bytes())

    for client in CLIENTS:
        assert meaning(client, render(client, "ollama", [raw])) == expected(client, "ollama", case), client


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\v", "\f"], ids=lambda text: f"U+{ord(text):04X}")
@pytest.mark.parametrize("upstream", sorted({upstream for upstream, _ in PAIRS}))
def test_raw_line_separators_are_text(upstream: str, separator: str):
    """What some readers of lines take for an end of line stands in the text as it was sent, raw where JSON allows it."""
    sent = separator if separator not in "\v\f" else f"\\u{ord(separator):04x}"
    raw = upstream_file(upstream, "text").read_bytes()
    changed = raw.replace("\u2028".encode(), sent.encode())
    assert "\u2028".encode() in raw

    for client in CLIENTS:
        for reads in ([changed], [changed[at : at + 1] for at in range(len(changed))]):
            said = meaning(client, render(client, upstream, reads))
            assert said.text == expected(client, upstream, "text").text.replace("\u2028", separator), client
