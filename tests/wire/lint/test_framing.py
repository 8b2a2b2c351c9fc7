"""SSE framing, byte by byte."""

import pytest

from streamward.wire.lint.framing import check_framing, check_reads

GOOD = b'data: {"a":1}\n\nid: 3\ndata: {"a":2}\n\n: keep-alive\ndata: [DONE]\n\n: end\rdata: [DONE]\n\n'


def rules(body: bytes) -> set[str]:
    return {finding.rule for finding in check_framing(body)}


def test_the_form_that_every_reader_takes_breaks_nothing():
    assert rules(GOOD) == set()
    assert rules(b": keep-alive\n\ndata: x\n\n") == set()


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("sse-utf8", b"data: \xff\n\n"),
        ("sse-bom", b"\xef\xbb\xbfdata: x\n\n"),
        ("sse-line-ends", b"data: x\r\nid: 1\r\n\r\n"),
        ("sse-data-space", b"data:x\n\n"),
        ("sse-single-line", b"data: x\ndata: y\n\n"),
        ("sse-no-empty-frame", b"event: ping\n\n"),
        ("sse-no-empty-frame", b"retry: 3000\n\n"),
        ("sse-no-empty-frame", b"data:\n\n"),
        ("sse-keep-alive", b"id: 1\ndata: x\n\n: keep-alive\n\n"),
        ("sse-line-separators", "data: \u2028\n\n".encode()),
        ("sse-fields", b"data: x\nretries: 1\n\n"),
        ("sse-last-frame", b"data: x\n\ndata: y\n"),
    ],
)
def test_each_rule(rule: str, body: bytes):
    assert rules(body) == {rule}


def test_reads_hold_whole_frames():
    whole = [b"data: x\n\ndata: y\n\n", b": keep-alive\n", b"data: z\n\n"]
    split = [b"data: x\n\ndata: ", b"y\n\n"]
    named = [b"event: x\n", b"data: y\n\n"]

    assert list(check_reads(whole)) == []
    assert [finding.rule for finding in check_reads(split)] == ["sse-whole-frames"]
    assert [finding.frame for finding in check_reads(named)] == [0]
    assert list(check_reads([b"data: " + b"x" * (16 << 10), b"\n\n"])) == []
