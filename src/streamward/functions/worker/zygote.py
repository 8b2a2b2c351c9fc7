"""The process workers are forked from: everything but user code is imported here once, a fork takes milliseconds.

One thread, no event loop, no user code. When the front goes, however it goes, this process kills every worker with
everything it started, and ends.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import resource
import selectors
import signal
import socket
import sys
from typing import NoReturn

from streamward.functions import link

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None, use_errno=True)
WORKER_NICE = 3  # the front comes first: a spinning function must not take its turns
MAX_PACKET = 1 << 20  # a spawn carries the whole environment


class Zygote:
    def __init__(self, front: socket.socket) -> None:
        self.front = front
        self.pids: dict[int, int] = {}  # worker number by pid

    def run(self) -> None:
        """Serve spawn and kill commands until the front is gone."""
        reader, writer = os.pipe()
        for fd in (reader, writer):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self.front, selectors.EVENT_READ)
        selector.register(reader, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.front:
                    self.obey()
                else:
                    os.read(reader, 4096)
            self.reap()

    def obey(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self.front, MAX_PACKET, 8)
        except OSError:
            self.end()
        if not data:
            self.end()
        message = link.unpack_to_zygote(data)
        if isinstance(message, link.Spawn):
            self.spawn(message, fds)
            return
        for pid, worker in self.pids.items():
            if worker == message.worker:
                strike(pid, message.signal, group=message.group)

    def spawn(self, message: link.Spawn, fds: list[int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            become_worker(self.front, message, fds, parent)
        for fd in fds:
            os.close(fd)
        self.pids[pid] = message.worker
        self.say(link.Spawned(message.worker, pid))

    def say(self, message: link.FromZygote) -> None:
        try:
            self.front.send(link.pack(message))
        except OSError:
            self.end()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self.pids.pop(pid, None)
            if worker is not None:  # else an orphan of a worker's, adopted
                strike(pid, signal.SIGKILL, group=True)
                self.say(link.Exited(worker, os.waitstatus_to_exitcode(status)))

    def end(self) -> NoReturn:
        for pid in self.pids:
            strike(pid, signal.SIGKILL, group=True)
        os._exit(0)


def strike(pid: int, number: int, *, group: bool) -> None:
    try:
        if group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def become_worker(front: socket.socket, message: link.Spawn, fds: list[int], parent: int) -> NoReturn:
    """In the forked child: never returns."""
    code = 1
    try:
        front.close()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.nice(WORKER_NICE)
        LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        work(link.unpack_spec(message.spec), fds)
        code = 0
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def work(spec: link.WorkerSpec, fds: list[int]) -> None:
    """Run the worker of *spec* on the descriptors control, log, stdout, stderr, stacks."""
    import asyncio

    from streamward.functions.worker import capture, compat, serve, threads

    control_fd, log_fd, out_fd, err_fd, stacks_fd = fds
    os.dup2(out_fd, 1)
    os.dup2(err_fd, 2)
    os.close(out_fd)
    os.close(err_fd)
    for fd in (control_fd, log_fd, stacks_fd):
        os.set_inheritable(fd, False)
    faulthandler.enable(stacks_fd, all_threads=True)
    faulthandler.register(signal.SIGUSR1, stacks_fd, all_threads=True)
    os.environ.clear()
    os.environ.update(spec.environment)
    os.chdir(spec.folder)
    sys.argv = [""]
    sys.dont_write_bytecode = not spec.bytecode
    control, logs = socket.socket(fileno=control_fd), socket.socket(fileno=log_fd)
    control.setblocking(False)
    logs.setblocking(False)
    limit_memory(spec.memory_mb)
    threads.follow_threads()
    pipe = capture.install(logs, spec.folder)
    compat.answer_vercel_imports()
    worker = serve.Worker(spec, control, pipe)
    gc.enable()
    worker.import_all()
    loop: asyncio.AbstractEventLoop
    try:
        import uvloop

        loop = uvloop.new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(worker.run())


def limit_memory(memory_mb: int) -> None:
    """Writable memory may grow to twice the limit; beyond, allocations fail inside the function."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        data_pages = int(stream.read().split()[5])
    bound = data_pages * resource.getpagesize() + 2 * memory_mb * (1 << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))


def preload() -> None:
    """Import what every worker needs, before the first fork."""
    import asyncio  # noqa: F401
    import concurrent.futures.thread  # noqa: F401
    import html  # noqa: F401
    import logging  # noqa: F401
    import uuid  # noqa: F401

    import anyio._backends._asyncio  # noqa: F401 (chosen at run time: 50 ms of every worker's start)
    import starlette.applications
    import starlette.responses  # noqa: F401

    from streamward.functions.worker import capture, compat, serve, threads  # noqa: F401

    try:
        import uvloop  # noqa: F401
    except ImportError:
        pass
    compat.close_streams_at_once()


def main() -> None:
    front = socket.socket(fileno=int(sys.argv[1]))
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    gc.disable()
    preload()
    gc.freeze()
    Zygote(front).run()


if __name__ == "__main__":
    main()
