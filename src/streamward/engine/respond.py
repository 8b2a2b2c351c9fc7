"""A result as a response, for every generation of UI hooks: text, data stream (AI SDK 3 and 4), UI message stream (5 to
7). The bytes are ``streamward.wire``'s; here the options become them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from streamward.engine.body import RunBody
from streamward.engine.response import KEEP_ALIVE_S, StreamResponse, merged_headers
from streamward.engine.result import StreamResult
from streamward.errors import InvalidRequest, StreamwardError
from streamward.events import Event
from streamward.wire import data_stream, ui_message
from streamward.wire import text as text_stream
from streamward.wire.masking import ErrorText

OnError = Callable[[Exception], str]
"""From a failure to what the browser may read about it."""


class ToolFailed(StreamwardError):
    """A tool raised, or its arguments were not valid; what ``on_error`` is told."""

    code, status, fault = "tool_error", 500, "server"


class UiFinish(Struct, frozen=True):
    """What ``on_finish`` of a UI message stream is told."""

    messages: tuple[dict[str, Any], ...]
    """The original messages with the answer: appended, or in place of the one it continues."""
    response_message: dict[str, Any] | None
    is_continuation: bool
    is_aborted: bool
    finish_reason: str | None


def text_response(
    result: StreamResult[Any], *, headers: Mapping[str, str] | None = None, status: int = 200, background: Any = None
) -> StreamResponse:
    """The text as it comes, nothing else. ``headers`` win over the defaults, a content type too."""
    body = text_body(result)
    fields = merged_headers(text_stream.HEADERS, headers)
    return StreamResponse(body, headers=fields, status=status, background=background)


def text_body(result: StreamResult[Any]) -> RunBody:
    return RunBody(result.run, text_stream.Encoder(), keep=result)


def data_stream_response(
    result: StreamResult[Any], *, headers: Mapping[str, str] | None = None, status: int = 200,
    keep_alive_s: float | None = KEEP_ALIVE_S, background: Any = None, **options: Any,
) -> StreamResponse:  # fmt: skip
    """The data stream protocol. ``options`` are those of :func:`data_stream_body`."""
    return StreamResponse(
        data_stream_body(result, **options), headers=merged_headers(data_stream.HEADERS, headers), status=status,
        keep_alive=data_stream.KEEP_ALIVE, keep_alive_s=keep_alive_s, background=background,
    )  # fmt: skip


def data_stream_body(
    result: StreamResult[Any], *, version: data_stream.Number = 4, send_reasoning: bool = False, send_sources: bool = False,
    send_usage: bool = True, send_finish: bool = True, tool_call_streaming: bool = False, on_error: OnError | None = None,
    get_error_message: OnError | None = None, error_text: ErrorText | None = None,
) -> RunBody:  # fmt: skip
    """The lines of *result*. ``version=3`` leaves out the parts that a 3.x client would choke on."""
    options = data_options(
        result, version=version, send_reasoning=send_reasoning, send_sources=send_sources, send_usage=send_usage,
        send_finish=send_finish, tool_call_streaming=tool_call_streaming,
        error_text=error_text or errors_by(on_error or get_error_message, result),
    )  # fmt: skip
    return RunBody(result.run, data_stream.Encoder(options), keep=result)


def data_options(result: StreamResult[Any] | None, **options: Any) -> data_stream.Options:
    if options.get("version", 4) not in (3, 4):
        raise InvalidRequest(f"version: the data stream has 3 and 4, got {options['version']!r}", param="version")
    return data_stream.Options(**options)


def ui_message_stream_response(
    result: StreamResult[Any], *, headers: Mapping[str, str] | None = None, status: int = 200,
    keep_alive_s: float | None = KEEP_ALIVE_S, stream_open: bool = False, background: Any = None, **options: Any,
) -> StreamResponse:  # fmt: skip
    """The UI message stream. ``options`` are those of :func:`ui_message_body`; ``stream_open`` sends a comment at once,
    for proxies that wait for a first byte."""
    return StreamResponse(
        ui_message_body(result, **options), headers=merged_headers(ui_message.HEADERS, headers), status=status,
        keep_alive=ui_message.KEEP_ALIVE, keep_alive_s=keep_alive_s, first=ui_message.STREAM_OPEN if stream_open else b"",
        background=background,
    )  # fmt: skip


def ui_message_body(
    result: StreamResult[Any], *, version: ui_message.Number = 7, send_reasoning: bool = True, send_sources: bool = False,
    send_start: bool = True, send_finish: bool = True, send_finish_reason: bool = True,
    original_messages: Sequence[Mapping[str, Any]] | None = None, generate_message_id: Callable[[], str] | None = None,
    message_metadata: Callable[[Event], Any] | None = None, on_error: OnError | None = None,
    error_text: ErrorText | None = None, on_finish: Callable[[UiFinish], Any] | None = None, provider: str = "streamward",
    done: bool = True,
) -> RunBody:  # fmt: skip
    """The frames of *result*.

    The ``start`` frame carries an id when ``original_messages`` or ``generate_message_id`` is given, and always when the
    answer continues an assistant message (tool results, approvals): then it is that message's. ``message_metadata`` is
    asked for every event. ``on_finish`` gets the assembled message, also when the client left.
    """
    if version not in ui_message.VERSIONS:
        raise InvalidRequest(f"version: the UI message stream has 5, 6 and 7, got {version!r}", param="version")
    message_id, continued = response_id(result, original_messages, generate_message_id)
    options = ui_message.Options(
        version=version, send_reasoning=send_reasoning, send_sources=send_sources, send_start=send_start,
        send_finish=send_finish, send_finish_reason=send_finish_reason, message_id=message_id, metadata=message_metadata,
        error_text=error_text or errors_by(on_error, result), tools=frozenset(result.plan.tools), provider=provider,
        done=done,
    )  # fmt: skip
    at_end = None
    if on_finish is not None:
        at_end = finisher(on_finish, tuple(dict(message) for message in original_messages or ()), continued, version)
    return RunBody(result.run, ui_message.Encoder(options), keep=result, at_end=at_end)


def response_id(
    result: StreamResult[Any] | None, original: Sequence[Mapping[str, Any]] | None, generate: Callable[[], str] | None
) -> tuple[str | None, dict[str, Any] | None]:
    """Id for the ``start`` frame, and the message that is continued."""
    if original:
        last = original[-1]
        if last.get("role") == "assistant" and last.get("id"):
            return str(last["id"]), dict(last)
    elif result is not None and result.plan.prompt.continues:
        return result.plan.prompt.continues, None
    if generate is not None:
        return generate(), None
    if original is not None and result is not None:
        return result.plan.new_id(), None
    return None, None


def finisher(
    on_finish: Callable[[UiFinish], Any], original: tuple[dict[str, Any], ...], continued: dict[str, Any] | None,
    version: ui_message.Number,
) -> Callable[[bytes, bool], Any]:  # fmt: skip
    def tell(wire: bytes, cut: bool) -> Any:
        assembler = ui_message.read(wire, continued, version=version)
        message = assembler.message
        kept = original[:-1] if continued is not None else original
        messages = (*kept, message) if message is not None else original
        return on_finish(UiFinish(messages, message, continued is not None, assembler.aborted, assembler.finish_reason))

    return tell


def errors_by(on_error: OnError | None, result: StreamResult[Any] | None = None) -> ErrorText | None:
    """The application's hook as the encoders call it; None leaves their mask."""
    if on_error is None:
        return None

    def text(kind: str, message: str) -> str:
        failure = result.run.failure if result is not None and kind == "error" else None
        return on_error(failure or (StreamwardError(message) if kind == "error" else ToolFailed(message)))

    return text
