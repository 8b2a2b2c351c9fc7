"""What the front and a worker say to each other, as bytes.

Two channels. *Control*: one SEQPACKET socket per worker, one message per packet, request sockets travel along with
``Invoke``. *Link*: one stream socket per request with length-prefixed frames; its buffer is the backpressure, closing
it is cancellation. Pure: sockets are read and written in ``worker.channel`` and ``invocation``.

    link frame = type (1 byte) | length of payload (4 bytes, big-endian) | payload
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec
from msgspec import Struct

HEADER = struct.Struct(">cI")
MAX_FRAME = 256 << 10  # larger chunks are cut into several frames; they are one HTTP body all the same
MAX_FRAME_ACCEPTED = 1 << 24  # beyond this a peer is broken, not generous
READ_SIZE = 64 << 10  # one read of a link; larger ones cost a fresh mapping each time
PACKET_SIZE = 256 << 10  # more than any control packet

BEGUN = b"A"
"""Worker: the invocation has started; from now on it cannot move to another worker."""
HEAD = b"H"
"""Worker: status and headers (:class:`Head`); the front holds them until the first byte, a flush or the end."""
FLUSH = b"P"
BODY = b"B"
END = b"E"
FAIL = b"X"
"""Worker: it ended in a failure (:class:`Failure`)."""

CancelReason = Literal["disconnect", "timeout", "shutdown"]


class Head(Struct, array_like=True):
    status: int
    headers: list[tuple[bytes, bytes]]
    length: int | None = None


class Failure(Struct, array_like=True):
    code: str
    message: str
    traceback: str = ""


# -- control, front to worker


class Invoke(Struct, tag="invoke", omit_defaults=True):
    """Run a function; the request's link socket comes in the same packet."""

    request_id: str
    file: str
    method: str
    call: str
    """The method function to run: ``GET`` for a ``HEAD`` without its own function."""
    path: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    params: dict[str, str | list[str]]
    client: tuple[str, int] | None
    server: tuple[str, int]
    scheme: str
    limit: float
    """Seconds the whole invocation may take, counted from its start."""
    has_body: bool
    http_minor: int = 1


class Cancel(Struct, tag="cancel"):
    request_id: str
    reason: CancelReason


class Ping(Struct, tag="ping"):
    number: int


class Reimport(Struct, tag="reimport"):
    file: str


class Stop(Struct, tag="stop"):
    """No more requests: run lifespan shutdown (bounded by *grace* seconds) and exit."""

    grace: float


ToWorker = Invoke | Cancel | Ping | Reimport | Stop


# -- control, worker to front


class Imported(Struct, tag="imported"):
    """One function file was imported, or could not be (``error`` is the traceback)."""

    file: str
    error: str
    kind: str
    methods: list[str]
    seconds: float


class Ready(Struct, tag="ready"):
    """All files were tried; ``modules`` are the project files loaded so far."""

    modules: list[str]


class Modules(Struct, tag="modules"):
    """Project files loaded since the last report."""

    modules: list[str]


class Done(Struct, tag="done"):
    """The invocation is over, work after the response included."""

    request_id: str


class Lingers(Struct, tag="lingers"):
    """Not a clean-up that hangs: a thread in a step that cannot be interrupted, or work after the response."""

    request_id: str


class Pong(Struct, tag="pong"):
    number: int


FromWorker = Imported | Ready | Modules | Done | Lingers | Pong


class LogRecord(Struct, array_like=True, omit_defaults=True, gc=False):
    """One line (or logging record) on its way from a worker; ``dropped`` counts lines that are not coming."""

    request_id: str | None
    stream: str
    level: str
    timestamp: int
    message: str
    truncated: bool = False
    dropped: int = 0


# -- the process that forks workers


class Spawn(Struct, tag="spawn"):
    """Fork a worker; its five descriptors (control, log, stdout, stderr, stacks) come in the same packet."""

    worker: int
    spec: bytes


class Kill(Struct, tag="kill"):
    worker: int
    signal: int
    group: bool = False


class Spawned(Struct, tag="spawned"):
    worker: int
    pid: int


class Exited(Struct, tag="exited"):
    worker: int
    status: int
    """As ``os.waitstatus_to_exitcode`` says it: negative for a signal."""


ToZygote = Spawn | Kill
FromZygote = Spawned | Exited


class FunctionSpec(Struct):
    file: str
    kind: str
    entrypoint: str
    content_type: str | None
    tree: str


class WorkerSpec(Struct):
    """Everything a worker needs to know at its start."""

    folder: str
    functions: list[FunctionSpec]
    environment: dict[str, str]
    instance: str
    max_concurrency: int
    memory_mb: int
    bytecode: bool
    server: tuple[str, int] = ("127.0.0.1", 0)


pack = msgspec.msgpack.Encoder().encode
unpack_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
unpack_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
unpack_to_zygote = msgspec.msgpack.Decoder(ToZygote).decode
unpack_from_zygote = msgspec.msgpack.Decoder(FromZygote).decode
unpack_spec = msgspec.msgpack.Decoder(WorkerSpec).decode
unpack_head = msgspec.msgpack.Decoder(Head).decode
unpack_failure = msgspec.msgpack.Decoder(Failure).decode
unpack_logs = msgspec.msgpack.Decoder(list[LogRecord]).decode


class BrokenLink(Exception):
    """The peer sent something that is no frame."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(payload)) + payload


def body_frames(data: bytes) -> bytes:
    """*data* as body frames, cut at MAX_FRAME."""
    if len(data) <= MAX_FRAME:
        return HEADER.pack(BODY, len(data)) + data
    return b"".join(frame(BODY, data[at : at + MAX_FRAME]) for at in range(0, len(data), MAX_FRAME))


class FrameReader:
    """Cuts a byte stream into frames; holds at most one incomplete frame."""

    __slots__ = ("parts", "size", "wanted")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.wanted = HEADER.size

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Complete frames as (type, payload). Raises BrokenLink."""
        if not self.parts and len(data) >= HEADER.size:
            kind, length = HEADER.unpack_from(data)
            if length == len(data) - HEADER.size:  # nearly always: one frame, whole
                return [(kind, data[HEADER.size :])]
        if self.parts:
            self.parts.append(data)
            self.size += len(data)
            if self.size < self.wanted:
                return []
            data = b"".join(self.parts)
            self.parts = []
        out: list[tuple[bytes, bytes]] = []
        at, end = 0, len(data)
        self.wanted = HEADER.size
        while end - at >= HEADER.size:
            kind, length = HEADER.unpack_from(data, at)
            if length > MAX_FRAME_ACCEPTED:
                raise BrokenLink(f"a frame of {length} bytes")
            if end - at < HEADER.size + length:
                self.wanted = HEADER.size + length
                break
            at += HEADER.size
            out.append((kind, data[at : at + length]))
            at += length
        if at < end:
            self.parts = [data[at:]]
            self.size = end - at
        return out
