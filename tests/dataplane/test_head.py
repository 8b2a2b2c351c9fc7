"""Request heads: the one that is like the last one is read alike."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamward.dataplane.head import BadRequest, Head, LastHead, Limits, parse_head

POST = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nX-Y: 1\r\n\r\n"
CHUNKED = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def strictly(raw: bytes) -> Head | None:
    try:
        return parse_head(raw, Limits())
    except BadRequest:
        return None


@pytest.mark.parametrize("raw", [POST, CHUNKED, GET], ids=["a length", "chunked", "no body"])
def test_the_same_head_again_is_the_same(raw: bytes) -> None:
    head = parse_head(raw, Limits())

    assert LastHead(raw, head).again(raw) is head


@pytest.mark.parametrize("length", [b"0", b"7", b"12345", b"9" * 18])
def test_another_length_changes_nothing_else(length: bytes) -> None:
    raw = POST.replace(b"12", length)

    assert LastHead(POST, parse_head(POST, Limits())).again(raw) == parse_head(raw, Limits())


def test_another_head_has_another_memo() -> None:
    """What an application keeps with a head is never seen by another one."""
    one, two = LastHead(POST, parse_head(POST, Limits())), LastHead(POST, parse_head(POST, Limits()))

    one.memo.value = "known"

    assert two.memo.value is None


def test_the_last_head_is_not_changed_by_the_next() -> None:
    head = parse_head(POST, Limits())

    LastHead(POST, head).again(POST.replace(b"12", b"7"))

    assert head == parse_head(POST, Limits())


@pytest.mark.parametrize(
    "raw",
    [
        POST.replace(b"12", b""), POST.replace(b"12", b"-1"), POST.replace(b"12", b"1 2"), POST.replace(b"12", b"1\r\nX: 2"),
        POST.replace(b"12", b"9" * 19), POST.replace(b"12", b"0x1"), POST.replace(b"X-Y: 1", b"X-Y: 2"),
        POST.replace(b"12", b"1\r\nContent-Length: 2"), POST.replace(b"12", "\u0663".encode()), CHUNKED, GET,
    ],
)  # fmt: skip
def test_any_other_difference_is_read_anew(raw: bytes) -> None:
    assert LastHead(POST, parse_head(POST, Limits())).again(raw) is None


@given(st.sampled_from([POST, CHUNKED, GET]), st.integers(0, 70), st.integers(0, 12), st.binary(max_size=12))
@example(POST, 48, 2, b"007")
def test_it_never_takes_what_strict_reading_refuses(raw: bytes, at: int, cut: int, put: bytes) -> None:
    """Whatever is changed in the last head: either it is read anew, or the result is that of strict reading."""
    changed = raw[:at] + put + raw[at + cut :]

    again = LastHead(raw, parse_head(raw, Limits())).again(changed)

    assert again is None or again == strictly(changed)
