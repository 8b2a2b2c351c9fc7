"""Any sequence of creates, writes, claims, stops, sweeps and restarts, with readers all along, equals a small model.

Runs on all stores, restarts included: the store is closed and another worker opens the same place (memory: goes on).
Each tail checks that what it is given is the model's frames, in order, none twice, and ends as the model says.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from streamward.durable import Ending, Fenced, OffsetConflict, Store, StreamState, Tail
from streamward.durable.store import ENDINGS
from support.durable import Backend, FakeClock, Sink, new, read_all, sqlite_place, until, write
from support.redis_server import RedisServer

RETENTION_S = 100.0


class Model:
    """What a stream should be."""

    def __init__(self, state: StreamState) -> None:
        self.state = state  # of the newest epoch
        self.frames: list[bytes] = []
        self.ending: Ending | None = None
        self.ended = 0.0
        self.forgotten = False
        self.sinks: list[tuple[int, Sink]] = []


class StoreMachine(RuleBasedStateMachine):
    """The rules; subclasses name the backend."""

    kind: ClassVar[str]
    server: ClassVar[RedisServer | None] = None
    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.directory = Path(tempfile.mkdtemp(prefix="sw-model-"))
        if self.server is not None:
            self.server.flush()
        place = self.server.url if self.server is not None else sqlite_place(self.directory)
        self.backend = Backend(self.kind, place)
        self.clock = FakeClock()
        self.models: list[Model] = []
        self.tails: list[Tail] = []
        self.chats: dict[str, Model] = {}
        self.store: Store = self.run(self.opened())

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(step)

    async def opened(self) -> Store:
        return await self.backend.open(clock=self.clock).__aenter__()

    def teardown(self) -> None:
        self.run(self.store.__aexit__(None, None, None))
        self.runner.close()
        shutil.rmtree(self.directory)

    @rule(target=streams, chat=st.sampled_from([None, "a", "b"]))
    def create(self, chat: str | None) -> Model:
        model = Model(self.run(self.store.create(new(chat=chat, retention_s=RETENTION_S))).state)
        self.models.append(model)
        if chat is not None:
            self.chats[chat] = model
        return model

    @rule(model=streams, data=st.lists(st.binary(max_size=20), min_size=1, max_size=5))
    def append(self, model: Model, data: list[bytes]) -> None:
        if not model.forgotten and model.ending is None:
            self.run(write(self.store, model.state, len(model.frames), list(data)))
            model.frames += data

    @rule(model=streams, data=st.lists(st.binary(max_size=20), max_size=3), ending=st.sampled_from(ENDINGS))
    def end(self, model: Model, data: list[bytes], ending: Ending) -> None:
        if not model.forgotten and model.ending is None:
            self.run(write(self.store, model.state, len(model.frames), list(data), ending=ending, result=b"r"))
            model.frames += data
            model.ending, model.ended = ending, self.clock.now

    @rule(model=streams, ahead=st.integers(1, 3))
    def append_with_a_gap(self, model: Model, ahead: int) -> None:
        if not model.forgotten:
            with pytest.raises(OffsetConflict):
                self.run(write(self.store, model.state, len(model.frames) + ahead, [b"gap"]))

    @rule(model=streams)
    def append_after_the_end(self, model: Model) -> None:
        if not model.forgotten and model.ending is not None:
            with pytest.raises(OffsetConflict):
                self.run(write(self.store, model.state, len(model.frames), [b"late"]))

    @rule(model=streams)
    def claim(self, model: Model) -> None:
        old = model.state
        claimed = self.run(self.store.claim(old.id, old.epoch))
        assert (claimed is not None) == (model.ending is None and not model.forgotten)
        if claimed is not None:
            assert (old.epoch + 1, len(model.frames)) == (claimed.epoch, claimed.next)
            model.state = claimed
            with pytest.raises(Fenced):
                self.run(write(self.store, old, len(model.frames), [b"zombie"]))

    @rule(model=streams, part=st.floats(0, 1))
    def attach(self, model: Model, part: float) -> None:
        if not model.forgotten:
            first = round(part * len(model.frames))
            sink = Sink()
            feed, _ = self.run(self.store.follow(model.state.id))
            tail = Tail(self.store, feed, first, sink)
            self.tails.append(tail)
            model.sinks.append((first, sink))
            self.run(as_coroutine(tail.resume))

    @rule(index=st.integers(0, 50), pause=st.booleans())
    def pause_or_resume(self, index: int, pause: bool) -> None:
        if self.tails:
            tail = self.tails[index % len(self.tails)]
            self.run(as_coroutine(tail.pause if pause else tail.resume))

    @rule(seconds=st.sampled_from([1.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.settle()  # readers of a forgotten stream are a case of their own
        self.clock.now += seconds
        due = [m for m in self.models if m.ending and not m.forgotten and m.ended + RETENTION_S <= self.clock.now]
        assert len(due) == self.run(self.store.sweep())
        for model in due:
            model.forgotten = True

    @rule()
    def restart(self) -> None:
        if self.backend.shared:
            for tail in self.tails:
                self.run(as_coroutine(tail.close))
            self.tails.clear()
            for model in self.models:
                model.sinks.clear()
            self.run(self.store.__aexit__(None, None, None))
            self.store = self.run(self.opened())

    def settle(self) -> None:
        """Everything that is under way arrives; then every reader has exactly what it should."""
        for tail in self.tails:
            self.run(as_coroutine(tail.resume))
        for model in self.models:
            for first, sink in model.sinks:
                missing = len(model.frames) - first
                self.run(until(lambda s=sink, n=missing, m=model: len(s.frames) >= n and s.ending == m.ending))
                assert model.frames[first:] == sink.frames

    @invariant()
    def the_store_holds_what_the_model_says(self) -> None:
        for model in self.models[-4:]:
            state = self.run(self.store.state(model.state.id))
            if model.forgotten:
                assert state is None
                continue
            assert (len(model.frames), model.ending, model.state.epoch) == (state.next, state.ending, state.epoch)
            assert model.frames == self.run(read_all(self.store, model.state.id))
        for chat, model in self.chats.items():
            active = self.run(self.store.active("t1", chat))
            assert (model.state.id if model.ending is None else None) == (active.id if active else None)

    @invariant()
    def readers_have_a_prefix(self) -> None:
        for model in self.models:
            for first, sink in model.sinks:
                assert model.frames[first : first + len(sink.frames)] == sink.frames
                assert sink.error is None


async def as_coroutine(call: Any) -> None:
    call()


@pytest.mark.parametrize(("kind", "examples"), [("memory", 100), ("sqlite", 20), ("sqlite-settling", 20), ("redis", 20)])
def test_any_sequence_equals_the_model(kind: str, examples: int, request: pytest.FixtureRequest):
    server = request.getfixturevalue("redis_server") if kind == "redis" else None
    machine = type(f"{kind}Machine", (StoreMachine,), {"kind": kind, "server": server})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
