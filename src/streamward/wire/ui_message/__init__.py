"""The UI message stream: what ``useChat`` of AI SDK 5, 6 and 7 reads.

``Encoder`` turns events into its SSE frames, ``Assembler`` and ``read`` build the message a client would show.
Requests in the other direction are the business of ``streamward.wire.ui_request``.
"""

from streamward.wire.sse import KEEP_ALIVE
from streamward.wire.ui_message.encode import HEADERS, STREAM_OPEN, Encoder, Options
from streamward.wire.ui_message.frames import NAME
from streamward.wire.ui_message.read import Assembler, read
from streamward.wire.ui_message.versions import VERSIONS, Number, Version

__all__ = [
    "HEADERS",
    "KEEP_ALIVE",
    "NAME",
    "STREAM_OPEN",
    "VERSIONS",
    "Assembler",
    "Encoder",
    "Number",
    "Options",
    "Version",
    "read",
]
