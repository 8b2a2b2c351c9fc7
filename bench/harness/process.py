"""Processes under test: start on chosen cores, wait until ready, read CPU and memory of the whole tree from /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 30.0  # a cold Python start beside a busy machine
STOP_TIMEOUT_S = 10.0
LOG_LINES = 6  # of a target that did not start: the last line of a traceback and where it came from
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """The gateway has one core to itself; mock, load and this process share the others."""

    gateway: frozenset[int]
    others: frozenset[int]

    @classmethod
    def split(cls) -> Cores:
        available = sorted(os.sched_getaffinity(0))
        if len(available) == 1:
            return cls(frozenset(available), frozenset(available))
        return cls(frozenset(available[:1]), frozenset(available[1:]))

    @property
    def pinned(self) -> bool:
        return self.gateway != self.others


def free_port() -> int:
    """A port free now. The small race until the target binds it is accepted: a failed start says so."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def spawn(
    command: Sequence[str | Path],
    *,
    cores: frozenset[int],
    log: Path,
    env: dict[str, str] | None = None,
    interrupt: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* pinned to *cores*, output to *log*; at exit `stop` it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    try:
        yield process
    finally:
        stop(process, interrupt=interrupt)


def stop(process: subprocess.Popen[bytes], *, interrupt: bool = False) -> None:
    """SIGTERM (or SIGINT, for profilers that write their result then), SIGKILL when that does not end it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT if interrupt else signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], *, log: Path) -> None:
    """Poll *ready* until it holds.

    Raises:
        RuntimeError: the process ended or START_TIMEOUT_S passed; holds the end of the log.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            state = "did not answer in time" if process.poll() is None else f"ended with code {process.returncode}"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise RuntimeError(f"{process.args!r} {state}; its log ends with:\n{tail}")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def tree(pid: int) -> list[int]:
    """*pid* and its living descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # the thread ended between listing and reading
                continue
    return found


def cpu_s(pid: int) -> float:
    """User and system time of the tree in seconds, with children already waited for. Resolution: one tick (10 ms)."""
    ticks = 0
    for member in tree(pid):
        try:
            # The name in parentheses may hold spaces: count fields after it. 14-17 of proc(5) are u, s, cu, cs.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


def rss_kb(pid: int) -> int:
    """Resident memory of the tree, pages shared between its processes counted once (Pss)."""
    total = 0
    for member in tree(pid):
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total
