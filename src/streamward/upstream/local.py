"""A model on this machine: the engine's process, started, watched, restarted and stopped.

The engine is llama.cpp's HTTP server from the ``xllamacpp`` package (extra ``streamward[local]``); to the gateway it is
an ordinary upstream of dialect ``chat_completions`` at :attr:`LocalEngine.base_url`. Not in here: HTTP, and the
engine's process itself (:mod:`streamward.upstream.local_engine`).
"""

from __future__ import annotations

import asyncio
import importlib.resources
import importlib.util
import logging
import os
import secrets
import signal
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from streamward.errors import StreamwardError
from streamward.upstream.local_engine import Order, Report

TINY_MODEL = "streamward-tiny.gguf"
TINY_MODEL_NAME = "local/tiny"

MAX_THREADS = 4  # decoding is bound by memory bandwidth, and the gateway needs a core too
SMALL_MODEL_BYTES = 64 << 20  # below this a token costs less than waking a second thread (measured: docs/explain)
STOP_S = 2.0  # the engine exits within milliseconds of the order; longer means that it hangs
RESTART_WINDOW_S = 60.0
MAX_RESTARTS = 5  # in the window; a model that crashes more often is broken, not unlucky
RESTART_DELAYS_S = (0.0, 0.2, 1.0, 3.0, 5.0)
LOG_LINES = 200
MAX_LOG_LINE_BYTES = 1 << 16

log = logging.getLogger(__name__)


class LocalEngineError(StreamwardError):
    """The local engine cannot run; the message says why and what to do."""

    code, status, fault = "local_engine_failed", 503, "server"


class EngineSettings(Struct, frozen=True, kw_only=True):
    """How the engine runs; the defaults suit a laptop and any chat model it can hold."""

    slots: int = 4
    """Answers generated at the same time; more requests wait in line."""
    context: int = 8192
    """Tokens of context, shared by all slots and never more than the model was trained for."""
    threads: int | None = None
    """None: one for a toy, else the cores of this machine, at most ``MAX_THREADS``."""
    start_timeout_s: float = 120.0
    """From spawn to ready; a large file on a slow disk takes a while."""


class LocalEngine:
    """One GGUF file behind an OpenAI-compatible server on a private loopback port.

    ``base_url`` and ``api_key`` hold from the first :meth:`start` on, across restarts. The supervisor task restarts an
    engine that died, at once and then with growing pauses; requests sent meanwhile fail to connect, which the
    gateway's retries cover. After ``MAX_RESTARTS`` in ``RESTART_WINDOW_S`` it gives up and sets :attr:`failure`;
    :meth:`start` begins anew.
    """

    def __init__(self, model: Path, *, name: str = TINY_MODEL_NAME, settings: EngineSettings | None = None) -> None:
        self.model = model
        self.name = name
        self.settings = settings or EngineSettings()
        self.api_key = secrets.token_urlsafe(24)
        self.restarts = 0
        self.failure: str | None = None
        self._port = 0
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``.

        Raises:
            LocalEngineError: the engine was never started, so there is no port yet.
        """
        if not self._port:
            raise LocalEngineError(f"the local engine for {self.name} has no address yet: call start() first")
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def running(self) -> bool:
        """True while a loaded engine answers; False before, during a restart and after the end."""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def log_tail(self) -> list[str]:
        """The last lines the engine wrote, oldest first: warnings and errors, never prompts."""
        return list(self._log)

    async def start(self) -> None:
        """Return once the engine answers, spawning it unless it is already supervised.

        Cancelling stops it.

        Raises:
            LocalEngineError: no engine installed, no such file, not a usable GGUF file, or not ready in time.
        """
        supervisor = self._supervisor
        if supervisor is None or supervisor.done():
            if not engine_available():
                raise LocalEngineError("no local engine is installed: run `pip install 'streamward[local]'`")
            check_gguf(self.model)
            self.failure = None
            supervisor = asyncio.create_task(self._supervise(), name=f"local engine {self.name}")
            self._supervisor = supervisor
        ready = asyncio.create_task(self._ready.wait(), name=f"local engine {self.name} ready")
        try:
            async with asyncio.timeout(self.settings.start_timeout_s):
                await asyncio.wait((ready, supervisor), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as exc:
            await self.stop()
            raise LocalEngineError(
                f"{self.model.name} was not ready after {self.settings.start_timeout_s:g} s; "
                "use a smaller model or raise start_timeout_s"
            ) from exc
        except asyncio.CancelledError:
            await self.stop()
            raise
        finally:
            ready.cancel()
        if not self._ready.is_set():
            raise LocalEngineError(self.failure or f"the local engine for {self.name} was stopped while it started")

    async def wait_running(self, deadline_s: float) -> bool:
        """Wait until the engine answers, at most *deadline_s* seconds; return whether it does."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End the engine and its supervisor; running generations are cut off. Safe to call twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        supervisor.cancel()
        await asyncio.wait((supervisor,))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _supervise(self) -> None:
        """Run the engine again and again until cancelled, or until it fails at first or too often."""
        clock = asyncio.get_running_loop().time
        deaths: deque[float] = deque(maxlen=MAX_RESTARTS)
        while True:
            try:
                was_ready, reason = await self._run_once()
            except OSError as exc:
                was_ready, reason = False, f"cannot start the engine's process: {exc.strerror or exc}"
            if not was_ready and not deaths:
                self.failure = reason
                return
            log.warning("local_engine_died", extra={"model": self.name, "reason": reason})
            if len(deaths) == MAX_RESTARTS and clock() - deaths[0] < RESTART_WINDOW_S:
                self.failure = f"{reason}; it was restarted {MAX_RESTARTS} times in a minute, which did not help"
                log.error("local_engine_given_up", extra={"model": self.name, "reason": self.failure})
                return
            recent = sum(clock() - death < RESTART_WINDOW_S for death in deaths)
            deaths.append(clock())
            self.restarts += 1
            await asyncio.sleep(RESTART_DELAYS_S[min(recent, len(RESTART_DELAYS_S) - 1)])

    async def _run_once(self) -> tuple[bool, str]:
        """Run one engine process to its end; return whether it was ever ready, and why it ended."""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streamward.upstream.local_engine",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=MAX_LOG_LINE_BYTES,
            start_new_session=True,  # Ctrl-C in the terminal is for us: streams may still drain
        )  # fmt: skip
        report: Report | None = None
        self._log.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_log(process))
                report = await self._hand_over(process)
                if report is not None and report.port:
                    self._port = report.port
                    self._ready.set()
                await process.wait()
        finally:
            self._ready.clear()
            await end(process)
            self._process = None
        return report is not None and bool(report.port), self._reason(process.returncode, report)

    async def _hand_over(self, process: asyncio.subprocess.Process) -> Report | None:
        """Give the child its order and return its report, None when it died without one."""
        assert process.stdin is not None
        assert process.stdout is not None
        order = Order(
            model=str(self.model.resolve()),
            name=self.name,
            port=self._port,
            api_key=self.api_key,
            slots=self.settings.slots,
            context=self.settings.context,
            threads=self.settings.threads or choose_threads(self.model),
        )
        try:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
            return msgspec.json.decode(await process.stdout.readline(), type=Report)
        except (OSError, ValueError):  # a broken pipe, or no line at all: the child is dead or dying
            return None

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than the limit: the reader has dropped it
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._log.append(text)
            log.debug("local_engine_log", extra={"model": self.name, "line": text})

    def _reason(self, returncode: int | None, report: Report | None) -> str:
        """Say in one sentence why the engine ended and what to do."""
        last = next((line for line in reversed(self._log) if line.strip()), "nothing")
        if report is not None and report.error:
            problem = next((line for line in self._log if " E " in line), report.error)
            return (
                f"the engine cannot load {self.model}: {strip_stamp(problem)[:200]}; "
                "the file may be damaged, incomplete, or of a kind this engine does not know"
            )
        how = f"status {returncode}"
        if returncode is not None and returncode < 0:
            how = signal.Signals(-returncode).name
        return f"the engine for {self.model.name} ended with {how}; its last words: {strip_stamp(last)[:200]}"


async def end(process: asyncio.subprocess.Process) -> None:
    """Stop *process* with no wait beyond ``STOP_S``: close its input, then kill it. Shielded from cancellation."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):
            pass
    if process.returncode is None:
        process.kill()
        await process.wait()


def strip_stamp(line: str) -> str:
    """Drop llama.cpp's time and level (``0.00.004.783 E``) from a log line."""
    stamp, _, rest = line.partition(" E ")
    return rest.strip() if rest and stamp.replace(".", "").isdigit() else line


def choose_threads(model: Path) -> int:
    """Threads for *model*: one for a toy, else all cores this process may use, at most ``MAX_THREADS``."""
    if model.stat().st_size < SMALL_MODEL_BYTES:
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MAX_THREADS)


def check_gguf(model: Path) -> None:
    """Refuse what cannot be a model before a process is spent on it.

    Raises:
        LocalEngineError: no file, a folder, unreadable, or without the ``GGUF`` magic.
    """
    try:
        with model.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError as exc:
        raise LocalEngineError(f"no model file at {model}: give the path of a .gguf file") from exc
    except IsADirectoryError as exc:
        raise LocalEngineError(f"{model} is a folder: give the path of one .gguf file in it") from exc
    except OSError as exc:
        raise LocalEngineError(f"cannot read {model}: {exc.strerror}") from exc
    if head.startswith(b"version https://git-lfs"):
        raise LocalEngineError(f"{model} is a Git LFS pointer, not the model: run `git lfs pull` where it came from")
    if not head.startswith(b"GGUF"):
        raise LocalEngineError(
            f"{model} is not a GGUF file: expected the bytes 'GGUF' at its start, found {head[:4]!r}; "
            "convert the model to GGUF or download a .gguf file"
        )


def engine_available() -> bool:
    """Whether the extra ``streamward[local]`` is installed. Looks for the package without importing it."""
    return importlib.util.find_spec("xllamacpp") is not None


def tiny_model_path() -> Path | None:
    """The toy model shipped with streamward (name ``local/tiny``), None when this installation lacks it."""
    found = importlib.resources.files("streamward.upstream") / "models" / TINY_MODEL
    return found if isinstance(found, Path) and found.is_file() else None
