"""Output items: ids, shapes, and what Responses has no field for (signatures of other dialects).

An item is a JSON object of the response's ``output``. The builders here are used by the streaming encoder and for whole
replies alike, so both give the same items. Reasoning always goes out as ``summary``: the one form that is valid in
Open Responses and in OpenAI's specification. Follows Open Responses 2026-04-24, section Items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamward.events import File, FinishReason, ReasoningEnd, Source
from streamward.reply import ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock

NAME = "responses"

RESPONSE_PREFIX = "resp_"
PREFIX_OF = {"message": "msg", "reasoning": "rs", "function_call": "fc", "image_generation_call": "ig"}

# ``encrypted_content`` of reasoning that another dialect signed. Signature, redacted block, and the signature of a tool
# call (Gemini), which travels in a reasoning item of its own because clients drop unknown fields of a function_call.
SIGNATURE_SEAL = "sw1.signature."
REDACTED_SEAL = "sw1.redacted."
CALL_SEAL = "sw1.call."
MARK = "sw1.responses."  # on signatures in the waist that a Responses provider made: item id and encrypted_content

Item = dict[str, Any]


def response_id(seed: str) -> str:
    return seed if seed.startswith(RESPONSE_PREFIX) else RESPONSE_PREFIX + seed


def item_id(seed: str, kind: str, index: int) -> str:
    """Id of the item at output index *index*: the same for every rendering of the same stream."""
    return f"{PREFIX_OF.get(kind, 'item')}_{seed.removeprefix(RESPONSE_PREFIX)}_{index}"


def own(extra: Mapping[str, Mapping[str, Any]] | None) -> Mapping[str, Any]:
    """What this dialect put into an event's or block's ``extra``."""
    return extra.get(NAME, EMPTY) if extra else EMPTY


EMPTY: Mapping[str, Any] = {}


def whole(value: Any) -> int | None:
    """A JSON number that is not negative as an integer; ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MAX_NUMBER:
        return None
    return int(value)


MAX_NUMBER = 1 << 63  # what 64-bit readers of our output can hold


def string(value: Any) -> str:
    return value if isinstance(value, str) else ""


# -- shapes


def text_part(text: str, annotations: list[Item] | None = None, logprobs: list[Any] | None = None) -> Item:
    return {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": logprobs or []}


def refusal_part(text: str) -> Item:
    return {"type": "refusal", "refusal": text}


def message(id: str, content: list[Item], status: str, phase: str | None = None) -> Item:  # noqa: A002 - the field's name
    item = {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}
    if phase is not None:
        item["phase"] = phase
    return item


def function_call(id: str, call_id: str, name: str, arguments: str, status: str) -> Item:  # noqa: A002
    return {
        "id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name, "arguments": arguments,
    }  # fmt: skip


def reasoning(id: str, summary: list[str], status: str, sealed: str | None = None) -> Item:  # noqa: A002
    """``encrypted_content`` is left out when there is none: Open Responses allows no null."""
    item: Item = {
        "id": id, "type": "reasoning", "status": status,
        "summary": [{"type": "summary_text", "text": text} for text in summary],
    }  # fmt: skip
    if sealed is not None:
        item["encrypted_content"] = sealed
    return item


def annotation(source: Source) -> Item:
    """A source as an annotation; positions nobody stated become 0, because both schemas demand integers."""
    native = own(source.extra).get("annotation")
    if isinstance(native, dict):
        return native
    if source.kind == "document" and source.url is None:
        return {"type": "file_citation", "file_id": source.id, "filename": source.filename or source.title or "",
                "index": source.start or 0}  # fmt: skip
    return {
        "type": "url_citation", "url": source.url or "", "title": source.title or "",
        "start_index": source.start or 0, "end_index": source.end or 0,
    }  # fmt: skip


def source_of(annotation: dict[str, Any], source_id: str, part_id: str) -> Source:
    kind = annotation.get("type")
    start, end = annotation.get("start_index"), annotation.get("end_index")
    is_url = kind == "url_citation"
    filename = None if is_url else string(annotation.get("filename")) or None
    known = is_url and annotation.keys() <= {"type", "url", "title", "start_index", "end_index"}
    return Source(
        source_id,
        "url" if is_url else "document",
        url=string(annotation.get("url")) or None,
        title=string(annotation.get("title")) or filename,
        filename=filename,
        part_id=part_id,
        start=start if type(start) is int else None,
        end=end if type(end) is int else None,
        extra=None if known else {NAME: {"annotation": annotation}},
    )


def logprob(entry: Any) -> Any:
    """A Chat Completions log probability as Responses wants it: ``bytes`` and ``top_logprobs`` always there."""
    if not isinstance(entry, dict):
        return entry
    token = entry.get("token")
    if entry.get("bytes") is None and isinstance(token, str):
        entry = {**entry, "bytes": list(token.encode("utf-8", "surrogatepass"))}
    return {**entry, "top_logprobs": [logprob_top(top) for top in entry.get("top_logprobs") or ()]}


def logprob_top(entry: Any) -> Any:
    if isinstance(entry, dict) and entry.get("bytes") is None and isinstance(entry.get("token"), str):
        return {**entry, "bytes": list(entry["token"].encode("utf-8", "surrogatepass"))}
    return entry


# -- seals


def seal(end: ReasoningEnd | ReasoningBlock) -> str | None:
    """``encrypted_content`` for a signature or redacted block: as its Responses provider made it, else wrapped."""
    if end.redacted is not None:
        return REDACTED_SEAL + end.redacted
    if end.signature is None:
        return None
    marked = unmark(end.signature)
    return SIGNATURE_SEAL + end.signature if marked is None else marked[1]


def unseal(sealed: str, reasoning_id: str) -> tuple[str | None, str | None]:
    """Signature and redacted block of an ``encrypted_content``; one that a Responses provider made is marked so."""
    if sealed.startswith(SIGNATURE_SEAL):
        return sealed.removeprefix(SIGNATURE_SEAL), None
    if sealed.startswith(REDACTED_SEAL):
        return None, sealed.removeprefix(REDACTED_SEAL)
    return join_sized(MARK, reasoning_id, sealed), None


def unmark(signature: str) -> tuple[str, str] | None:
    """Item id and ``encrypted_content`` of a signature made by a Responses provider; ``None`` for any other.

    The mark stays on while the signature passes through clients of other dialects, so that it never goes to a provider
    of another kind as its own, and the item id that the provider wants back is not lost there.
    """
    return split_sized(MARK, signature)


def seal_call(call_id: str, signature: str) -> str:
    return join_sized(CALL_SEAL, call_id, signature)


def unseal_call(sealed: str) -> tuple[str, str] | None:
    """Call id and signature of a sealed tool-call signature; ``None`` for anything else."""
    return split_sized(CALL_SEAL, sealed)


def join_sized(prefix: str, first: str, rest: str) -> str:
    return f"{prefix}{len(first)}.{first}{rest}"


def split_sized(prefix: str, text: str) -> tuple[str, str] | None:
    if not text.startswith(prefix):
        return None
    size, dot, rest = text.removeprefix(prefix).partition(".")
    if not dot or not size.isascii() or not size.isdigit() or len(size) > MAX_SIZE_DIGITS or int(size) > len(rest):
        return None
    return rest[: int(size)], rest[int(size) :]


MAX_SIZE_DIGITS = 6


# -- a whole reply as items


def items_of(reply: Reply, seed: str) -> list[Item]:
    """The output items of *reply*, in order: what ``output`` holds, and what goes back as input of a next turn.

    Unless the reply is finished in full, its last item says ``incomplete``.
    """
    build = Build(seed)
    for block in reply.blocks:
        build.block(block)
    build.vendor_rest(own(reply.finish_extra).get("items"))
    if build.output and reply.finish_reason not in WHOLE and build.output[-1].get("type") in PREFIX_OF:
        build.output[-1]["status"] = "incomplete"
    return build.output


WHOLE: tuple[FinishReason, ...] = ("stop", "tool-calls", "unknown")
"""Finish reasons of a response that is completed; to call any other ending so would be a false stop."""


class Build:
    """Items under construction; ``output`` is the result."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.output: list[Item] = []
        self.ids: set[str] = set()
        self.sources: list[Item] = []  # annotations that came before any text
        self.part: Item | None = None  # the text part that sources belong to
        self.source_id = ""  # upstream id of the last message item

    def id(self, kind: str, wanted: Any = None) -> str:
        """*wanted* when it is a fresh id, else one made from the seed and the output index."""
        chosen = wanted if isinstance(wanted, str) and wanted else item_id(self.seed, kind, len(self.output))
        if chosen in self.ids:
            chosen = item_id(self.seed, kind, len(self.output))
        self.ids.add(chosen)
        return chosen

    def block(self, block: Any) -> None:
        if isinstance(block, TextBlock):
            self.text(block)
        elif isinstance(block, RefusalBlock):
            self.part = None
            self.source_id = ""
            self.output.append(message(self.id("message"), [refusal_part(block.text)], "completed"))
        elif isinstance(block, ReasoningBlock):
            self.reasoning(block)
        elif isinstance(block, ToolBlock):
            self.tool(block)
        elif isinstance(block, Source):
            (self.sources if self.part is None else self.part["annotations"]).append(annotation(block))
        elif isinstance(block, File):
            self.file(block)

    def text(self, block: TextBlock) -> None:
        extra = own(block.extra)
        self.part = text_part(block.text, self.sources, [logprob(entry) for entry in block.logprobs or ()])
        self.sources = []
        if extra.get("id") and extra["id"] == self.source_id:
            self.output[-1]["content"].append(self.part)
            return
        self.source_id = extra.get("id") or ""
        self.output.append(message(self.id("message", extra.get("id")), [self.part], "completed", extra.get("phase")))

    def reasoning(self, block: ReasoningBlock) -> None:
        extra = own(block.extra)
        self.part, self.source_id = None, ""
        item = reasoning(
            self.id("reasoning", extra.get("id")), split(block.text, extra.get("breaks")), "completed", seal(block)
        )
        self.output.append({**item, **extra.get("fields", EMPTY)})

    def tool(self, block: ToolBlock) -> None:
        extra = own(block.extra)
        self.part, self.source_id = None, ""
        item = function_call(
            self.id("function_call", extra.get("id")), block.id, block.name, block.input, "completed"
        )
        self.output.append({**item, **extra.get("fields", EMPTY)})
        if block.signature is not None:
            sealed = seal_call(block.id, block.signature)
            self.output.append(reasoning(self.id("reasoning"), [], "completed", sealed))

    def file(self, block: File) -> None:
        self.part, self.source_id = None, ""
        native = own(block.extra).get("item")
        if isinstance(native, dict):
            self.output.append({**native, "result": block.data})
        elif block.data is not None:
            self.output.append(image(self.id("image_generation_call"), block.data, "completed"))

    def vendor_rest(self, items: Any) -> None:
        """Put items the waist has no word for back where they stood; *items* maps output index to item."""
        if self.sources:
            self.output.append(message(self.id("message"), [text_part("", self.sources)], "completed"))
        if isinstance(items, dict):
            for index in sorted(items, key=int):
                self.output.insert(int(index), items[index])


def image(id: str, data: str, status: str) -> Item:  # noqa: A002
    return {"id": id, "type": "image_generation_call", "status": status, "result": data}


def split(text: str, breaks: Any) -> list[str]:
    """Summary parts of *text*; *breaks* are the offsets at which a blank line separates two of them."""
    if not text:
        return []
    parts, last = [], 0
    for at in breaks or ():
        parts.append(text[last:at])
        last = at + len(PART_BREAK)
    parts.append(text[last:])
    return parts


PART_BREAK = "\n\n"
"""Between two parts of one reasoning item, for readers that see one text."""
