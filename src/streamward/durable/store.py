"""What a store of durable streams is: its values, its errors, its protocol and its laws.

A *stream* is the log of one answer: frames (opaque bytes, encoded once, sent unchanged to every reader) with offsets
0, 1, 2, ... and in the end one ending. Not here: any storage (``memory``, ``sqlite``, ``redis``), the push-driven
producer side (``record``), readers (``tail``), the upkeep of one worker (``streams``).

The laws, checked by one test suite over all stores:

1.  *Dense.* Frames of a stream have the offsets 0, 1, 2, ...; a write names the offset it starts at and is refused
    when that is not the next one. Repeating a write that already took place, under the same epoch, changes nothing
    and succeeds: a writer that lost the answer may ask again. (Bytes are not compared: an epoch has one writer.)
2.  *Persist, then deliver.* ``Write.done`` is called, and tails see the frames, only once the frames are stored at the
    store's level. What was delivered is found again by every later read, whoever crashes (as far as the level says).
3.  *Atomic.* A write is stored whole or not at all. The frames of the terminal write, the ending, the result and the
    clearing of the chat pointer become visible together.
4.  *Closed is closed.* The first ending stays; nothing is appended after it.
5.  *One writer.* Every write carries the epoch of its stream. Claiming a stream raises the epoch; whoever held the old
    one is refused from then on (``Fenced``), also when it was only asleep.
6.  *Ownership is a lease.* Live streams belong to a worker that renews its lease; the streams of a worker whose lease ran
    out are listed by ``orphans`` and may be claimed by anybody, once.
7.  *One stream per idempotency key* (and tenant, and body): a second create returns the first stream. Another body
    under the same key is refused with 422.
8.  *A chat points at its newest stream while that is live*, and at nothing otherwise.
9.  *Bounded.* Past the bound of one stream its oldest frames go; past the bound of the store the content of ended
    streams goes, the longest ended first. Live streams never lose frames to the second bound. Reading what has gone
    raises ``FramesGone`` with the earliest offset still held: never a silent gap.
10. *Forgotten on time.* An ended stream disappears ``retention_s`` after its end, by a timer and not by luck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from msgspec import Struct

from streamward.errors import Conflict, Gone, InvalidRequest, NotFound, StreamwardError

if TYPE_CHECKING:
    from streamward.durable.feed import Feed

Offset: TypeAlias = int
Ending = Literal["completed", "failed", "cancelled", "interrupted"]
Level = Literal["memory", "process", "disk", "redis"]

ENDINGS: tuple[Ending, ...] = ("completed", "failed", "cancelled", "interrupted")

DEFAULT_RETENTION_S = 3600.0  # long enough for a laptop lid and a train ride; the contract's default
LEASE_S = 10.0  # readers of a dead producer are told within this time
HEARTBEAT_S = 2.0  # five chances to renew a lease before it runs out
MAX_TAIL_BYTES = 256 * 1024  # one catch-up read; about what a socket takes before it pauses us
MAX_TAIL_FRAMES = 512  # the same bound for small frames: 512 tokens are ten seconds of a fast model


class Fenced(Conflict):
    """Another writer has claimed this stream; the old one must stop."""

    code = "stream_fenced"


class OffsetConflict(Conflict):
    """A write that does not start at the next offset, or comes after the end."""

    code = "offset_conflict"


class KeyReused(InvalidRequest):
    """The same idempotency key with another body."""

    code, status = "idempotency_key_reused", 422


class FramesGone(Gone):
    """Frames before :attr:`earliest` are no longer held."""

    def __init__(self, message: str, *, earliest: Offset) -> None:
        super().__init__(message)
        self.earliest = earliest


class StoreUnavailable(StreamwardError):
    """The storage did not answer, or refused to write, for longer than we are willing to hold frames in memory."""

    code, status, safe_to_retry = "store_unavailable", 503, True


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds on content, in bytes of frames."""

    stream_bytes: int = 64 << 20
    """One stream. Past it the oldest frames go. 64 MiB is an hour of the fastest model seen."""
    total_bytes: int = 1 << 30
    """All streams of the store together. Past it the content of ended streams goes, the longest ended first."""


DEFAULT_LIMITS = Limits()


class NewStream(Struct, frozen=True, kw_only=True):
    """What a stream is created with."""

    id: str
    """Unguessable, from :func:`streamward.durable.new_stream_id`; not a credential all the same."""
    tenant: str
    """Id of the key or tenant it belongs to: only that tenant may read or stop it."""
    dialect: str
    meta: bytes = b""
    """Opaque to the store: whatever the product wants to find again (headers, the request's id)."""
    chat: str | None = None
    """Chat id that shall point at this stream while it is live."""
    retention_s: float = DEFAULT_RETENTION_S
    idempotency_key: str | None = None
    body_hash: str = ""


class StreamState(Struct, frozen=True, kw_only=True):
    """A stream as the store sees it now."""

    id: str
    tenant: str
    dialect: str
    meta: bytes
    chat: str | None
    retention_s: float
    created: float
    """Unix seconds."""
    owner: str
    epoch: int
    earliest: Offset
    """First offset still held; equals :attr:`next` when nothing is."""
    next: Offset
    """Offset the next frame will get; the number of frames written so far."""
    stop_requested: bool = False
    ending: Ending | None = None
    ended: float | None = None
    result: bytes = b""
    """Opaque, small, written with the ending: usage, finish reason."""

    @property
    def live(self) -> bool:
        return self.ending is None


class Created(Struct, frozen=True):
    """Answer of ``create``: *fresh* is false when the idempotency key led to a stream that was already there."""

    state: StreamState
    fresh: bool


class Write(Struct, gc=False):
    """One append, or the terminal append when :attr:`ending` is set. Filled by the recorder, taken by the store."""

    id: str
    epoch: int
    at: Offset
    frames: list[bytes]
    size: int
    """Bytes of :attr:`frames` together."""
    done: Callable[[Write, StreamwardError | None], None]
    """Called once on the event loop: stored at the store's level, or refused (the error says why)."""
    ending: Ending | None = None
    result: bytes = b""
    taken: bool = False
    """Set by the store when it starts to commit; until then the recorder may add frames to this write."""


class Batch(Struct, frozen=True, gc=False):
    """Frames *first*, *first* + 1, ... as read from the store, and how far the stream is."""

    first: Offset
    frames: list[bytes]
    next: Offset
    ending: Ending | None


class Held(Struct, frozen=True):
    """What the store holds: for bounds, metrics and tests."""

    streams: int
    live: int
    bytes: int


Refused: TypeAlias = Callable[[StreamwardError], None]
Fetched: TypeAlias = Callable[[Batch | StreamwardError], None]


class Store(Protocol):
    """Storage of durable streams, as one worker sees it. Belongs to one event loop; ``async with`` opens and closes it.

    ``write`` and ``fetch`` are the token path: they never wait, and answer through a callback on the event loop (the
    memory store: before they return). Everything else is a coroutine and happens once or twice in a stream's life.
    """

    level: Level
    worker: str
    on_stop: Callable[[str], None]
    """Called with the id of a stream written here that some worker was asked to stop. Set by ``Streams``."""

    async def __aenter__(self) -> Store: ...
    async def __aexit__(self, *exc: object) -> None: ...

    async def create(self, new: NewStream) -> Created:
        """A live stream of epoch 1 owned by this worker, or the one its idempotency key stands for.

        Raises:
            KeyReused: same key, other body.
            Overloaded: live streams alone fill the store.
            Conflict: the id is taken.
        """

    def begin(self, new: NewStream, refused: Refused) -> StreamState:
        """As ``create`` for a stream without an idempotency key, but without waiting: what is written to it meanwhile is
        stored after it. *refused* is called if it turns out that it cannot be created; then nothing of it is stored.

        Raises:
            Overloaded, Conflict: refused at once.
        """

    def write(self, write: Write) -> None:
        """Append; see the laws. Refused with Fenced, OffsetConflict, NotFound or StoreUnavailable."""

    def fetch(self, stream_id: str, first: Offset, done: Fetched) -> None:
        """At most MAX_TAIL_BYTES and MAX_TAIL_FRAMES (but one frame at least, if there is one) from offset *first* on."""

    async def state(self, stream_id: str) -> StreamState | None: ...

    async def active(self, tenant: str, chat: str) -> StreamState | None:
        """The newest stream of this chat, if it is live."""

    async def follow(self, stream_id: str) -> tuple[Feed, StreamState]:
        """Start to be told what is stored in this stream, by whomever. Each call needs one ``unfollow``.

        Raises:
            NotFound: there is no such stream.
        """

    def follow_new(self, state: StreamState) -> Feed:
        """The same for a stream that this worker has just created, without asking the storage."""

    def unfollow(self, feed: Feed) -> None: ...

    async def request_stop(self, stream_id: str) -> None:
        """Ask the worker that writes this stream to end it. Does nothing to an ended or unknown stream."""

    async def heartbeat(self, lease_s: float = LEASE_S) -> None:
        """Renew this worker's lease."""

    async def orphans(self) -> list[StreamState]:
        """Live streams whose owner's lease has run out (at most 1000 at a time)."""

    async def claim(self, stream_id: str, epoch: int) -> StreamState | None:
        """Take a live stream over: raises its epoch and makes it ours. None when *epoch* is no longer the current one."""

    async def sweep(self) -> int:
        """Forget ended streams past retention and enforce the total bound. Number of streams that lost content."""

    async def held(self) -> Held: ...


def fresh_state(new: NewStream, created: float, owner: str) -> StreamState:
    """A stream that has just been created."""
    return StreamState(
        id=new.id, tenant=new.tenant, dialect=new.dialect, meta=new.meta, chat=new.chat, retention_s=new.retention_s,
        created=created, owner=owner, epoch=1, earliest=0, next=0,
    )  # fmt: skip


def not_found(stream_id: str) -> NotFound:
    """The same words for an unknown stream and a stranger's: they must not be told apart."""
    return NotFound(f"no stream {stream_id[:64]!r}: it never existed, was forgotten after its retention, or is not yours")


def frames_gone(first: Offset, earliest: Offset) -> FramesGone:
    return FramesGone(f"frames before offset {earliest} are no longer held, {first} was asked for", earliest=earliest)


def fenced(stream_id: str, epoch: int, current: int) -> Fenced:
    return Fenced(f"stream {stream_id} was claimed by another writer: its epoch is {current}, this write has {epoch}")


def check_write(
    write: Write, epoch: int, next_offset: Offset, ending: Ending | None
) -> StreamwardError | Literal[True] | None:
    """Laws 1, 4 and 5 for stores that hold the state at hand: an error, True for a repetition, None to go on."""
    if write.epoch != epoch:
        return fenced(write.id, write.epoch, epoch)
    end = write.at + len(write.frames)
    if ending is not None:
        if write.ending == ending and end == next_offset:
            return True
        return OffsetConflict(f"stream {write.id} has ended ({ending}) at offset {next_offset}: nothing can be appended")
    if write.at != next_offset:
        if end <= next_offset and write.frames and write.ending is None:
            return True
        return OffsetConflict(f"stream {write.id} continues at offset {next_offset}, this write starts at {write.at}")
    return None
