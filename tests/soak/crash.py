"""The crash test: many streams, clients that are cut, workers that are killed, a store that is restarted.

    population of clients ----> workers (killed, drained, replaced) ----> store (Redis killed and restarted)
            |                          ^                                     |
            |                          +---- provider: every token known     |
            +---- judge: own logs, then a replay at every worker <-----------+
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from soak.checker import Fates, judge, same
from soak.client import Client, exchange, request
from soak.system import System
from soak.upstream import Model

FINISH_S = 60.0  # for what still runs when no new client comes: longest stream, lease, store's patience, slow readers
REPLAYS_AT_ONCE = 8
FAULTY = 0.1  # share of streams whose provider breaks off


@dataclass
class Plan:
    """What one run does; the same seed makes the same dice."""

    store: str = "redis"
    seconds: float = 15.0
    clients: int = 60
    workers: int = 3
    seed: int = 1
    harm_every_s: float = 3.0


@dataclass
class Report:
    """What happened, and what was wrong."""

    plan: Plan
    streams: int = 0
    events: int = 0
    tokens: int = 0
    connections: int = 0
    moves: int = 0
    refused: int = 0
    replays: int = 0
    harms: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    dialects: Counter[str] = field(default_factory=Counter)
    rss_mb: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        def counts(counter: Counter[str]) -> str:
            return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))

        plan = self.plan
        return [
            f"crash test: store {plan.store}, {plan.workers} workers, {plan.clients} clients at once, "
            f"{plan.seconds:g} s, seed {plan.seed}",
            f"  streams     {self.streams} ({counts(self.dialects)})",
            f"  endings     {counts(self.endings)}",
            f"  harm        {counts(self.harms)}",
            f"  connections {self.connections}, {self.moves} of them to another worker, {self.refused} answered 502 or 503",
            f"  read        {self.events} events, {self.tokens} tokens; {self.replays} replays compared",
            f"  memory      {', '.join(f'{size:.0f} MB' for size in self.rss_mb)} (workers alive at the end)",
            f"  problems    {len(self.problems)}" + ("" if self.problems else ": 0 tokens lost, 0 repeated, one ending each"),
            *(f"    {problem}" for problem in self.problems[:40]),
        ]


class Crash:
    """One run."""

    def __init__(self, plan: Plan, system: System) -> None:
        self.plan = plan
        self.system = system
        self.dice = random.Random(plan.seed)
        self.fates = Fates()
        self.clients: list[Client] = []
        self.report = Report(plan)
        self.over = False

    def ports(self) -> list[int]:
        return [worker.port for worker in self.system.workers]

    # -- load

    def new_client(self) -> Client:
        dice = self.dice
        tokens = dice.randrange(15, 90)
        fault = dice.randrange(2, tokens) if dice.random() < FAULTY else 0
        model = Model(len(self.clients), tokens, dice.randrange(30, 90), fault)
        client = Client(model, random.Random(dice.random()), self.ports)
        self.clients.append(client)
        return client

    async def seat(self) -> None:
        """One client after the other, until the time is over."""
        await asyncio.sleep(self.dice.uniform(0.0, 1.0))  # not all in the same instant
        while not self.over:
            client = self.new_client()
            try:
                await client.run()
            except TimeoutError:
                client.log.problems.append(f"silence at {client.stream_id or 'the start'} after {client.log.cursor}")

    # -- harm

    async def harm(self) -> None:
        """Something bad every few seconds, each kind in turn and then by chance."""
        kinds = ["kill -9", "rolling restart"]
        if self.system.redis is not None:
            kinds.insert(1, "redis kill -9")
        number = 0
        while not self.over:
            await asyncio.sleep(self.dice.uniform(0.7, 1.3) * self.plan.harm_every_s)
            if self.over:
                return
            kind = kinds[number] if number < len(kinds) else self.dice.choice(kinds)
            number += 1
            await self.do(kind)
            self.report.harms[kind] += 1

    async def do(self, kind: str) -> None:
        if kind == "redis kill -9":
            await self.system.restart_redis(self.dice.uniform(0.1, 1.5))
            return
        worker = self.dice.choice(self.system.workers)
        if kind == "kill -9":
            self.fates.killed.add(worker.port)
            await self.system.end_worker(worker, signal.SIGKILL)
        else:
            self.fates.stopped.add(worker.port)
            await self.system.end_worker(worker, signal.SIGTERM)

    # -- the run

    async def run(self) -> Report:
        seats = [asyncio.create_task(self.seat()) for _ in range(self.plan.clients)]
        harm = asyncio.create_task(self.harm())
        await asyncio.sleep(self.plan.seconds)
        self.over = True
        await harm
        _, hanging = await asyncio.wait(seats, timeout=FINISH_S)
        for task in hanging:
            task.cancel()
        for task in seats:
            if task not in hanging:
                task.result()  # a mistake of the test is no finding
        self.judge()
        await self.compare_replays()
        await self.compare_calls()
        await self.ask_as_stranger()
        self.report.rss_mb = [worker.rss_mb() for worker in self.system.workers]
        return self.report

    def judge(self) -> None:
        report = self.report
        for client in self.clients:
            log = client.log
            self.complain(client, judge(log, client.model, client.homes, self.fates))
            report.streams += 1
            report.events += len(log.frames)
            report.tokens += sum(bool(one.text) for one in log.frames)
            report.connections += client.connections
            report.moves += client.moves
            report.refused += client.refused
            report.dialects[client.dialect] += 1
            report.endings["finished" if log.finished else log.error or "none"] += 1

    async def compare_replays(self) -> None:
        """Every worker shows everybody the same, from the beginning."""
        turn = asyncio.Semaphore(REPLAYS_AT_ONCE)

        async def compare(client: Client, port: int) -> None:
            async with turn:
                try:
                    replay = await client.whole(port)
                except TimeoutError:
                    self.complain(client, ["a replay hangs"])
                    return
            self.report.replays += 1
            self.complain(client, [*same(client.log, replay, "a replay")])

        read = [client for client in self.clients if client.stream_id]
        await asyncio.gather(*(compare(client, port) for client in read for port in self.ports()))

    async def compare_calls(self) -> None:
        """Coming back is never billed: a provider's call for each POST that could make one, one for all with a key."""
        calls = await self.system.calls()
        for client in self.clients:
            made = calls.get(client.model.name, 0)
            lost_homes = len(client.homes & (self.fates.killed | self.fates.stopped))
            allowed = 1 + lost_homes if client.idempotency_key else client.posts
            if not 1 <= made <= allowed:
                self.complain(client, [f"{made} calls of the provider, {allowed} allowed"])

    async def ask_as_stranger(self) -> None:
        """Knowing a stream's id is not enough."""
        client = self.clients[0]
        data = request("GET", f"/v1/streams/{client.stream_id}", {}, key="sw-stranger")
        answer = await exchange(self.ports()[0], data, lambda _: None, lambda _: True)
        if answer.status not in (401, 404):
            self.complain(client, [f"a stranger was answered {answer.status}"])

    def complain(self, client: Client, problems: list[str]) -> None:
        who = f"stream {client.model.number} ({client.dialect}, {client.stream_id or 'no id'}, {client.model.name})"
        self.report.problems += [f"{who}: {problem}" for problem in problems]


async def crash(plan: Plan, folder: Path) -> Report:
    """Run *plan* with its files in *folder*."""
    system = System(folder, plan.store, plan.workers)
    async with system:
        report = await Crash(plan, system).run()
    report.problems += [f"a worker wrote: {text}" for text in system.tracebacks]
    return report
