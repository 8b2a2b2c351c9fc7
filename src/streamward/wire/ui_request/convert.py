"""UI messages of any generation as canonical messages, and what is still open in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from streamward.call import Message, ToolOutput, ToolUse
from streamward.errors import InvalidRequest
from streamward.wire.ui_request import classic
from streamward.wire.ui_request.fields import as_list, as_object
from streamward.wire.ui_request.modern import Approval, ConvertData, Converter
from streamward.wire.ui_request.request import Generation, generation

OnOpenCall: TypeAlias = Literal["error", "keep", "drop"]

NO_SYSTEM = (
    "Invalid prompt: System messages are not allowed in the prompt or messages fields. Use the instructions option instead."
)
"""AI SDK 7 refuses them, because the browser wrote them."""


class Converted(Struct, frozen=True):
    """Canonical messages, and the answers to approval requests that the last assistant message brings.

    An approved call has no output in ``messages`` yet: run its tool and put the output in with :func:`answer`. A
    denied one already has its output there; it is listed so that the browser can be told.
    """

    messages: tuple[Message, ...]
    approvals: tuple[Approval, ...] = ()


def convert_messages(
    messages: Any, *, version: Generation | None = None, open_calls: OnOpenCall | None = None,
    convert_data: ConvertData | None = None,
) -> Converted:  # fmt: skip
    """UI messages of any generation as canonical messages.

    Without *version* the form decides, message by message. *open_calls* says what becomes of calls without an output:
    an error (default from version 6 on, and for 2 to 4), kept, or dropped. Calls that the user left behind by writing
    another message are dropped: approvals not answered by version 7, any open call when no *version* is given.

    Raises:
        InvalidRequest: malformed, or calls without output; ``param`` is the path of the field.
    """
    checked = [as_object(m, f"messages[{at}]") for at, m in enumerate(as_list(messages, "messages"))]
    policy = open_calls or ("keep" if version == 5 else "error")
    out: list[Message] = []
    approvals: tuple[Approval, ...] = ()
    unanswered: list[str] = []
    abandoned: set[str] = set()
    last_user = max((at for at, message in enumerate(checked) if message.get("role") == "user"), default=0)
    for at, message in enumerate(checked):
        param = f"messages[{at}]"
        if version == 7 and message.get("role") == "system":
            raise InvalidRequest(NO_SYSTEM, param=param)
        if "content" not in message and "parts" in message:
            converter = Converter(convert_data)
            converter.add(message, param)
            out += converter.messages
            if at == len(checked) - 1:
                approvals = tuple(converter.approvals)
            else:  # the user wrote on before the approved tool ran
                converter.unanswered += [a.tool_call_id for a in converter.approvals if a.approved]
            if at < last_user and version in (7, None):
                abandoned.update(converter.undecided if version == 7 else converter.unanswered)
            unanswered += [call_id for call_id in converter.unanswered if call_id not in abandoned]
        else:
            form = min(version, 4) if version is not None else generation([message])
            out += classic.convert(message, param, last=at == len(checked) - 1, version=form)
    if unanswered and policy == "error":
        raise InvalidRequest(missing_results(unanswered), code="missing_tool_result", param="messages")
    if policy == "drop":
        abandoned.update(unanswered)
    if abandoned:
        out = without_calls(out, abandoned)
    return Converted(tuple(out), approvals)


def missing_results(call_ids: list[str]) -> str:
    if len(call_ids) == 1:
        return f"Tool result is missing for tool call {call_ids[0]}."
    return f"Tool results are missing for tool calls {', '.join(call_ids)}."


def without_calls(messages: list[Message], call_ids: set[str]) -> list[Message]:
    """*messages* without those calls, and without messages that then are empty."""
    out = []
    for message in messages:
        parts = tuple(part for part in message.parts if not (isinstance(part, ToolUse) and part.id in call_ids))
        if parts or not message.parts:
            out.append(Message(message.role, parts, message.name, message.extra))
    return out


def answer(messages: tuple[Message, ...], outputs: Mapping[str, ToolOutput]) -> tuple[Message, ...]:
    """*messages* with *outputs* (by call id) put behind the assistant messages that made those calls."""
    out: list[Message] = []
    waiting: list[ToolOutput] = []
    for message in messages:
        if message.role == "tool" and waiting:
            message = Message("tool", (*waiting, *message.parts), message.name, message.extra)
        elif waiting:
            out.append(Message("tool", tuple(waiting)))
        waiting = []
        out.append(message)
        if message.role == "assistant":
            calls = [part.id for part in message.parts if isinstance(part, ToolUse)]
            waiting = [outputs[call_id] for call_id in calls if call_id in outputs]
    if waiting:
        out.append(Message("tool", tuple(waiting)))
    return tuple(out)


def without_tools(converted: Converted, *, version: Generation) -> tuple[Message, ...]:
    """The messages when the approved tools are not at hand to run: AI SDK 6 tells the model, 7 refuses.

    Raises:
        InvalidRequest: from version 7 on, naming the calls.
    """
    approved = [approval for approval in converted.approvals if approval.approved]
    if approved and version >= 7:
        message = missing_results([approval.tool_call_id for approval in approved])
        raise InvalidRequest(message, code="missing_tool_result", param="messages")
    return answer(converted.messages, {
        a.tool_call_id: ToolOutput(a.tool_call_id, f'Tool "{a.tool_name}" does not require approval', a.tool_name, True)
        for a in approved
    })  # fmt: skip
