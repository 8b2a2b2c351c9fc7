"""The laws of a store, on all stores. The numbers in the names of the sections are those of the laws."""

from __future__ import annotations

import asyncio

import pytest

from streamward.durable import Fenced, FramesGone, KeyReused, Limits, OffsetConflict, Store, StreamState, Tail
from streamward.durable.store import ENDINGS, MAX_TAIL_BYTES, MAX_TAIL_FRAMES, Ending
from streamward.errors import Conflict, NotFound, Overloaded, StreamwardError
from support.durable import Backend, FakeClock, Sink, fetch, frames, new, read_all, until, write

# -- 1: dense


async def test_frames_come_back_in_order_under_their_offsets(backend: Backend):
    async with backend.open() as store:
        state = (await store.create(new())).state

        await write(store, state, 0, frames(0, 2))
        await write(store, state, 3, frames(3, 3))
        await write(store, state, 4, frames(4, 9))

        assert frames(0, 9) == await read_all(store, state.id)
        assert frames(4, 9) == await read_all(store, state.id, 4)
        assert frames(8, 9) == await read_all(store, state.id, 8)


async def test_frames_are_opaque(backend: Backend):
    """Empty frames, NUL, CRLF, invalid UTF-8: the same bytes come back."""
    odd = [b"", b"\0", b"\r\n", b"\xff\xfe", "é\u2028".encode(), b"x" * 70_000]
    async with backend.open() as store:
        state = (await store.create(new(meta=b"\0\xffmeta"))).state

        await write(store, state, 0, odd)

        assert odd == await read_all(store, state.id)
        assert (await known(store, state.id)).meta == b"\0\xffmeta"


@pytest.mark.parametrize("at", [2, 4, 99])
async def test_a_write_at_another_offset_is_refused_and_changes_nothing(backend: Backend, at: int):
    async with backend.open() as store:
        state = (await store.create(new())).state
        await write(store, state, 0, frames(0, 2))

        with pytest.raises(OffsetConflict):
            await write(store, state, at, [b"a", b"b"])

        assert frames(0, 2) == await read_all(store, state.id)
        assert (await known(store, state.id)).next == 3


async def test_a_repeated_write_succeeds_and_changes_nothing(backend: Backend):
    """The answer was lost, the writer asks again: also for the terminal write."""
    async with backend.open() as store:
        state = (await store.create(new())).state
        for _ in range(3):
            await write(store, state, 0, frames(0, 1))
        for _ in range(3):
            await write(store, state, 2, frames(2, 3), ending="completed", result=b"r")

        assert frames(0, 3) == await read_all(store, state.id)
        assert (await known(store, state.id)).ending == "completed"


async def test_a_write_to_an_unknown_stream_is_refused(backend: Backend):
    async with backend.open() as store:
        state = (await store.create(new())).state

        with pytest.raises(NotFound):
            await write(store, StreamState(**{**fields(state), "id": "st_unknown"}), 0, [b"x"])


async def test_a_read_is_bounded_in_frames_and_bytes_but_makes_progress(backend: Backend):
    big = b"x" * (MAX_TAIL_BYTES // 2 + 1)
    async with backend.open() as store:
        small = (await store.create(new())).state
        large = (await store.create(new())).state
        await write(store, small, 0, [b"s"] * (MAX_TAIL_FRAMES * 2 + 7))
        await write(store, large, 0, [big * 3, big, big])

        assert MAX_TAIL_FRAMES >= len((await fetch(store, small.id)).frames) > 0
        assert [big * 3] == (await fetch(store, large.id)).frames
        assert [big] == (await fetch(store, large.id, 1)).frames
        assert len(await read_all(store, small.id)) == MAX_TAIL_FRAMES * 2 + 7


async def test_reading_at_the_head_yields_nothing_and_says_so(backend: Backend):
    async with backend.open() as store:
        state = (await store.create(new())).state
        empty = await fetch(store, state.id)
        await write(store, state, 0, frames(0, 1))
        batch = await fetch(store, state.id, 2)

        assert (empty.frames, empty.next, empty.ending) == ([], 0, None)
        assert (batch.frames, batch.next, batch.ending) == ([], 2, None)


async def test_reading_an_unknown_stream_is_not_found(backend: Backend):
    async with backend.open() as store:
        with pytest.raises(NotFound):
            await fetch(store, "st_unknown")
        with pytest.raises(NotFound):
            await store.follow("st_unknown")
        assert await store.state("st_unknown") is None
        assert store.feeds == {}  # type: ignore[attr-defined]


# -- 2: persist, then deliver; 3: atomic; 4: closed is closed


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_terminal_write_shows_frames_ending_and_result_together(backend: Backend, ending: Ending):
    async with backend.open() as store:
        state = (await store.create(new(chat="c"))).state
        await write(store, state, 0, frames(0, 0))
        await write(store, state, 1, frames(1, 2), ending=ending, result=b'{"usage":1}')

        after = await known(store, state.id)
        batch = await fetch(store, state.id)

        assert (ending, b'{"usage":1}', 3) == (after.ending, after.result, after.next)
        assert (frames(0, 2), 3, ending) == (batch.frames, batch.next, batch.ending)
        assert not after.live
        assert after.ended is not None


async def test_a_stream_may_end_without_frames(backend: Backend):
    async with backend.open() as store:
        state = (await store.create(new())).state

        await write(store, state, 0, [], ending="failed")

        assert ((await known(store, state.id)).ending, (await known(store, state.id)).next) == ("failed", 0)
        assert await read_all(store, state.id) == []


async def test_nothing_is_appended_after_the_end_and_the_first_ending_stays(backend: Backend):
    async with backend.open() as store:
        state = (await store.create(new())).state
        await write(store, state, 0, frames(0, 0), ending="completed")

        with pytest.raises(OffsetConflict):
            await write(store, state, 1, frames(1, 1))
        with pytest.raises(OffsetConflict):
            await write(store, state, 1, frames(1, 1), ending="failed")
        with pytest.raises(OffsetConflict):
            await write(store, state, 1, [], ending="cancelled")

        assert (await known(store, state.id)).ending == "completed"
        assert frames(0, 0) == await read_all(store, state.id)


async def test_what_was_answered_is_found_by_a_second_worker(shared_backend: Backend):
    async with shared_backend.open() as one, shared_backend.open() as two:
        state = (await one.create(new())).state
        for offset in range(20):
            await write(one, state, offset, frames(offset, offset))

            assert frames(0, offset) == await read_all(two, state.id)


async def test_many_streams_in_one_commit_do_not_mix(backend: Backend):
    async with backend.open() as store:
        states = [(await store.create(new())).state for _ in range(150)]

        await asyncio.gather(*(write(store, state, 0, [state.id.encode()] * 3) for state in states))
        await asyncio.gather(*(write(store, state, 3, [b"end"], ending="completed") for state in states))

        for state in states:
            assert [state.id.encode()] * 3 + [b"end"] == await read_all(store, state.id)


async def test_one_refused_write_does_not_touch_its_neighbours(backend: Backend):
    async with backend.open() as store:
        good, bad = (await store.create(new())).state, (await store.create(new())).state

        results = await asyncio.gather(
            write(store, good, 0, [b"a"]), write(store, bad, 7, [b"x"]), write(store, good, 1, [b"b"]),
            return_exceptions=True,
        )  # fmt: skip

        assert [None, OffsetConflict, None] == [type(r) if r is not None else None for r in results]
        assert await read_all(store, good.id) == [b"a", b"b"]


# -- 5: one writer; 6: ownership is a lease


async def test_after_a_claim_the_old_epoch_is_refused(backend: Backend):
    async with backend.open() as old, backend.open() as heir:
        state = (await old.create(new())).state
        await write(old, state, 0, frames(0, 1))

        claimed = await heir.claim(state.id, state.epoch)

        assert claimed is not None
        assert (2, 2, heir.worker) == (claimed.epoch, claimed.next, claimed.owner)
        with pytest.raises(Fenced):
            await write(old, state, 2, [b"zombie"])
        with pytest.raises(Fenced):
            await write(old, state, 2, [], ending="completed")
        await write(heir, claimed, 2, frames(2, 2), ending="interrupted")
        assert frames(0, 2) == await read_all(old, state.id)


async def test_a_stream_is_claimed_once_per_epoch_and_not_after_its_end(backend: Backend):
    async with backend.open() as store:
        state = (await store.create(new())).state
        claimed = await store.claim(state.id, 1)
        assert claimed is not None

        assert await store.claim(state.id, 1) is None
        await write(store, claimed, 0, [], ending="failed")
        assert await store.claim(state.id, 2) is None
        assert await store.claim("st_unknown", 1) is None


async def test_of_many_that_claim_at_once_one_wins(shared_backend: Backend):
    async with shared_backend.open() as one, shared_backend.open() as two:
        state = (await one.create(new())).state

        claims = await asyncio.gather(*(store.claim(state.id, 1) for store in (one, two, one, two)))

        assert sum(claim is not None for claim in claims) == 1


async def test_streams_of_a_worker_whose_lease_ran_out_are_orphans(backend: Backend):
    async with backend.open() as store:
        await store.heartbeat(30.0)
        live, ended = (await store.create(new())).state, (await store.create(new())).state
        await write(store, ended, 0, [], ending="completed")
        assert await store.orphans() == []

        await store.heartbeat(0.01)
        found: list[StreamState] = []
        async with asyncio.timeout(5):
            while not found:
                found = await store.orphans()
        await store.heartbeat(30.0)

        assert [live.id] == [orphan.id for orphan in found]
        assert await store.orphans() == [], "a renewed lease makes the streams owned again"


async def test_a_claimed_orphan_is_no_orphan(shared_backend: Backend):
    async with shared_backend.open() as dead, shared_backend.open() as heir:
        await dead.heartbeat(0.001)
        await heir.heartbeat(30.0)
        state = (await dead.create(new())).state
        async with asyncio.timeout(5):
            while not await heir.orphans():
                pass

        assert await heir.claim(state.id, 1) is not None
        assert await heir.orphans() == []


# -- 7: idempotency


async def test_the_same_key_and_body_lead_to_the_same_stream(backend: Backend):
    async with backend.open() as one, backend.open() as two:
        first = await one.create(new(idempotency_key="k", body_hash="h"))
        await write(one, first.state, 0, frames(0, 0))
        again = await two.create(new(idempotency_key="k", body_hash="h"))

        assert (first.fresh, again.fresh) == (True, False)
        assert (first.state.id, 1) == (again.state.id, again.state.next)


async def test_the_same_key_with_another_body_is_refused(backend: Backend):
    async with backend.open() as store:
        await store.create(new(idempotency_key="k", body_hash="h"))

        with pytest.raises(KeyReused) as refusal:
            await store.create(new(idempotency_key="k", body_hash="other"))

        assert refusal.value.info.status == 422
        assert (await store.held()).streams == 1


async def test_keys_belong_to_a_tenant(backend: Backend):
    async with backend.open() as store:
        one = await store.create(new(tenant="a:b", idempotency_key="c", body_hash="h"))
        two = await store.create(new(tenant="a", idempotency_key="b:c", body_hash="h"))

        assert one.fresh
        assert two.fresh


async def test_of_many_creates_with_one_key_one_is_fresh(backend: Backend):
    async with backend.open() as one, backend.open() as two:
        made = await asyncio.gather(
            *(store.create(new(idempotency_key="k", body_hash="h")) for store in (one, two) * 8)
        )

        assert sum(created.fresh for created in made) == 1
        assert len({created.state.id for created in made}) == 1
        assert (await one.held()).streams == 1


async def test_a_key_is_free_again_when_its_stream_is_forgotten(backend: Backend):
    clock = FakeClock()
    async with backend.open(clock=clock) as store:
        first = await store.create(new(idempotency_key="k", body_hash="h", retention_s=60))
        await write(store, first.state, 0, [], ending="completed")
        clock.now += 61
        await store.sweep()

        second = await store.create(new(idempotency_key="k", body_hash="other"))

        assert second.fresh


async def test_an_id_is_taken_once(backend: Backend):
    async with backend.open() as store:
        stream = new()
        await store.create(stream)

        with pytest.raises(Conflict):
            await store.create(stream)


# -- 8: the chat's pointer


async def test_a_chat_points_at_its_live_stream_for_every_worker(backend: Backend):
    async with backend.open() as one, backend.open() as two:
        state = (await one.create(new(chat="c/ü #1"))).state

        found = await two.active("t1", "c/ü #1")

        assert found is not None
        assert state.id == found.id
        assert await two.active("t2", "c/ü #1") is None
        assert await two.active("t1", "other") is None


async def test_the_pointer_goes_with_the_terminal_write(backend: Backend):
    async with backend.open() as store:
        state = (await store.create(new(chat="c"))).state
        await write(store, state, 0, frames(0, 0))
        before = await store.active("t1", "c")
        await write(store, state, 1, frames(1, 1), ending="completed")

        assert before is not None
        assert await store.active("t1", "c") is None


async def test_a_newer_stream_takes_the_pointer_and_the_older_ones_end_leaves_it(backend: Backend):
    async with backend.open() as store:
        old = (await store.create(new(chat="c"))).state
        newer = (await store.create(new(chat="c"))).state
        await write(store, old, 0, [], ending="cancelled")
        found = await store.active("t1", "c")
        await write(store, newer, 0, [], ending="completed")

        assert found is not None
        assert newer.id == found.id
        assert await store.active("t1", "c") is None


async def test_an_older_live_stream_does_not_come_back_when_the_newer_one_is_forgotten(backend: Backend):
    """The chat has gone on without it; found by the model test."""
    clock = FakeClock()
    async with backend.open(clock=clock) as store:
        await store.create(new(chat="c"))
        newer = (await store.create(new(chat="c", retention_s=60.0))).state
        await write(store, newer, 0, [], ending="completed")
        clock.now += 61
        await store.sweep()

        assert await store.state(newer.id) is None
        assert await store.active("t1", "c") is None


# -- 9: bounded


async def test_past_its_bound_a_stream_loses_its_oldest_frames_and_says_so(backend: Backend):
    async with backend.open(limits=Limits(stream_bytes=10_000)) as store:
        state = (await store.create(new())).state
        for offset in range(300):
            await write(store, state, offset, [b"%03d" % offset + b"." * 97])

        after = await known(store, state.id)
        kept = await read_all(store, state.id, after.earliest)
        with pytest.raises(FramesGone) as gone:
            await fetch(store, state.id, after.earliest - 1)

        assert after.next == 300
        assert after.live
        assert after.earliest == gone.value.earliest
        assert [b"%03d" % offset for offset in range(after.earliest, 300)] == [frame[:3] for frame in kept]
        assert 50 <= len(kept) <= 100
        assert (await store.held()).bytes <= 10_500


async def test_the_total_bound_takes_ended_streams_oldest_first_and_no_live_one(backend: Backend):
    clock = FakeClock()
    async with backend.open(clock=clock, limits=Limits(total_bytes=3_500)) as store:
        live = (await store.create(new())).state
        await write(store, live, 0, [b"l" * 1000])
        ended = []
        for _ in range(4):
            clock.now += 1
            state = (await store.create(new())).state
            await write(store, state, 0, [b"e" * 900], ending="completed")
            ended.append(state)
        await store.sweep()

        earliest = [(await known(store, state.id)).earliest for state in ended]

        assert earliest == [1, 1, 0, 0]
        assert await read_all(store, live.id) == [b"l" * 1000]
        with pytest.raises(FramesGone) as gone:
            await fetch(store, ended[0].id)
        assert gone.value.earliest == 1
        assert await read_all(store, ended[0].id, 1) == []
        assert (await store.held()).bytes <= 3_500


async def test_when_live_streams_fill_the_store_new_ones_are_refused(backend: Backend):
    async with backend.open(limits=Limits(total_bytes=1_000)) as store:
        state = (await store.create(new())).state
        await write(store, state, 0, [b"x" * 1_200])
        await store.sweep()

        with pytest.raises(Overloaded):
            await store.create(new())
        await write(store, state, 1, [b"y"])
        await write(store, state, 2, [b"z"], ending="completed")
        await store.sweep()

        assert (await store.create(new())).fresh


# -- 10: forgotten on time


async def test_ended_streams_are_forgotten_after_their_retention_and_live_ones_never(backend: Backend):
    clock = FakeClock()
    async with backend.open(clock=clock) as store:
        live = (await store.create(new(retention_s=1))).state
        short, long = [(await store.create(new(retention_s=s))).state for s in (10, 100)]
        for state in (short, long):
            await write(store, state, 0, frames(0, 0), ending="completed")

        clock.now += 11
        assert await store.sweep() == 1
        assert [await store.state(s.id) is not None for s in (live, short, long)] == [True, False, True]
        clock.now += 90
        assert await store.sweep() == 1
        assert [await store.state(s.id) is not None for s in (live, short, long)] == [True, False, False]
        with pytest.raises(NotFound):
            await fetch(store, long.id)
        assert (await store.held()).streams == 1


# -- stop requests


async def test_a_stop_request_reaches_the_worker_that_writes(backend: Backend):
    async with backend.open() as one, backend.open() as two:
        heard: list[str] = []
        one.on_stop = heard.append
        state = (await one.create(new())).state

        await two.request_stop(state.id)
        await until(lambda: heard, within_s=3)

        assert {state.id} == set(heard)
        assert (await known(two, state.id)).stop_requested


async def test_a_stop_request_for_an_ended_or_unknown_stream_does_nothing(backend: Backend):
    async with backend.open() as store:
        heard: list[str] = []
        store.on_stop = heard.append
        state = (await store.create(new())).state
        await write(store, state, 0, [], ending="completed")

        await store.request_stop(state.id)
        await store.request_stop("st_unknown")

        assert heard == []
        assert not (await known(store, state.id)).stop_requested


async def test_what_create_says_is_what_the_store_holds(backend: Backend):
    clock = FakeClock()
    async with backend.open(clock=clock) as store:
        made = (await store.create(new(chat="c", meta=b"m", retention_s=5))).state

        assert made == await store.state(made.id)
        assert (made.earliest, made.next, made.epoch, made.live, made.ending) == (0, 0, 1, True, None)


async def known(store: Store, stream_id: str) -> StreamState:
    state = await store.state(stream_id)
    assert state is not None
    return state


def fields(state: StreamState) -> dict[str, object]:
    return {name: getattr(state, name) for name in state.__struct_fields__}


# -- begun without waiting


async def test_what_is_written_to_a_stream_just_begun_is_stored_and_delivered(backend: Backend):
    async with backend.open() as store:
        state = store.begin(new(chat="c"), unexpected)
        sink = Sink()
        Tail(store, store.follow_new(state), 0, sink).resume()
        await asyncio.gather(
            write(store, state, 0, frames(0, 1)), write(store, state, 2, frames(2, 2), ending="completed", result=b"r")
        )
        await until(lambda: sink.over)
        stored = await store.state(state.id)

        assert sink.frames == frames(0, 2)
        assert stored is not None
        assert (stored.tenant, stored.chat, stored.next, stored.ending, stored.result) == ("t1", "c", 3, "completed", b"r")


async def test_a_stream_begun_and_left_alone_is_stored_soon(backend: Backend):
    async with backend.open() as store:
        state = store.begin(new(chat="c"), unexpected)
        async with asyncio.timeout(5):
            while (found := await store.state(state.id)) is None:
                pass
        active = await store.active("t1", "c")

        assert found is not None
        assert (found.owner, found.live, found.next, found.epoch) == (store.worker, True, 0, state.epoch)
        assert active is not None
        assert active.id == state.id


async def test_a_stream_begun_under_a_taken_id_is_refused_and_harms_nothing(backend: Backend):
    async with backend.open() as store:
        first = (await store.create(new())).state
        await write(store, first, 0, frames(0, 0))
        refused: list[StreamwardError] = []
        try:
            store.begin(new(id=first.id, tenant="t2"), refused.append)
        except Conflict as exc:
            refused.append(exc)
        await until(lambda: refused)
        kept = await store.state(first.id)

        assert [error.code for error in refused] == [Conflict.code]
        assert kept is not None
        assert (kept.tenant, kept.next) == (first.tenant, 1)


async def test_a_full_store_refuses_a_stream_begun_and_what_was_written_to_it(backend: Backend):
    async with backend.open(limits=Limits(total_bytes=1_000)) as store:
        state = (await store.create(new())).state
        await write(store, state, 0, [b"x" * 1_200])
        await store.sweep()
        refused: list[StreamwardError] = []
        try:
            late = store.begin(new(), refused.append)
        except Overloaded as exc:
            refused.append(exc)
        else:
            with pytest.raises(NotFound):
                await write(store, late, 0, frames(0, 0))
            assert await store.state(late.id) is None

        assert [type(error) for error in refused] == [Overloaded]


def unexpected(error: StreamwardError) -> None:
    raise AssertionError(error)
