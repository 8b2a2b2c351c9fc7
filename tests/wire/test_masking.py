"""Masks say what the AI SDK of their version says."""

from __future__ import annotations

import pytest

from streamward.wire.masking import MASKED, ErrorKind, ErrorText, call, mask, mask_empty, mask_stream_errors


@pytest.mark.parametrize(
    ("error_text", "kind", "shown"),
    [
        (mask, "error", MASKED),
        (mask, "tool-error", MASKED),
        (mask_empty, "error", ""),
        (mask_stream_errors, "error", MASKED),
        (mask_stream_errors, "tool-error", "Error: secret"),
        (mask_stream_errors, "tool-input-error", "secret"),
    ],
)
def test_each_mask(error_text: ErrorText, kind: ErrorKind, shown: str) -> None:
    assert call(error_text, kind, "secret") == shown
