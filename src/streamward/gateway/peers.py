"""The figures of all server workers as one: whoever is scraped asks the others and adds up.

Each worker answers on a Unix socket of its own in a folder that the workers share. What a worker counted before it ended
stays counted: it leaves its figures in a file, and renews that file while it lives, for the case that it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Self

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

ANSWER_S = 4.0
"""A worker that takes longer is counted as its file says; less than scrapers wait."""

SAVE_S = 5.0
"""What a worker counted in its last seconds is lost if it is killed."""

HIGHEST = ("_seconds", "_ratio", "_state", "_per_second")
"""Gauges with these endings are no amounts: the total shows the highest of the workers."""

ENDED = "ended.figures"
log = logging.getLogger("streamward.gateway")


class Family(Struct):
    """One metric: (name of the sample, its labels, value)."""

    name: str
    text: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


DECODER = msgspec.json.Decoder(list[Family])


class Peers:
    """This worker among those that share *folder*. Use with ``async with``."""

    def __init__(self, folder: Path, collect: Callable[[], Iterable[Metric]]) -> None:
        self.folder = folder
        self.collect = collect
        self.socket = folder / f"{os.getpid()}.peer"
        self.file = folder / f"{os.getpid()}.figures"

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_unix_server(self.answer, self.socket)
        self.saving = asyncio.create_task(self.save_forever())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.saving.cancel()
        await asyncio.wait({self.saving})
        self.server.close()
        with contextlib.suppress(OSError):
            self.socket.unlink(missing_ok=True)
            await asyncio.to_thread(self.save, figures(self.collect()))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(figures(self.collect()))
            await writer.drain()
        writer.close()

    async def save_forever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.save, figures(self.collect()))
            except OSError as exc:
                log.warning("figures_not_saved", extra={"reason": str(exc)})
            await asyncio.sleep(SAVE_S)

    def save(self, data: bytes) -> None:
        new = self.file.with_suffix(".new")
        new.write_bytes(data)
        new.replace(self.file)

    async def render(self) -> bytes:
        """The exposition format of all workers' figures, those of ended ones included."""
        own = DECODER.decode(figures(self.collect()))
        lock = await asyncio.to_thread(locked, self.folder, fcntl.LOCK_SH)
        with lock:
            others = await asyncio.gather(*[self.of(path) for path in self.folder.glob("*.figures") if path != self.file])
        registry = CollectorRegistry()
        registry.register(Totals([own, *others]))
        return generate_latest(registry)

    async def of(self, path: Path) -> list[Family]:
        """The figures of the worker whose file is *path*: its answer, or what it left if it is gone."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(path.with_suffix(".peer"))
                try:
                    return DECODER.decode(await reader.read())
                finally:
                    writer.close()
        except (OSError, TimeoutError, msgspec.DecodeError):
            return left_behind(path)


def figures(families: Iterable[Metric]) -> bytes:
    return msgspec.json.encode([
        Family(
            family.name, family.documentation, family.type,
            [(sample.name, sample.labels, sample.value) for sample in family.samples if math.isfinite(sample.value)],
        )
        for family in families
    ])  # fmt: skip


def left_behind(path: Path) -> list[Family]:
    """What an ended worker counted; its gauges are no longer true of anything."""
    try:
        return [family for family in DECODER.decode(path.read_bytes()) if family.kind != "gauge"]
    except (OSError, msgspec.DecodeError):
        return []


class Totals(Collector):
    """The sums of several lists of families."""

    def __init__(self, lists: list[list[Family]]) -> None:
        self.lists = lists

    def families(self) -> list[Family]:
        found: dict[str, tuple[Family, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
        for family in (family for families in self.lists for family in families):
            _, values = found.setdefault(family.name, (family, {}))
            highest = family.kind == "gauge" and family.name.endswith(HIGHEST)
            for name, labels, value in family.samples:
                key = (name, tuple(labels.items()))
                values[key] = max(values.get(key, value), value) if highest else values.get(key, 0.0) + value
        return [
            Family(name, first.text, first.kind, [(sample, dict(labels), value) for (sample, labels), value in values.items()])
            for name, (first, values) in found.items()
        ]

    def collect(self) -> Iterator[Metric]:
        for family in self.families():
            metric = Metric(family.name, family.text, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def fold(folder: Path) -> None:
    """Put what ended workers left in *folder* into one file, so that restarts do not pile files up. Blocks."""
    with locked(folder, fcntl.LOCK_EX):
        gone = [path for path in folder.glob("*.figures") if path.stem.isdigit() and not alive(int(path.stem))]
        if not gone:
            return
        total = folder / ENDED
        folded = Totals([left_behind(path) for path in (total, *gone)]).families()
        new = total.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(folded))
        new.replace(total)
        for path in gone:
            path.unlink(missing_ok=True)
            path.with_suffix(".peer").unlink(missing_ok=True)


def locked(folder: Path, how: int) -> IO[bytes]:
    """The lock between those who read the files and who folds them; closing it gives it back. Blocks."""
    lock = open(folder / "fold.lock", "wb")  # noqa: SIM115 (the caller closes it)
    fcntl.flock(lock, how)
    return lock


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
