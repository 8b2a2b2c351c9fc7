"""Worker processes as the front sees them: spawned by the zygote, heard over control, logs and pipes, killed in steps."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from streamward.functions import link
from streamward.functions.logs import LineJoiner
from streamward.functions.packets import Packets, packet_pair

if TYPE_CHECKING:
    from streamward.functions.invocation import Invocation

STACKS_S = 0.3  # how long a dying worker may take to write its stacks
PATIENCE_S = 0.5  # between two looks at a worker that holds an overdue invocation
STOP_S = 5.0  # lifespan shutdown
LOG_BYTES_PER_TURN = 16 << 10  # about a millisecond of work; then the streams get a turn
EVERYTHING = 8 << 20  # more than a socket can hold
LOG_PACKET_BYTES = 1 << 20  # more than any: one line of 256 KiB, or a batch of 64 KiB and one such line
PIPE_BYTES = 64 << 10
PARTIAL_S = 1.0

log = logging.getLogger("streamward.functions")


class Zygote:
    """The process that forks workers. Restarted when it dies."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.workers: dict[int, WorkerProcess] = {}
        self.next_number = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.packets: Packets | None = None
        self.stopping = False

    def start(self) -> None:
        ours, theirs = packet_pair()
        command = [sys.executable, "-P", "-m", "streamward.functions.worker.zygote", str(theirs.fileno())]
        self.process = subprocess.Popen(  # noqa: S603
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self.packets = Packets(ours, self.loop, self.heard, self.lost)

    def heard(self, data: bytes) -> None:
        message = link.unpack_from_zygote(data)
        worker = self.workers.get(message.worker)
        if worker is None:
            return
        if isinstance(message, link.Spawned):
            worker.pid = message.pid
        else:
            del self.workers[message.worker]
            worker.exited(message.status)

    def lost(self) -> None:
        """The zygote died; its workers die with it."""
        if self.process is not None:
            self.process.wait()
        if self.stopping:
            return
        log.error("functions_zygote_died")
        workers, self.workers = list(self.workers.values()), {}
        self.start()
        for worker in workers:
            worker.exited(-signal.SIGKILL)

    def spawn(self, worker: WorkerProcess, spec: link.WorkerSpec, fds: list[int]) -> None:
        self.next_number += 1
        worker.number = self.next_number
        self.workers[worker.number] = worker
        assert self.packets is not None
        self.packets.send(link.pack(link.Spawn(worker.number, link.pack(spec))), fds)

    def kill(self, worker: WorkerProcess, number: int, *, group: bool) -> None:
        if self.packets is not None and worker.number in self.workers:
            self.packets.send(link.pack(link.Kill(worker.number, number, group)))

    def stop(self) -> None:
        """Kill what is left and reap the zygote."""
        self.stopping = True
        if self.packets is not None:
            self.packets.close()
        if self.process is not None:
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Owner:
    """What a worker process reports to. Implemented by ``pool.Pool``."""

    def worker_imported(self, worker: WorkerProcess, message: link.Imported) -> None: ...
    def worker_ready(self, worker: WorkerProcess) -> None: ...
    def worker_idle(self, worker: WorkerProcess) -> None: ...
    def worker_exited(self, worker: WorkerProcess, status: int) -> None: ...
    def worker_records(self, worker: WorkerProcess, records: list[link.LogRecord]) -> None: ...
    def worker_line(self, worker: WorkerProcess, stream: str, text: str, *, truncated: bool) -> None: ...
    def worker_fatal(self, worker: WorkerProcess, text: str) -> None: ...


class WorkerProcess:
    """One worker: starting -> ready -> retired -> gone."""

    def __init__(self, zygote: Zygote, owner: Owner, spec: link.WorkerSpec, generation: int) -> None:
        self.zygote = zygote
        self.loop = zygote.loop
        self.owner = owner
        self.generation = generation
        self.instance = spec.instance
        self.number = 0
        self.pid = 0
        self.ready = False
        self.retired = ""
        """Why it gets no more requests: timeout, memory, reload, stop, surplus; empty while it does."""
        self.gone = False
        self.killing = False
        self.stop_sent = False
        self.suspect = False
        """Frozen, as far as we can tell: handed nothing until it is heard again."""
        self.invocations: dict[str, Invocation] = {}
        self.counts: dict[str, int] = {}
        self.modules: set[str] = set()
        self.files: set[str] = set()
        """Functions it has imported well."""
        self.was_ready = False
        self.started_at = self.loop.time()
        self.heard_at = self.loop.time()
        self.pings = 0
        self.pongs = 0
        self.memory_bytes = 0
        self.stacks: list[bytes] = []
        self.overdue: set[str] = set()
        self.finishing: list[tuple[Invocation, int]] = []
        self.log_bytes = 0
        control, theirs = packet_pair()
        log_sock, log_theirs = packet_pair()
        log_sock.setblocking(False)
        self.log_sock = log_sock
        self.pipes: dict[int, str] = {}
        self.joiners = {"stdout": LineJoiner(), "stderr": LineJoiner()}
        fds = [theirs.detach(), log_theirs.detach()]
        for name in ("stdout", "stderr", "stacks"):
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            self.pipes[reader] = name
            fds.append(writer)
        self.control = Packets(control, self.loop, self.heard, self.control_lost)
        self.loop.add_reader(log_sock.fileno(), self.read_logs)
        for fd in self.pipes:
            self.loop.add_reader(fd, self.read_pipe, fd)
        zygote.spawn(self, spec, fds)

    # -- talking

    def send(self, message: link.ToWorker, fds: list[int] | None = None) -> None:
        self.control.send(link.pack(message), fds)

    def ping(self) -> None:
        self.pings += 1
        self.send(link.Ping(self.pings))

    @property
    def responsive(self) -> bool:
        """Whether the last ping was answered: its event loop runs."""
        return self.pongs >= self.pings

    def heard(self, data: bytes) -> None:
        self.alive()
        message = link.unpack_from_worker(data)
        if isinstance(message, link.Done):
            self.done(message.request_id)
        elif isinstance(message, link.Imported):
            self.owner.worker_imported(self, message)
        elif isinstance(message, link.Ready):
            self.modules.update(message.modules)
            self.ready = self.was_ready = True
            self.owner.worker_ready(self)
        elif isinstance(message, link.Modules):
            self.modules.update(message.modules)
        elif isinstance(message, link.Pong):
            self.pongs = message.number
        elif message.request_id in self.invocations:
            self.invocations[message.request_id].lingers = True

    def alive(self) -> None:
        self.heard_at = self.loop.time()
        if self.suspect:
            self.suspect = False
            self.owner.worker_idle(self)

    def done(self, request_id: str) -> None:
        invocation = self.invocations.get(request_id)
        if invocation is None:  # it was given to another worker
            return
        invocation.read_rest()
        self.finishing.append((invocation, EVERYTHING))
        self.finish_done()

    def finish_done(self) -> None:
        """Take the last lines of invocations that are over, some per turn, before their end is reported."""
        before = self.log_bytes
        emptied = self.read_logs()
        finishing, self.finishing = self.finishing, []
        for invocation, left in finishing:
            left -= self.log_bytes - before
            if not emptied and left > 0 and not self.gone:
                self.finishing.append((invocation, left))
                continue
            self.read_pipes(end_lines=len(self.invocations) == 1)
            self.forget(invocation)
            invocation.worker_done()
        if self.finishing:
            self.loop.call_soon(self.finish_done)
        elif finishing:
            self.owner.worker_idle(self)
            self.consider_end()

    def take(self, invocation: Invocation, file: str) -> None:
        self.invocations[invocation.request_id] = invocation
        self.counts[file] = self.counts.get(file, 0) + 1

    def forget(self, invocation: Invocation) -> None:
        if self.invocations.pop(invocation.request_id, None) is not None:
            self.counts[invocation.file] -= 1
        self.overdue.discard(invocation.request_id)

    # -- ending

    def retire(self, reason: str) -> None:
        """No more requests; ends when those it has are over."""
        if not self.retired:
            self.retired = reason
        self.consider_end()

    def consider_end(self) -> None:
        if not self.retired or self.gone or self.killing:
            return
        if self.overdue and (self.overdue == set(self.invocations) or not self.responsive):
            self.kill_with_stacks()
        elif not self.invocations and not self.stop_sent:
            self.stop_sent = True
            self.send(link.Stop(STOP_S))
            self.loop.call_later(STOP_S + 1, self.kill)

    def watch_overdue(self) -> None:
        """End it now or as soon as it is found blocked: its loop is asked again until it is gone."""
        self.consider_end()
        if self.overdue and not self.killing and not self.gone:
            self.ping()
            self.loop.call_later(PATIENCE_S, self.watch_overdue)

    def kill_with_stacks(self) -> None:
        if self.killing or self.gone:
            return
        self.killing = True
        self.zygote.kill(self, signal.SIGUSR1, group=False)
        self.loop.call_later(STACKS_S, self.finish_killing)

    def finish_killing(self) -> None:
        self.read_everything(end_lines=False)
        if self.stacks:
            self.say_stacks()
        self.kill()

    def say_stacks(self) -> None:
        text = b"".join(self.stacks).decode("utf-8", "replace").rstrip()
        self.stacks = []
        self.owner.worker_fatal(self, text)

    def kill(self) -> None:
        if not self.gone:
            self.killing = True
            self.zygote.kill(self, signal.SIGKILL, group=True)

    def control_lost(self) -> None:
        """It is dying; the zygote will say how. Nothing new goes there."""
        self.ready = False
        self.retired = self.retired or "crash"
        for invocation in list(self.invocations.values()):
            if not invocation.begun:
                self.forget(invocation)
                invocation.reassign()

    def exited(self, status: int) -> None:
        if self.gone:
            return
        self.gone = True
        self.ready = False
        self.read_everything(end_lines=True)
        if self.stacks:
            self.say_stacks()
        self.control.close()
        self.loop.remove_reader(self.log_sock.fileno())
        self.log_sock.close()
        for fd in self.pipes:
            self.loop.remove_reader(fd)
            os.close(fd)
        self.pipes = {}
        invocations = list(self.invocations.values())
        for invocation in invocations:
            self.forget(invocation)
            invocation.worker_died(status)
        self.owner.worker_exited(self, status)

    # -- listening

    def read_logs(self, limit: int = LOG_BYTES_PER_TURN) -> bool:
        """Read about *limit* bytes of records; True when there are no more now."""
        taken = 0
        while taken < limit:
            try:
                data = self.log_sock.recv(LOG_PACKET_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                data = b""
            if not data:
                if self.log_sock.fileno() >= 0:
                    self.loop.remove_reader(self.log_sock.fileno())
                return True
            self.log_bytes += len(data)
            taken += len(data)
            self.owner.worker_records(self, link.unpack_logs(data))
        return False

    def read_pipe(self, fd: int) -> bool:
        """Read once; False when there is nothing (more)."""
        try:
            data = os.read(fd, PIPE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.loop.remove_reader(fd)
            return False
        name = self.pipes[fd]
        if name == "stacks":
            self.stacks.append(data)
            return True
        joiner = self.joiners[name]
        for text, truncated in joiner.feed(data, self.loop.time()):
            self.owner.worker_line(self, name, text, truncated=truncated)
        return True

    def end_lines(self, older_than: float) -> None:
        for name, joiner in self.joiners.items():
            if joiner.rest and joiner.since <= older_than:
                text, truncated = joiner.end()
                self.owner.worker_line(self, name, text, truncated=truncated)

    def read_everything(self, *, end_lines: bool) -> None:
        """What has been said up to now, before somebody's end is reported."""
        self.read_logs(EVERYTHING)
        self.read_pipes(end_lines=end_lines)

    def read_pipes(self, *, end_lines: bool) -> None:
        for fd in self.pipes:
            while self.read_pipe(fd):
                pass
        if end_lines:
            self.end_lines(float("inf"))

    def tick(self, now: float) -> None:
        self.end_lines(now - PARTIAL_S)

    def sample_memory(self, page: int) -> int:
        """Resident bytes now, 0 when it cannot be told."""
        if not self.pid or self.gone:
            return 0
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as stream:
                self.memory_bytes = int(stream.read().split()[1]) * page
        except (OSError, ValueError, IndexError):
            return 0
        return self.memory_bytes


def raise_file_limit() -> None:
    """A stream takes two descriptors; the soft limit of 1024 is an old habit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
