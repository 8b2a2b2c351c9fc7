"""Input items to canonical messages.

What one turn of the model produced (reasoning, text, calls) becomes one assistant message, however many items it came
in; outputs of its calls become one tool message. Items of other types are kept whole in ``extra`` for a target of the
same dialect.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from streamward.call import (
    Audio,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolOutput,
    ToolUse,
)  # fmt: skip
from streamward.errors import InvalidRequest
from streamward.wire.responses import fields
from streamward.wire.responses.fields import join, wrong
from streamward.wire.responses.items import NAME, PART_BREAK, Item, own, unseal, unseal_call

MAX_ITEMS = 20_000
"""Bound of items in one request: agents' longest histories stay below 5 000."""

MAX_CALL_ID_CHARS = 512
"""The specification says 64; call ids that carry a signature are longer."""

ROLES = frozenset({"user", "assistant", "system", "developer"})
MESSAGE_FIELDS = frozenset({"type", "role", "content", "id", "status", "phase"})


def parse_items(items: list[Any], path: str = "input", *, closed: bool = True) -> tuple[Message, ...]:
    """The messages that *items* mean. *closed*: the items are the whole conversation, so each output needs its call.

    Raises:
        InvalidRequest: naming the item and field.
    """
    if len(items) > MAX_ITEMS:
        raise InvalidRequest(f"'{path}' holds {len(items)} items; at most {MAX_ITEMS} are taken", param=path)
    turns = Turns()
    for index, item in enumerate(items):
        where = f"{path}[{index}]"
        if type(item) is not dict:
            raise wrong(where, "an object", item)
        parse_item(item, where, turns, closed=closed)
    return turns.finish()


def parse_item(item: Item, where: str, turns: Turns, *, closed: bool) -> None:
    kind = fields.text(item, "type", where)
    if kind == "message" or (kind is None and "role" in item):
        parse_message(item, where, turns)
    elif kind == "function_call":
        turns.assistant(parse_call(item, where))
    elif kind == "function_call_output":
        output = parse_output(item, where)
        if closed and output.id not in turns.calls:
            raise InvalidRequest(
                f"'{where}.call_id' is {fields.shown(output.id)}, but no function_call before it has that call_id; "
                "send the call with its output, or the previous_response_id it belongs to",
                param=join(where, "call_id"),
            )
        turns.output(output)
    elif kind == "reasoning":
        parse_reasoning(item, where, turns)
    elif kind is None:
        raise InvalidRequest(f"'{where}' has neither 'type' nor 'role': one of them must say what it is", param=where)
    else:
        turns.other(item, kind, where)


class Turns:
    """Messages under construction."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parts: list[Part] = []  # of the assistant turn being collected
        self.outputs: list[ToolOutput] = []
        self.calls: set[str] = set()
        self.signatures: dict[str, str] = {}

    def assistant(self, part: Part) -> None:
        self.end_outputs()
        if isinstance(part, ToolUse):
            self.calls.add(part.id)
        self.parts.append(part)

    def text(self, parts: list[Part]) -> None:
        """An assistant message: part of the turn, unless that already has an answer and no call waiting for one."""
        self.end_outputs()
        kinds = {type(part) for part in self.parts}
        if kinds & {Text, Refusal} and ToolUse not in kinds:
            self.end_turn()
        self.parts.extend(parts)

    def output(self, part: ToolOutput) -> None:
        self.end_turn()
        self.outputs.append(part)

    def message(self, message: Message) -> None:
        self.end_turn()
        self.end_outputs()
        self.messages.append(message)

    def other(self, item: Item, kind: str, where: str) -> None:
        if kind == "item_reference":
            fields.required_text(item, "id", where)
        if kind.endswith("_output"):
            self.end_turn()
        role: Any = "tool" if kind.endswith("_output") else "assistant"
        self.message(Message(role, extra={NAME: {"item": item}}))

    def end_turn(self) -> None:
        if self.parts:
            self.messages.append(Message("assistant", tuple(self.parts)))
            self.parts = []

    def end_outputs(self) -> None:
        if self.outputs:
            self.messages.append(Message("tool", tuple(self.outputs)))
            self.outputs = []

    def finish(self) -> tuple[Message, ...]:
        self.end_turn()
        self.end_outputs()
        if not self.signatures:
            return tuple(self.messages)
        return tuple(replace(message, parts=tuple(map(self.signed, message.parts))) for message in self.messages)

    def signed(self, part: Part) -> Part:
        if isinstance(part, ToolUse) and part.id in self.signatures:
            return replace(part, signature=self.signatures[part.id])
        return part


def parse_message(item: Item, where: str, turns: Turns) -> None:
    role: Any = fields.choice(item, "role", ROLES, where)
    if role is None:
        raise InvalidRequest(f"'{where}.role' is missing: one of {', '.join(sorted(ROLES))}", param=join(where, "role"))
    parts = parse_content(item.get("content"), join(where, "content"))
    rest = {name: value for name, value in item.items() if name not in MESSAGE_FIELDS}
    if role != "assistant":
        turns.message(Message(role, tuple(parts), extra={NAME: {"fields": rest}} if rest else None))
        return
    phase = fields.text(item, "phase", where)
    if phase is not None:
        parts = [
            replace(part, extra={NAME: {**own(part.extra), "phase": phase}}) if isinstance(part, Text) else part
            for part in parts
        ]
    turns.text(parts)


def parse_content(content: Any, where: str) -> list[Part]:
    if type(content) is str:
        return [Text(content)]
    if type(content) is not list:
        raise wrong(where, "a string or an array of content parts", content)
    parts: list[Part] = []
    for index, part in enumerate(content):
        place = f"{where}[{index}]"
        if type(part) is not dict:
            raise wrong(place, "an object", part)
        read = CONTENT.get(fields.required_text(part, "type", place))
        if read is None:
            raise wrong(join(place, "type"), "one of " + ", ".join(sorted(CONTENT)), part["type"])
        parts.append(read(part, place))
    return parts


def parse_text(part: Item, where: str) -> Text:
    text = fields.text(part, "text", where)
    if text is None:
        raise InvalidRequest(f"'{where}.text' is missing: it must be a string", param=join(where, "text"))
    return Text(text)


def parse_refusal(part: Item, where: str) -> Refusal:
    return Refusal(fields.text(part, "refusal", where) or "")


def parse_image(part: Item, where: str) -> Image:
    url, detail = part.get("image_url"), fields.text(part, "detail", where)
    file_id = fields.text(part, "file_id", where)
    if isinstance(url, dict):  # the Chat Completions form, which many clients send here too
        detail = detail or fields.text(url, "detail", join(where, "image_url"))
        url = url.get("url")
    if url is None:
        if file_id is None:
            raise InvalidRequest(f"'{where}.image_url' is missing: give it or 'file_id'", param=join(where, "image_url"))
        return Image(detail=detail, extra={NAME: {"file_id": file_id}})
    if type(url) is not str:
        raise wrong(join(where, "image_url"), "a string", url)
    inline = fields.data_url(url)
    if inline is not None:
        return Image(data=inline[1], media_type=inline[0] or "image/png", detail=detail)
    if not url.startswith(("https://", "http://")):
        raise wrong(join(where, "image_url"), "an http(s) URL or a data URL in base64", url)
    return Image(url=url, detail=detail)


def parse_file(part: Item, where: str) -> Document:
    filename = fields.text(part, "filename", where)
    data, url = fields.text(part, "file_data", where), fields.text(part, "file_url", where)
    file_id = fields.text(part, "file_id", where)
    if data is None and url is None and file_id is None:
        raise InvalidRequest(
            f"'{where}' has no file: give 'file_data', 'file_url' or 'file_id'", param=join(where, "file_data")
        )
    media_type = None
    if data is not None:
        inline = fields.data_url(data)
        if inline is not None:
            media_type, data = inline
        elif filename and filename.lower().endswith(".pdf"):
            media_type = "application/pdf"
    return Document(url=url, data=data, media_type=media_type, filename=filename, file_id=file_id)


def parse_audio(part: Item, where: str) -> Audio:
    audio = fields.mapping(part, "input_audio", where)
    source, place = (part, where) if audio is None else (audio, join(where, "input_audio"))
    return Audio(fields.required_text(source, "data", place), fields.required_text(source, "format", place))


def parse_call(item: Item, where: str) -> ToolUse:
    extra = {name: value for name, value in item.items() if name not in CALL_FIELDS and value is not None}
    return ToolUse(
        fields.required_text(item, "call_id", where, longest=MAX_CALL_ID_CHARS),
        fields.required_text(item, "name", where),
        fields.text(item, "arguments", where) or "{}",
        extra={NAME: {"fields": extra}} if extra else None,
    )


def parse_output(item: Item, where: str) -> ToolOutput:
    call_id = fields.required_text(item, "call_id", where, longest=MAX_CALL_ID_CHARS)
    output = item.get("output")
    if type(output) is str:
        return ToolOutput(call_id, output)
    place = join(where, "output")
    parts = parse_content(output, place)
    for index, part in enumerate(parts):
        if not isinstance(part, (Text, Image, Document)):
            raise InvalidRequest(f"'{place}[{index}]' must be input_text, input_image or input_file",
                                 param=f"{place}[{index}]")  # fmt: skip
    return ToolOutput(call_id, tuple(parts))  # type: ignore[arg-type]


def parse_reasoning(item: Item, where: str, turns: Turns) -> None:
    sealed = fields.text(item, "encrypted_content", where)
    call = unseal_call(sealed) if sealed else None
    if call is not None:
        turns.signatures[call[0]] = call[1]
        return
    reasoning_id = fields.text(item, "id", where) or ""
    text, from_content = summary_text(item, "summary", where), False
    if not text:
        text = summary_text(item, "content", where)
        from_content = bool(text)
    signature = redacted = None
    if sealed:
        signature, redacted = unseal(sealed, reasoning_id)
    extra = {NAME: {"content": True}} if from_content else None
    turns.assistant(Reasoning(text, signature, redacted, reasoning_id or None, extra))


def summary_text(item: Item, name: str, where: str) -> str:
    texts = []
    for index, part in enumerate(fields.array(item, name, where)):
        place = f"{join(where, name)}[{index}]"
        if type(part) is not dict:
            raise wrong(place, "an object", part)
        texts.append(fields.text(part, "text", place) or "")
    return PART_BREAK.join(texts)


CALL_FIELDS = frozenset({"type", "id", "status", "call_id", "name", "arguments"})

CONTENT: dict[str, Any] = {
    "input_text": parse_text, "output_text": parse_text, "text": parse_text, "summary_text": parse_text,
    "refusal": parse_refusal, "input_image": parse_image, "image_url": parse_image, "input_file": parse_file,
    "input_audio": parse_audio,
}  # fmt: skip
