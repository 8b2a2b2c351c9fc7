"""The data stream protocol: what ``useChat`` of AI SDK 3.4 and 4 reads.

``Encoder`` turns events into its lines, ``parse_part`` reads one line, ``Assembler`` and ``read`` build the message a
client would show.
"""

from streamward.wire.data_stream.encode import HEADERS, KEEP_ALIVE, NAME, VERSIONS, Encoder, Number, Options, Version
from streamward.wire.data_stream.parse import Part, PartError, parse_part
from streamward.wire.data_stream.read import Assembler, Lines, read

__all__ = [
    "HEADERS",
    "KEEP_ALIVE",
    "NAME",
    "VERSIONS",
    "Assembler",
    "Encoder",
    "Lines",
    "Number",
    "Options",
    "Part",
    "PartError",
    "Version",
    "parse_part",
    "read",
]
