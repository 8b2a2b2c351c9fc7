"""``streamward doctor``: is this set-up able to work, and if not, what is to be done."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from msgspec import Struct

from streamward.gateway.config import Config, ConfigError, find_file, load
from streamward.gateway.control import ADMIN_TOKEN
from streamward.gateway.plan import Routes
from streamward.upstream.local import engine_available, tiny_model_path
from streamward.upstream.upstream import HttpUpstream

FILES_WANTED = 4096  # two per open stream
CLOCK_OFF_S = 30.0
WORTH_SAYING = 0.01  # share of recent calls that failed


class Finding(Struct, frozen=True):
    """One thing looked at. ``ok`` is None for a hint that is no problem."""

    what: str
    ok: bool | None
    text: str


def run_doctor(config: Path | None) -> int:
    """Print the findings; 1 if any is a problem."""
    findings = asyncio.run(examine(config))
    for finding in findings:
        mark = {True: "ok  ", False: "FAIL", None: "hint"}[finding.ok]
        sys.stdout.write(f"{mark}  {finding.what}: {finding.text}\n")
    return 1 if any(finding.ok is False for finding in findings) else 0


async def examine(path: Path | None) -> list[Finding]:
    path = path or find_file(Path())
    try:
        config = load(path)
    except ConfigError as exc:
        return [Finding("configuration", False, str(exc))]
    where = str(path) if path else "none found, defaults hold"
    findings = [Finding("configuration", True, where), *machine(), *keys(config)]
    findings.extend(await upstreams(config))
    findings.extend(await health(config))
    return findings


def machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= FILES_WANTED
    text = f"{soft} may be open" if enough else f"only {soft} may be open (hard limit {hard}): run `ulimit -n {FILES_WANTED}`"
    yield Finding("files", True if enough else None, text)
    try:
        import uvloop

        yield Finding("event loop", True, f"uvloop ({uvloop.__name__})")
    except ImportError:
        yield Finding("event loop", None, "uvloop is missing: streams cost 15-20 % more CPU")
    engine = engine_available()
    local = "engine installed" if engine else "not installed: pip install 'streamward[local]' brings a model without a key"
    if engine and tiny_model_path() is None:
        local += ", but the toy model is missing from this installation"
    yield Finding("local model", True if engine else None, local)


def keys(config: Config) -> Iterator[Finding]:
    if not config.auth.required:
        yield Finding("client keys", None, "none are asked (auth.required = false): keep this off the network")
    elif config.auth.keys:
        yield Finding("client keys", True, f"{len(config.auth.keys)} configured")
    else:
        hint = "none in the configuration: see `streamward keys list`, or make one with `streamward keys create`"
        yield Finding("client keys", None, f"{hint}; `dev` on loopback needs none")


async def upstreams(config: Config) -> list[Finding]:
    """Every provider with a key or a configuration: does its address answer?"""
    from streamward.dataplane.pool import Pool

    pool = Pool()
    try:
        routes = Routes(config, pool)
        named = {name: up for name, up in routes.upstreams.items() if isinstance(up, HttpUpstream)}
    finally:
        await pool.aclose()
    if not named:
        return [Finding("providers", None, "no key found: demo/* and a local model work; see `streamward models`")]
    async with httpx.AsyncClient(timeout=5.0, follow_redirects=False) as client:
        return list(await asyncio.gather(*(reach(client, name, upstream) for name, upstream in named.items())))


async def reach(client: httpx.AsyncClient, name: str, upstream: HttpUpstream) -> Finding:
    end = upstream.endpoint
    url = f"{end.scheme}://{end.host}:{end.port}{upstream.base_path}/models"
    started = time.monotonic()
    try:
        answer = await client.get(url, headers=fields(upstream))
    except httpx.HTTPError as exc:
        proxy = " (a proxy is set)" if os.environ.get("HTTPS_PROXY") else ""
        return Finding(f"provider {name}", False, f"does not answer: {type(exc).__name__}{proxy}; check base_url and network")
    took = f"{(time.monotonic() - started) * 1000:.0f} ms"
    if answer.status_code in (401, 403):
        return Finding(f"provider {name}", False, f"answers in {took} but refuses the key; check it")
    drift = clock_drift(answer)
    if drift is not None and abs(drift) > CLOCK_OFF_S:
        return Finding("clock", None, f"this machine's clock differs by {drift:.0f} s from {name}'s")
    return Finding(f"provider {name}", True, f"answers in {took} (HTTP {answer.status_code})")


async def health(config: Config) -> list[Finding]:
    """How the targets of the gateway that runs with this configuration have been doing, if it runs."""
    host = "127.0.0.1" if config.server.host in ("0.0.0.0", "::") else config.server.host  # noqa: S104 - compared
    url = f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}/metrics"
    token = os.environ.get(ADMIN_TOKEN)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        async with httpx.AsyncClient(timeout=2.0, follow_redirects=False, trust_env=False) as client:
            answer = await client.get(url, headers=headers)
    except httpx.HTTPError:
        return [Finding("targets", None, f"no gateway runs at {host}:{config.server.port} to ask how they have been doing")]
    if answer.status_code in (401, 403):
        return [Finding("targets", None, f"the running gateway keeps its figures to itself: set {ADMIN_TOKEN} as it has it")]
    found = list(targets_of(answer.text)) if answer.status_code == httpx.codes.OK else []
    return found or [Finding("targets", None, "the running gateway has sent no calls yet")]


def targets_of(metrics: str) -> Iterator[Finding]:
    """A finding per target that the figures of a gateway name."""
    from prometheus_client.parser import text_string_to_metric_families

    figures: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name.startswith("streamward_target_") and "target" in sample.labels:
                name = sample.name.removeprefix("streamward_target_") + sample.labels.get("kind", "")
                figures.setdefault(sample.labels["target"], {})[name] = sample.value
    for target, known in figures.items():
        state = known.get("state", 0)
        parts = [{0: "well", 1: "on probation after failures", 2: "not asked for now: it kept failing"}[int(state)]]
        if "ttft_seconds" in known:
            parts.append(f"first token after {known['ttft_seconds'] * 1000:.0f} ms")
        if "tokens_per_second" in known:
            parts.append(f"{known['tokens_per_second']:.0f} tokens/s")
        for kind, words in (("error", "errors"), ("stall", "stalls"), ("truncation", "truncations")):
            share = known.get(f"failure_ratio{kind}", 0.0)
            if share >= WORTH_SAYING:
                parts.append(f"{share:.0%} {words}")
        yield Finding(f"target {target}", state < 2, ", ".join(parts))


def fields(upstream: HttpUpstream) -> dict[str, str]:
    """The upstream's own header fields, without those a GET does not have."""
    pairs = (line.split(b": ", 1) for line in upstream.fields.split(b"\r\n") if line)
    return {name.decode(): value.decode("latin-1") for name, value in pairs if name not in (b"host", b"content-type")}


def clock_drift(answer: httpx.Response) -> float | None:
    stated = answer.headers.get("date")
    try:
        return time.time() - parsedate_to_datetime(stated).timestamp() if stated else None
    except (TypeError, ValueError):
        return None
