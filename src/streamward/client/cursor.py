"""Where a broken stream goes on: the cursor of what was received, and which request asks for the rest.

Two ways: frames numbered by SSE ``id:`` lines with the stream's id in ``x-streamward-stream-id``
(``GET /streams/{id}?after=N``), and the sequence numbers of Responses (``GET /responses/{id}?starting_after=N``).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from streamward.wire.sse import Frame

STREAM_ID = "x-streamward-stream-id"
NUMBER = re.compile(r"(?:.*:)?(\d{1,15})")
START = -1


class Numbered(Struct):
    """The fields of a Responses event that a cursor needs."""

    sequence_number: int | None = None
    response: Any = None


read_numbered = msgspec.json.Decoder(Numbered).decode


class Gap(Exception):
    """The server went on behind the frame that was asked for: something is lost."""


class Cursor:
    """Follows the frames of one stream over any number of connections, in one way of numbering them."""

    def __init__(self, dialect: str, *, stored: bool) -> None:
        self.by_sequence = dialect == "responses"
        self.stored = stored
        """The caller asked the server to keep the response (``background``)."""
        self.stream_id = ""
        self.response_id = ""
        self.offset = START
        """Number of the last frame received."""
        self.numbered = False  # by ``id:`` lines
        self.frames = 0
        self.seam = False  # just reconnected: the next number must be the next one

    def answered(self, headers: dict[str, str]) -> None:
        self.stream_id = headers.get(STREAM_ID, self.stream_id)

    @property
    def resumable(self) -> bool:
        """The server has the rest, and we know how to ask for it."""
        if self.stream_id and (self.numbered or not self.frames):
            return True
        return bool(self.response_id) and (self.stored or bool(self.stream_id))

    def path(self) -> str:
        """What to GET for everything after the last frame."""
        if self.stream_id and (self.numbered or not self.response_id):
            return f"/streams/{self.stream_id}" + (f"?after={self.offset}" if self.offset > START else "")
        after = f"&starting_after={self.offset}" if self.offset > START else ""
        return f"/responses/{self.response_id}?stream=true{after}"

    def new(self, frame: Frame) -> bool:
        """True for a frame not seen before; one that a server repeats after a reconnection is skipped.

        Raises:
            Gap: frames are missing after a reconnection.
        """
        number = self.number(frame)
        if number is None:
            self.frames += 1
            return True
        if self.seam:
            if number <= self.offset:
                return False
            if number > self.offset + 1:
                raise Gap
            self.seam = False
        self.frames += 1
        self.offset = max(self.offset, number)
        return True

    def number(self, frame: Frame) -> int | None:
        if frame.id:
            match = NUMBER.fullmatch(frame.id)
            if match is not None:
                self.numbered = True
                return int(match[1])
        if not self.by_sequence or self.numbered:
            return None
        try:
            line = read_numbered(frame.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if not self.response_id and isinstance(line.response, dict) and isinstance(line.response.get("id"), str):
            self.response_id = line.response["id"]
        return line.sequence_number
