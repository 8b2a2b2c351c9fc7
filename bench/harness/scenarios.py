"""What is measured, as data: add a `Scenario` to `SCENARIOS` and it appears in the run and in the table.

A scenario says which requests are sent, how many at once, and what one unit of its figure is. The mock upstream reads
the model id (`bench-TOKENS-PACE_MS`, see load/mock_upstream.c); everything else is the target's business.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from typing import Any, Literal

Unit = Literal["us_per_request", "us_per_event", "kb_per_stream", "added_ttft_us"]

UNIT_NAMES: dict[Unit, str] = {
    "us_per_request": "CPU µs per request",
    "us_per_event": "CPU µs per event",
    "kb_per_stream": "KB RSS per open stream",
    "added_ttft_us": "added time to first token, µs (p50)",
}

# A short but ordinary chat request. Its texts name none of the keys the mock looks for.
MESSAGES = [
    {"role": "system", "content": "You are a careful assistant. Answer briefly, in plain words; say so when unsure."},
    {"role": "user", "content": "Why do tokens arrive one by one, and what does a gateway do with each of them?"},
]

# role chunk, finish chunk, usage chunk, [DONE]: what a stream has beside its tokens when usage was asked for
FRAMING_EVENTS = 4


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What streamward promises: at most *ratio* times the baseline in the same run, or *value* (and *p99*) in the unit."""

    ratio: float | None = None
    value: float | None = None
    p99: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    name: str
    about: str
    unit: Unit
    model: str  # as the mock knows it; a gateway's prefix is added by the target
    connections: int
    requests: int  # in all, for each round
    warmup_model: str = "bench-16-0"
    warmup_requests: int = 2000
    stream: bool = True
    events: int = 0  # exact number for each stream; 0 = not checked
    think_ms: int = 0
    ramp_ms: int = 0
    hold: bool = False  # open the streams, measure memory, close them; a fresh process for each round
    rounds: int | None = None  # fewer than the run's, when the figure is not noisy
    path: str = "/v1/chat/completions"
    headers: tuple[str, ...] = ()
    dialect: Literal["chat", "responses", "messages"] = "chat"  # the caller's; the mock always speaks the first
    extra_body: tuple[tuple[str, object], ...] = ()
    terminal: str = "[DONE]"  # in the last event of a complete stream
    content: str = '"content":"'  # in an event with text, up to the opening quote
    streamward_config: str = ""  # TOML appended to the gateway's configuration; {directory} and {redis} are filled in
    service: Literal["", "redis"] = ""  # a server that the harness starts beside the gateway, on the other cores
    targets: frozenset[str] | None = None  # None: all that run everywhere; dialects nginx cannot translate name theirs
    baseline: str = "nginx"  # the target that ratios are taken to, in the same scenario
    baseline_load: Scenario | None = None  # what the baseline is asked instead
    limit: Limit | None = None

    def body(self, model: str) -> bytes:
        messages = "input" if self.dialect == "responses" else "messages"
        request: dict[str, object] = {"model": model, messages: MESSAGES, "temperature": 0.2, **dict(self.extra_body)}
        if self.stream and self.dialect != "chat":
            request["stream"] = True
        elif self.stream:
            # Asked for, so that every target relays the same bytes: the gateway always asks the upstream for it.
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(request).encode()

    def missing(self) -> str | None:
        """Why it cannot run here and what to do about it; None when it can."""
        if self.service == "redis" and not redis_binary():
            return "redis-server is not installed: apt-get install redis-server, or your system's package"
        return None

    def scaled(self, share: float) -> Scenario:
        """The same work in a smaller amount: for slow targets and quick runs."""
        if share >= 1:
            return self
        return replace(
            self,
            # Paced and held streams load a target by their number; flat-out ones by how long they go on.
            connections=max(1, round(self.connections * share)) if self.is_open_load else self.connections,
            requests=max(self.connections if not self.is_open_load else 1, round(self.requests * share)),
            warmup_requests=max(20, round(self.warmup_requests * share)),
        )

    @property
    def is_open_load(self) -> bool:
        """Whether the number of connections sets the rate, not the speed of the target."""
        return bool(self.hold or self.think_ms or not self.model.endswith("-0"))


def redis_binary() -> str:
    return shutil.which("redis-server") or shutil.which("valkey-server") or ""


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store of durable streams, and what it may cost beside the plain path."""

    name: str
    url: str
    ratio: float | None  # CPU per event
    ttft: Limit
    service: Literal["", "redis"] = ""


STORES = (
    Store(name="memory", url="memory", ratio=1.3, ttft=Limit(value=1_000.0)),
    Store(name="sqlite", url="sqlite:{directory}/streams.db", ratio=2.0, ttft=Limit(value=1_000.0)),
    Store(name="disk", url="sqlite:{directory}/streams.db?level=disk", ratio=None, ttft=Limit(value=5_000.0, p99=5_000.0)),
    Store(name="redis", url="{redis}", ratio=3.0, ttft=Limit(value=1_000.0), service="redis"),
)


def durable(store: Store, name: str, about: str, unit: Unit, limit: Limit, **load: Any) -> Scenario:
    """A scenario in which every stream is kept in *store*, beside the same gateway that keeps none."""
    return Scenario(
        name=name, about=about, unit=unit, limit=limit, service=store.service, baseline="streamward-plain",
        targets=frozenset({"streamward", "streamward-plain"}), headers=("x-streamward-resumable: 1",),
        streamward_config=f'[streams]\nstore = "{store.url}"\ndurable = "always"\n', **load,
    )  # fmt: skip


PACED = Scenario(
    name="paced",
    about="500 streams, a token each 20 ms (one read and one write each: the realistic case)",
    unit="us_per_event",
    model="bench-250-20",
    warmup_model="bench-10-20",
    warmup_requests=1_000,
    connections=500,
    requests=500,
    ramp_ms=100,
    events=250 + FRAMING_EVENTS,
    limit=Limit(ratio=1.5),
)


def translated(dialect: Literal["responses", "messages"], **asked: Any) -> Scenario:
    """The paced load asked for in another dialect than the mock's, beside the same gateway that passes bytes."""
    return replace(
        PACED, name=f"translate_{dialect}", about=f"as paced, asked for in the dialect {dialect}: decoded and encoded again",
        dialect=dialect, events=0, baseline="streamward-plain", baseline_load=PACED, limit=Limit(ratio=1.5),
        targets=frozenset({"streamward", "streamward-plain", "litellm"}), **asked,
    )  # fmt: skip


SCENARIOS = (
    Scenario(
        name="small",
        about="streams of 16 tokens, flat out, 64 clients",
        unit="us_per_request",
        model="bench-16-0",
        connections=64,
        requests=20_000,
        events=16 + FRAMING_EVENTS,
        limit=Limit(ratio=1.6),
    ),
    Scenario(
        name="long",
        about="streams of 512 tokens, flat out, 64 clients",
        unit="us_per_event",
        model="bench-512-0",
        warmup_model="bench-512-0",
        warmup_requests=500,
        connections=64,
        requests=1_500,
        events=512 + FRAMING_EVENTS,
        limit=Limit(ratio=1.3),
    ),
    PACED,
    Scenario(
        name="json",
        about="not streamed, 64 clients",
        unit="us_per_request",
        model="bench-16-0",
        connections=64,
        requests=40_000,
        stream=False,
        limit=Limit(ratio=3.0),
    ),
    Scenario(
        name="idle",
        about="5,000 open streams that showed one token and then went silent",
        unit="kb_per_stream",
        model="bench-idle",
        connections=5_000,
        requests=5_000,
        ramp_ms=2_000,
        hold=True,
        rounds=1,
        limit=Limit(value=12.0),
    ),
    Scenario(
        name="ttft",
        about="time to first token beside direct, streams of 4 tokens, one after the other",
        unit="added_ttft_us",
        model="bench-4-0",
        connections=1,
        requests=4_000,
        events=4 + FRAMING_EVENTS,
        limit=Limit(value=300.0, p99=2_000.0),
    ),
    Scenario(
        name="ttft_idle",
        about="the same in a process that idles: 2 clients that pause 2.5 to 7.5 ms",
        unit="added_ttft_us",
        model="bench-4-0",
        warmup_requests=400,
        connections=2,
        requests=2_000,
        think_ms=5,
        events=4 + FRAMING_EVENTS,
    ),
    translated(
        "responses", path="/v1/responses", terminal="response.completed", content='"delta":"',
        streamward_config='[server]\nresponses_done = "off"\n', extra_body=(("store", False),),
    ),
    translated(
        "messages", path="/v1/messages", terminal="message_stop", content='"text":"', extra_body=(("max_tokens", 1000),),
    ),
    *(
        durable(
            store, f"durable_{store.name}", f"500 durable streams in {store.name}, a token each 20 ms", "us_per_event",
            Limit(ratio=store.ratio), model="bench-250-20", warmup_model="bench-10-20", warmup_requests=1_000,
            connections=500, requests=500, ramp_ms=100, events=250 + FRAMING_EVENTS,
        )
        for store in STORES
        if store.ratio is not None
    ),
    *(
        durable(
            store, f"durable_{store.name}_ttft", f"time to first token beside the plain path, durable in {store.name}",
            "added_ttft_us", store.ttft, model="bench-4-0", warmup_requests=400, connections=2, requests=1_000, think_ms=5,
            events=4 + FRAMING_EVENTS,
        )
        for store in STORES
    ),
    *(
        durable(
            store, f"durable_{store.name}_idle", f"5,000 open durable streams in {store.name} after their first token",
            "kb_per_stream", Limit(value=64.0), model="bench-idle", connections=5_000, requests=5_000, ramp_ms=4_000,
            hold=True, rounds=1,
        )
        for store in STORES
        if store.ratio is not None
    ),
)  # fmt: skip
