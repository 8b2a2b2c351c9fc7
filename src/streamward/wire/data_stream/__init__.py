"""The data stream protocol: what ``useChat`` of AI SDK 3.4 and 4 reads.

``Encoder`` turns events into its lines, ``parse_part`` reads one line.
"""

from streamward.wire.data_stream.encode import HEADERS, KEEP_ALIVE, NAME, VERSIONS, Encoder, Number, Options, Version

__all__ = ["HEADERS", "KEEP_ALIVE", "NAME", "VERSIONS", "Encoder", "Number", "Options", "Version"]
