"""What an upstream's failure means for our caller."""

from __future__ import annotations

import pytest

from streamward.wire.upstream_status import from_status, invalid


@pytest.mark.parametrize(
    ("status", "code", "ours", "again"),
    [
        (400, "upstream_rejected", 400, False), (401, "upstream_auth", 502, False),
        (402, "insufficient_quota", 429, False),
        (403, "upstream_auth", 502, False), (404, "model_not_found", 404, False), (408, "upstream_timeout", 504, True),
        (409, "upstream_error", 502, True), (413, "content_too_large", 413, False),
        (418, "upstream_rejected", 400, False),
        (422, "upstream_rejected", 400, False), (429, "rate_limit_exceeded", 429, True),
        (500, "upstream_error", 502, True),
        (502, "upstream_error", 502, True), (503, "upstream_error", 502, True), (504, "upstream_timeout", 504, True),
        (529, "upstream_error", 502, True), (301, "upstream_error", 502, True),
    ],
)  # fmt: skip
def test_policy(status: int, code: str, ours: int, again: bool):
    """Credentials are never the caller's problem, limits stay limits, a rejected request stays the caller's."""
    info = from_status(status, "some_word")

    assert (info.code, info.status, info.safe_to_retry) == (code, ours, again)
    assert info.code == "upstream_auth" or str(status) in info.message


def test_what_is_no_dialect():
    assert (invalid("X").code, invalid("X").status) == ("upstream_invalid", 502)
    assert "X" in invalid("X").message
