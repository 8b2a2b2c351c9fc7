"""Errors as values and exceptions: each class its code, each code its class."""

from __future__ import annotations

import pytest

from streamward import errors
from streamward.errors import (
    BY_CODE,
    BY_STATUS,
    MAX_MESSAGE_CHARS,
    ErrorInfo,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    RateLimited,
    StreamInterrupted,
    StreamTruncated,
    StreamwardError,
    Unsupported,
    UpstreamAuth,
    UpstreamError,
    UpstreamReset,
    UpstreamTimeout,
    to_exception,
)

CLASSES = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StreamwardError)
]  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_an_exception_carries_its_value(kind: type[StreamwardError]):
    error = kind("what came and what to do")

    assert str(error) == error.info.message == "what came and what to do"
    assert (error.info.code, error.info.status) == (kind.code, kind.status)
    assert error.info.safe_to_retry == kind.safe_to_retry
    assert 400 <= kind.status < 600
    assert (kind.fault == "caller") == (kind.status < 500)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not StreamwardError])
def test_every_class_is_found_by_its_code(kind: type[StreamwardError]):
    """And no two classes share one."""
    assert BY_CODE[kind.code] is kind
    assert type(to_exception(kind("x").info)) is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("model_not_found", 404, ModelNotFound), ("unheard_of", 404, NotFound), ("unheard_of", 429, RateLimited),
        ("unheard_of", 504, UpstreamTimeout), ("unheard_of", 502, UpstreamError), ("unheard_of", 500, UpstreamError),
        ("unheard_of", 418, InvalidRequest), ("stream_truncated", 400, StreamTruncated),
    ],
)  # fmt: skip
def test_the_most_specific_class(code: str, status: int, kind: type[StreamwardError]):
    """By code, then by status, then by whose fault it is; the value stays as it was."""
    info = ErrorInfo(code, "x", status, param="p", retry_after_s=2.5)

    error = to_exception(info)

    assert type(error) is kind
    assert error.info is info


def test_statuses_lead_to_classes_of_that_status():
    assert all(kind.status == status for status, kind in BY_STATUS.items())


def test_what_a_raiser_says_wins_over_the_class():
    error = RateLimited("slow down", code="quota", status=402, param="model", retry_after_s=3, safe_to_retry=False)

    assert error.info == ErrorInfo("quota", "slow down", 402, "model", 3, False)


def test_messages_are_sentences_not_dumps():
    assert len(InvalidRequest("x" * 10_000).info.message) == MAX_MESSAGE_CHARS


def test_families():
    """What a caller can catch at once."""
    assert issubclass(Unsupported, InvalidRequest)
    assert issubclass(ModelNotFound, NotFound)
    assert all(issubclass(kind, UpstreamError) for kind in (UpstreamAuth, UpstreamReset, StreamTruncated, UpstreamTimeout))


def test_credentials_refused_upstream_are_not_worth_a_retry():
    assert not UpstreamAuth("x").info.safe_to_retry
    assert UpstreamReset("x").info.safe_to_retry


def test_an_interrupted_stream_keeps_what_arrived():
    assert StreamInterrupted("broke off", partial=["a"]).partial == ["a"]
    assert StreamInterrupted("broke off", code="upstream_reset").info.code == "upstream_reset"
