"""Pools of workers, and the lanes of requests that lead to them.

A lane is one function: its caps, its queue, its import state. A pool is the worker processes that serve one lane, or
all of them with ``isolation = "app"``. Generations replace one another on reload; the last good one goes on serving.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from streamward.functions import link
from streamward.functions.processes import Owner, WorkerProcess
from streamward.functions.router import Route

if TYPE_CHECKING:
    from streamward.functions.host import FunctionsHost
    from streamward.functions.invocation import Invocation
    from streamward.functions.response import ClientSide

FREEZE_S = 0.5  # a worker that starts nothing and says nothing for this long is passed by
RETRY_IMPORT_S = 1.0
MAX_ATTEMPTS = 3  # a request whose workers die before starting it is not carried on for ever
PAGE = os.sysconf("SC_PAGE_SIZE")

log = logging.getLogger("streamward.functions")


class Lane:
    """One function and its waiting requests."""

    def __init__(self, pool: Pool, route: Route) -> None:
        self.pool = pool
        self.route = route
        self.file = route.file
        self.waiting: deque[Invocation] = deque()
        self.running = 0
        self.error = ""
        """Traceback of the last failed import, while no generation is good."""
        self.failed_at = 0.0
        self.stale = False
        self.good = False
        self.kind = route.kind
        self.methods: tuple[str, ...] = route.methods
        self.retry: asyncio.TimerHandle | None = None

    @property
    def cap(self) -> int:
        return self.route.config.max_concurrency * self.route.config.workers

    @property
    def saturated(self) -> bool:
        return self.running >= self.cap and len(self.waiting) >= self.route.config.queue_size

    def admit(self, invocation: Invocation) -> bool:
        """Start it, or let it wait; False when the queue is full."""
        if not self.waiting and self.dispatch(invocation):
            return True
        room = max(0, self.cap - self.running) + self.route.config.queue_size
        if len(self.waiting) >= room:
            return False
        self.waiting.append(invocation)
        return True

    def dispatch(self, invocation: Invocation) -> bool:
        if self.running >= self.cap:
            return False
        worker = self.pool.pick(self)
        if worker is None:
            return False
        self.running += 1
        worker.take(invocation, self.file)
        invocation.dispatch(worker)
        return True

    def advance(self) -> None:
        """Start what waits, in order of arrival, as far as there is room."""
        while self.waiting:
            invocation = self.waiting[0]
            if invocation.ended:
                self.waiting.popleft()
                continue
            self.waiting.popleft()
            if not self.dispatch(invocation):
                self.waiting.appendleft(invocation)
                return

    def leave(self, leaving: ClientSide) -> None:
        """Its client went, or it waited too long: its place is free."""
        self.waiting = deque(invocation for invocation in self.waiting if invocation is not leaving)

    def fail_all(self, code: str, detail: str) -> None:
        waiting, self.waiting = self.waiting, deque()
        for invocation in waiting:
            invocation.fail(code, detail)


class Pool(Owner):
    """Worker processes of one generation, and those before and after it that still live."""

    def __init__(self, host: FunctionsHost, key: str, routes: Iterable[Route]) -> None:
        self.host = host
        self.key = key
        self.lanes = {route.file: Lane(self, route) for route in routes}
        self.generation = 1
        self.serving = 1
        self.workers: list[WorkerProcess] = []
        self.closed = False
        self.ready_once = asyncio.Event()

    @property
    def size(self) -> int:
        return max(lane.route.config.workers for lane in self.lanes.values())

    def start(self) -> None:
        for _ in range(self.size):
            self.spawn(self.generation)

    def spawn(self, generation: int) -> WorkerProcess:
        functions = [
            link.FunctionSpec(lane.file, r.kind, r.entrypoint, r.config.content_type, r.tree)
            for lane in self.lanes.values()
            for r in (lane.route,)
        ]
        configs = [lane.route.config for lane in self.lanes.values()]
        spec = link.WorkerSpec(
            folder=str(self.host.folder), functions=functions, environment=self.host.environment,
            instance=f"w-{secrets.token_hex(4)}", max_concurrency=max(c.max_concurrency for c in configs),
            memory_mb=max(c.memory_mb for c in configs), bytecode=not self.host.development,
            server=self.host.address,
        )  # fmt: skip
        worker = WorkerProcess(self.host.zygote, self, spec, generation)
        self.workers.append(worker)
        self.host.metrics.count("streamward_coldstarts", self.key)
        self.host.loop.call_later(self.host.config.init_timeout, self.too_slow, worker)
        return worker

    def usable(self, worker: WorkerProcess) -> bool:
        return worker.ready and not worker.retired and worker.generation == self.serving

    def pick(self, lane: Lane) -> WorkerProcess | None:
        """The least busy worker with room for one more request of *lane*."""
        best: WorkerProcess | None = None
        cap = lane.route.config.max_concurrency
        for worker in self.workers:
            if not self.usable(worker) or worker.suspect or lane.file not in worker.files:
                continue
            if worker.counts.get(lane.file, 0) < cap and (best is None or len(worker.invocations) < len(best.invocations)):
                best = worker
        return best

    def advance(self) -> None:
        for lane in self.lanes.values():
            lane.advance()

    # -- reports of workers

    def worker_imported(self, worker: WorkerProcess, message: link.Imported) -> None:
        lane = self.lanes.get(message.file)
        if lane is None or worker.generation not in (self.serving, self.generation):
            return
        if not message.error:
            worker.files.add(message.file)
            lane.error, lane.good = "", True
            lane.kind = message.kind
            lane.methods = tuple(message.methods) if lane.route.methods == ("*",) else lane.route.methods
            if worker.generation == self.generation:
                lane.stale = False
            if worker.ready:  # imported again, in a worker that serves others
                lane.advance()
            return
        self.host.say("error", f"{message.file} cannot be imported\n{message.error.rstrip()}", worker.instance)
        self.import_failed(worker, lane, message.error)

    def import_failed(self, worker: WorkerProcess, lane: Lane, error: str) -> None:
        lane.failed_at = self.host.loop.time()
        if worker.generation > self.serving and lane.good:
            lane.stale = True  # the last good generation goes on
            self.drop_generation(worker.generation)
            return
        lane.error, lane.good = error, False
        lane.fail_all("FUNCTION_INVOCATION_FAILED", error)

    def drop_generation(self, generation: int) -> None:
        for worker in self.workers:
            if worker.generation == generation:
                worker.retire("reload")
        self.ready_once.set()

    def worker_ready(self, worker: WorkerProcess) -> None:
        self.host.metrics.observe("streamward_init_duration_seconds", self.key, self.host.loop.time() - worker.started_at)
        if worker.retired:
            worker.consider_end()
            return
        if worker.generation > self.serving:
            fresh = [w for w in self.workers if w.generation == worker.generation and not w.retired]
            if not all(w.ready for w in fresh):
                return
            self.serving = worker.generation
            for old in self.workers:
                if old.generation < self.serving and not old.retired:
                    self.host.metrics.count("streamward_worker_restarts", self.key, "reload")
                    old.retire("reload")
        self.ready_once.set()
        for lane in self.lanes.values():
            if lane.error:  # came between the failed import and this report
                lane.fail_all("FUNCTION_INVOCATION_FAILED", lane.error)
        self.advance()

    def worker_idle(self, worker: WorkerProcess) -> None:
        if not worker.invocations and not worker.retired:
            alive = [w for w in self.workers if self.usable(w) and not w.suspect]
            if len(alive) > self.size:
                worker.retire("surplus")
        self.advance()

    def worker_exited(self, worker: WorkerProcess, status: int) -> None:
        self.workers.remove(worker)
        if self.closed:
            return
        unexpected = worker.retired in ("", "crash")
        if unexpected:
            self.host.metrics.count("streamward_worker_restarts", self.key, "crash")
        if unexpected and not worker.was_ready:
            self.died_at_import(worker, status)
        elif unexpected:
            self.ensure()
        self.advance()

    def died_at_import(self, worker: WorkerProcess, status: int) -> None:
        said = f"the worker ended while importing ({describe_exit(status)})"
        for lane in self.lanes.values():
            self.host.say("error", f"{lane.file}: {said}", worker.instance)
            self.import_failed(worker, lane, said)

    def too_slow(self, worker: WorkerProcess) -> None:
        if worker.ready or worker.gone or self.closed:
            return
        said = f"the import took longer than init_timeout ({self.host.config.init_timeout:g} s)"
        for lane in self.lanes.values():
            self.host.say("error", f"{lane.file}: {said}", worker.instance)
            self.import_failed(worker, lane, said)
        worker.retired = "timeout"
        worker.kill()

    def worker_records(self, worker: WorkerProcess, records: list[link.LogRecord]) -> None:
        self.host.take_records(self.key, worker, records)

    def worker_line(self, worker: WorkerProcess, stream: str, text: str, *, truncated: bool) -> None:
        self.host.take_line(self.key, worker, stream, text, truncated=truncated)

    def worker_fatal(self, worker: WorkerProcess, text: str) -> None:
        self.host.take_stacks(worker, text)

    # -- replacement

    def replace(self, worker: WorkerProcess, reason: str) -> None:
        """Retire *worker* and start its replacement at once."""
        if worker.retired or worker.gone or self.closed:
            return
        self.host.metrics.count("streamward_worker_restarts", self.key, reason)
        worker.retire(reason)
        self.ensure()

    def overdue(self, worker: WorkerProcess, request_id: str) -> None:
        """The invocation was told to end and has not: the worker is not to be trusted any more."""
        if request_id in worker.invocations and not worker.gone:
            worker.overdue.add(request_id)
            self.replace(worker, "timeout")
            self.move_unbegun(worker)
            worker.watch_overdue()

    def look_for_freeze(self, worker: WorkerProcess) -> None:
        """A moment after a ping: no answer means its event loop is blocked, and nothing more goes there."""
        if not worker.responsive and not worker.gone:
            worker.suspect = True
            self.move_unbegun(worker)
            self.ensure()

    def move_unbegun(self, worker: WorkerProcess) -> None:
        for invocation in [i for i in worker.invocations.values() if not i.begun]:
            worker.forget(invocation)
            invocation.reassign()

    def ensure(self) -> None:
        """Start workers until as many as wanted can be counted on."""
        if self.closed:
            return
        good = [w for w in self.workers if w.generation == self.serving and not (w.retired or w.suspect or w.gone)]
        for _ in range(self.size - len(good)):
            self.spawn(self.serving)

    def reload(self, routes: dict[str, Route]) -> None:
        """Start a new generation; the present one serves until the new one is ready."""
        for file, route in routes.items():
            if file in self.lanes:
                self.lanes[file].route = route
                self.lanes[file].methods = route.methods
        if self.generation > self.serving:
            self.drop_generation(self.generation)
        self.generation += 1
        if not any(self.usable(worker) and worker.files for worker in self.workers):
            self.serving = self.generation
            for old in self.workers:
                old.retire("reload")
        for _ in range(self.size):
            self.spawn(self.generation)

    def retry_import(self, lane: Lane) -> bool:
        """Try a failed import again, at most once a second. True when an attempt is under way."""
        now = self.host.loop.time()
        if any(not w.ready and not w.retired for w in self.workers):
            return True
        if now - lane.failed_at < RETRY_IMPORT_S:
            return False
        lane.failed_at = now
        if len(self.lanes) > 1:
            for worker in self.workers:
                if self.usable(worker):
                    worker.send(link.Reimport(lane.file))
            return True
        for worker in self.workers:
            worker.retire("reload")
        self.start_again()
        return True

    def start_again(self) -> None:
        self.generation += 1
        self.serving = self.generation
        for _ in range(self.size):
            self.spawn(self.generation)

    def close(self) -> None:
        """The function is gone, or the server stops: end when what runs has ended."""
        self.closed = True
        for lane in self.lanes.values():
            lane.fail_all("NOT_FOUND" if not self.host.draining else "SERVER_DRAINING", "")
        for worker in list(self.workers):
            worker.retire("stop")

    # -- watching

    def tick(self, now: float) -> None:
        for worker in list(self.workers):
            worker.tick(now)
            self.watch_freeze(worker, now)

    def watch_freeze(self, worker: WorkerProcess, now: float) -> None:
        stuck = [i for i in worker.invocations.values() if not i.begun and now - i.dispatched_at > FREEZE_S]
        if not stuck or now - worker.heard_at < FREEZE_S or worker.killing:
            return
        worker.suspect = True
        for invocation in stuck:
            worker.forget(invocation)
            invocation.reassign()
        self.ensure()

    def sample_memory(self) -> None:
        for worker in list(self.workers):
            limit = max(lane.route.config.memory_mb for lane in self.lanes.values())
            used = worker.sample_memory(PAGE)
            if used > limit << 20 and not worker.retired:
                said = f"{self.key}: worker uses {used >> 20} MiB of {limit} MiB and is being replaced"
                self.host.say("warning", said, worker.instance, code="MEMORY_LIMIT")
                self.replace(worker, "memory")


def describe_exit(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    import signal

    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
