"""How the UI message stream differs between AI SDK 5, 6 and 7, as data.

Clients validate strictly (up to 5.0.216, 6.0.230 and 7.0.31 an unknown key kills the chat), so a field is sent only to
the versions that know it, and never as null.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from streamward.wire.masking import ErrorText, mask, mask_stream_errors

Number: TypeAlias = Literal[5, 6, 7]


class Version(Struct, frozen=True, kw_only=True):
    """One major version. The defaults are version 6."""

    number: Number
    unknown_reason: str = "other"
    """What the finish reason ``unknown`` is called."""
    abort_reason: bool = True
    """The ``abort`` frame may say why."""
    abort_prefix: str = ""
    """What stands before that reason: version 7 writes the error's name."""
    hidden_reasoning_frames: bool = False
    """With reasoning switched off, its start and end frames are sent all the same."""
    metadata_before_step_end: bool = False
    """Metadata of a finished step comes before its ``finish-step``."""
    output_error_after_input_error: bool = True
    """Invalid arguments give a ``tool-output-error`` frame beside the ``tool-input-error``."""
    unknown_tool_dynamic: bool = True
    """Calls of tools that do not exist are marked as dynamic: explicitly not at their start, then yes."""
    provider_errors_shown: bool = True
    """Errors of provider-executed tools are not masked."""
    approvals: bool = True
    denials: bool = True
    approval_responses: bool = False
    error_text: ErrorText = mask
    """The default mask."""
    tool_optional: frozenset[str] = frozenset(
        ("providerExecuted", "providerMetadata", "toolMetadata", "dynamic", "title", "inputEncoding")
    )
    """Optional fields of ``tool-input-*`` frames."""
    output_optional: frozenset[str] = frozenset(("providerExecuted", "providerMetadata", "toolMetadata", "dynamic"))
    """Optional fields of ``tool-output-*`` frames."""
    start_optional: frozenset[str] | None = None
    """Optional fields of ``tool-input-start``, when they are fewer than ``tool_optional``."""
    approval_optional: tuple[str, ...] = ("inputSchemaInput", "signature")
    file_metadata: bool = True
    text_end_citations: bool = False


VERSIONS: dict[int, Version] = {
    5: Version(
        number=5,
        unknown_reason="unknown",
        abort_reason=False,
        hidden_reasoning_frames=True,
        unknown_tool_dynamic=False,
        provider_errors_shown=False,
        approvals=False,
        denials=False,
        tool_optional=frozenset(("providerExecuted", "providerMetadata", "dynamic")),
        start_optional=frozenset(("providerExecuted", "dynamic")),
        output_optional=frozenset(("providerExecuted", "dynamic")),
        file_metadata=False,
    ),
    6: Version(number=6),
    7: Version(
        number=7,
        abort_prefix="AbortError: ",
        metadata_before_step_end=True,
        output_error_after_input_error=False,
        approval_responses=True,
        error_text=mask_stream_errors,
        approval_optional=("inputSchemaInput", "reason", "isAutomatic", "signature"),
        text_end_citations=True,
    ),
}
