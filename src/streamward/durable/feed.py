"""Who is waiting for what in this process: one feed per followed stream, one table of feeds per store.

A feed knows how far its stream is stored (``head``) and how it ended; stores push into it, tails hang on it. It keeps
no frames: a tail at the head is handed the very list that was stored, one that is behind reads from the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamward.durable.store import Ending, Offset, StreamState, not_found

if TYPE_CHECKING:
    from streamward.durable.tail import Tail


class Feed:
    """What this process knows of one followed stream."""

    __slots__ = ("ending", "followers", "head", "id", "tails", "watched")

    def __init__(self, stream_id: str) -> None:
        self.id = stream_id
        self.head: Offset = 0
        self.ending: Ending | None = None
        self.followers = 0
        self.watched = False
        """The store was told to look out for what other workers write."""
        self.tails: list[Tail] = []

    def push(self, first: Offset, frames: list[bytes], ending: Ending | None) -> None:
        """Frames that have just been stored. Overlaps with what was pushed before are harmless."""
        end = first + len(frames)
        if end > self.head:
            self.head = end
        if ending is not None:
            self.ending = ending
        tails = self.tails
        if len(tails) == 1:
            tails[0].push(first, frames)
        else:
            for tail in tuple(tails):  # a sink may close its tail
                tail.push(first, frames)

    def advance(self, head: Offset, ending: Ending | None) -> None:
        """The stream is known to be stored up to *head*: tails that are behind go and read."""
        if head <= self.head and (ending is None or ending == self.ending):
            return
        if head > self.head:
            self.head = head
        if ending is not None:
            self.ending = ending
        for tail in tuple(self.tails):
            tail.run()


class FeedTable:
    """The part of a store that keeps feeds. Subclasses give ``state`` and are told when following starts and stops."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}

    async def state(self, stream_id: str) -> StreamState | None:
        raise NotImplementedError

    async def follow(self, stream_id: str) -> tuple[Feed, StreamState]:
        # The feed hangs in the table before the state is read: what is stored in between is pushed, not missed.
        feed = self.feeds.get(stream_id)
        if feed is None:
            feed = self.feeds[stream_id] = Feed(stream_id)
        feed.followers += 1
        try:
            state = await self.state(stream_id)
            if state is None:
                raise not_found(stream_id)
        except BaseException:
            self.unfollow(feed)
            raise
        self.seen(feed, state)
        return feed, state

    def follow_new(self, state: StreamState) -> Feed:
        """The same for a stream that this worker has just created: its state is known, nothing is asked."""
        feed = self.feeds.get(state.id)
        if feed is None:
            feed = self.feeds[state.id] = Feed(state.id)
        feed.followers += 1
        self.seen(feed, state)
        return feed

    def seen(self, feed: Feed, state: StreamState) -> None:
        feed.advance(state.next, state.ending)
        if not feed.watched and feed.ending is None:
            feed.watched = True
            self.following(feed)

    def unfollow(self, feed: Feed) -> None:
        feed.followers -= 1
        if feed.followers == 0 and self.feeds.get(feed.id) is feed:
            del self.feeds[feed.id]
            if feed.watched:
                self.not_following(feed)

    def following(self, feed: Feed) -> None:
        """Somebody waits for *feed*: watch the storage for what other workers write."""

    def not_following(self, feed: Feed) -> None:
        """Nobody waits for *feed* any more."""
