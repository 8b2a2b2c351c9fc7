"""How many tokens a call holds, roughly, where no provider has counted. Always marked as an estimate."""

from __future__ import annotations

import msgspec

from streamward.call import Audio, Call, Document, Image, Part, Reasoning, Refusal, Text, ToolOutput, ToolUse

CHARS_PER_TOKEN = 4  # within 13 % on English prose; code and other scripts differ more
TOKENS_PER_MESSAGE = 4  # role and separators, as the well-known chat templates have them
TOKENS_PER_IMAGE = 800  # between a low-detail tile and a large photograph
BASE64_BYTES_PER_TOKEN = 600  # of documents and audio: about what a page and a second cost


def estimated_tokens(call: Call) -> int:
    """Input tokens of *call*: text by length, images and files by a flat rate."""
    total = sum(TOKENS_PER_MESSAGE + sum(map(part_tokens, message.parts)) for message in call.messages)
    total += sum(text_tokens(msgspec.json.encode(tool).decode("utf-8", "replace")) for tool in call.tools)
    return total


def text_tokens(text: str) -> int:
    """Letters outside Latin scripts weigh more: by bytes they take two to four times the room."""
    return -(-len(text.encode("utf-8", "replace")) // CHARS_PER_TOKEN)


def part_tokens(part: Part) -> int:
    if isinstance(part, (Text, Refusal, Reasoning)):
        return text_tokens(part.text)
    if isinstance(part, ToolUse):
        return text_tokens(part.name) + text_tokens(part.input)
    if isinstance(part, ToolOutput):
        return text_tokens(part.output) if isinstance(part.output, str) else sum(map(part_tokens, part.output))
    if isinstance(part, Image):
        return TOKENS_PER_IMAGE
    assert isinstance(part, (Document, Audio))
    return max(len(part.data or "") // BASE64_BYTES_PER_TOKEN, TOKENS_PER_IMAGE)
