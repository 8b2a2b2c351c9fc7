"""``lint``, ``record``, ``replay`` and ``bench`` as processes, against real servers and through a hop that buffers."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamward.cli.load import histogram, percentile
from streamward.wire.lint import load
from support.gateway_server import COMMAND, PATIENCE_S, config_text, gateway_server
from support.raw_http import KEY, ask, request
from support.scripted_upstream import (
    DONE,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    Fault,
    delta,
    document,
    head,
    http_chunk,
    scripted_upstream,
)

SSE = head(200, "transfer-encoding: chunked", "cache-control: no-cache, no-transform", "x-accel-buffering: no")
ENV = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_BASE_URL"))}
FAST = "demo/chat?tokens=12&tps=200&ttft_ms=0"


class Ran:
    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out
        self.err = err.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def broken(self) -> list[str]:
        return [rule["name"] for rule in self.json["rules"] if rule["broken"]]


async def run(*arguments: str, cwd: Path | None = None, stdin: bytes = b"", **environ: str) -> Ran:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, cwd=cwd, env={**ENV, **environ}, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Ran(process.returncode, out, err)


@asynccontextmanager
async def replaying(file: Path, *options: str) -> AsyncIterator[int]:
    """``streamward replay`` as a server; its port."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "replay", str(file), *options, env=ENV, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = await process.stderr.readline()
        yield int(line.split(b"127.0.0.1:")[1].split(b" ")[0])
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("route", ["", "/responses", "/messages"])
async def test_lint_finds_nothing_in_what_the_gateway_sends(route: str):
    async with gateway_server(config_text()) as served:
        ran = await run("lint", f"{served.url}/v1{route}", "--model", FAST, "--strict", "--json", STREAMWARD_API_KEY=KEY)

    assert (ran.code, ran.broken(), ran.json["ending"]) == (0, [], "finished (stop)")
    assert ran.json["frames"] > 12


async def test_lint_names_the_rules_and_frames_that_are_broken():
    bad = [head(200, "transfer-encoding: chunked"), http_chunk(ROLE + delta("x", role="assistant")), http_chunk(DONE), LAST]
    async with scripted_upstream(bad) as server:
        ran = await run("lint", server.base_url)

    text = ran.out.decode()
    assert ran.code == 1
    assert "chat-role-once" in text
    assert "frame 1" in text
    assert "chat-terminal" in text
    assert "[DONE] without a finish reason" in text


async def test_lint_sees_a_hop_that_holds_frames_back():
    """The gateway paces its tokens; a hop that collects them until the end is found by the arrival times."""
    model = "demo/chat?tokens=20&tps=40&ttft_ms=0"
    async with gateway_server(config_text()) as served:

        async def hop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            data = await reader.readuntil(b"\r\n\r\n")
            length = int(data.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answer = await ask(served.port, data + await reader.readexactly(length))
            writer.write(SSE + http_chunk(answer.body) + LAST)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(hop, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        direct = await run("lint", f"{served.url}/v1", "--model", model, "--json", STREAMWARD_API_KEY=KEY)
        buffered = await run("lint", url, "--model", model, "--json", STREAMWARD_API_KEY=KEY)
        server.close()

    assert (direct.code, direct.broken()) == (0, [])
    assert (buffered.code, buffered.broken()) == (1, ["timing-keeps-pace"])


async def test_record_lint_and_replay_agree_byte_for_byte(tmp_path: Path):
    file = tmp_path / "chat.jsonl"
    async with gateway_server(config_text()) as served:
        recorded = await run("record", f"{served.url}/v1", "-o", str(file), "--model", FAST, STREAMWARD_API_KEY=KEY)
    capture = load(file.read_text().splitlines())
    linted = await run("lint", str(file), "--json")
    printed = await run("replay", str(file), "--stdout", "--speed", "0")
    async with replaying(file, "--speed", "0") as port:
        answer = await ask(port, request("POST", "/any", b"{}"))

    assert (recorded.code, linted.code) == (0, 0)
    assert KEY not in file.read_text()
    assert "Say something" not in file.read_text()
    assert capture.body.endswith(DONE)
    assert len(capture.reads) > 5
    assert printed.out == answer.body == capture.body
    assert answer.chunks == [read.data for read in capture.reads]
    assert answer.get("x-accel-buffering") == "no"
    assert answer.complete


async def test_replay_keeps_the_recorded_times_and_warps_them(tmp_path: Path):
    file = tmp_path / "slow.jsonl"
    lines = [
        {"streamward": "capture", "version": 1}, {"t": 0.1, "status": 200, "headers": {"content-type": "text/event-stream"}},
        {"t": 0.1, "text": "data: 1\n\n"}, {"t": 0.5, "text": "data: 2\n\n"}, {"t": 0.5, "end": "complete"},
    ]  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    gaps = []
    for speed in ("1", "2"):
        times: list[float] = []
        async with replaying(file, "--speed", speed) as port:
            await ask(port, request("POST", "/", b"{}"), on_chunk=partial(note_time, times))
        gaps.append(times[1] - times[0])

    assert gaps == [pytest.approx(0.4, abs=0.1), pytest.approx(0.2, abs=0.1)]


def note_time(times: list[float]) -> None:
    times.append(asyncio.get_running_loop().time())


async def test_replay_recut_is_repeatable_and_loses_nothing(tmp_path: Path):
    file = tmp_path / "raw.sse"
    file.write_bytes(b"".join(HELLO))
    cuts = []
    for seed in ("7", "7", "8"):
        async with replaying(file, "--speed", "0", "--recut", "random", "--seed", seed) as port:
            cuts.append((await ask(port, request("POST", "/", b"{}"))).chunks)
    async with replaying(file, "--speed", "0", "--recut", "3") as port:
        three = (await ask(port, request("POST", "/", b"{}"))).chunks

    assert cuts[0] == cuts[1] != cuts[2]
    assert b"".join(cuts[2]) == b"".join(three) == b"".join(HELLO)
    assert {len(piece) for piece in three[:-1]} == {3}


async def test_a_broken_stream_is_recorded_and_replayed_as_broken(tmp_path: Path):
    file = tmp_path / "cut.jsonl"
    async with scripted_upstream([SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.RESET]) as server:
        recorded = await run("record", server.base_url, "-o", str(file))
    async with replaying(file, "--speed", "0") as port:
        answer = await ask(port, request("POST", "/", b"{}"))
        linted = await run("lint", f"http://127.0.0.1:{port}/v1", "--json")

    assert recorded.code == 1
    assert (answer.body, answer.complete) == (ROLE + delta("Hel"), False)
    assert linted.code == 1
    assert {"body-complete", "chat-terminal"} <= set(linted.broken())


async def test_lint_reads_standard_input():
    ran = await run("lint", "-", "--json", stdin=b"".join([ROLE, delta("x"), FINISH, DONE]))

    assert (ran.code, ran.json["dialect"], ran.json["errors"]) == (0, "chat_completions", 0)


async def test_bench_counts_tokens_times_and_failures():
    async with gateway_server(config_text()) as served:
        url = f"{served.url}/v1"
        load = await run("bench", url, "-c", "4", "-n", "12", "--model", FAST, "--json", STREAMWARD_API_KEY=KEY)
        shown = await run("bench", url, "-c", "2", "-n", "4", "--model", FAST, STREAMWARD_API_KEY=KEY)
        broken = "demo/fail?tokens=9&tps=0&ttft_ms=0&fail_with=truncate&fail_after=3"
        failed = await run("bench", url, "-c", "2", "-n", "4", "--model", broken, "--json", STREAMWARD_API_KEY=KEY)
        refused = await run("bench", url, "-c", "1", "-n", "2", "--json")

    figures = load.json
    assert (load.code, figures["finished"], figures["failed"], figures["connections"]) == (0, 12, 0, 4)
    assert figures["stream_ms"]["p50"] >= 11 * 5  # 12 tokens, 5 ms apart
    assert figures["gap_ms"]["p50"] == pytest.approx(5, abs=4)
    assert set(figures["added_first_token_ms"]) == {"p50", "p90", "p99", "max"}
    assert shown.code == 0
    assert "time to first token" in shown.out.decode()
    assert (failed.code, failed.json["failed"]) == (1, 4)
    assert (refused.code, refused.json["errors"]) == (1, {"HTTP 401": 2})


async def test_bench_against_a_baseline():
    async with gateway_server(config_text()) as served:
        url = f"{served.url}/v1"
        ran = await run(
            "bench", url, "-n", "4", "-c", "2", "--baseline", url, "--model", FAST, "--json", STREAMWARD_API_KEY=KEY
        )

    assert ran.code == 0
    assert abs(ran.json["added_first_token_ms"]["p50"]) < 1000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("lint", "http://127.0.0.1:1/v1"), 1, "is a server running there"),
        (("lint", "http://"), 2, "URL with a host"),
        (("lint", "no-such-file"), 1, "cannot be read"),
        (("lint", "http://127.0.0.1:1/v1", "--dialect", "telepathy"), 2, "--dialect is one of"),
        (("record", "http://127.0.0.1:1/v1", "--header", "broken"), 2, "'name: value'"),
        (("record", "http://127.0.0.1:1/v1", "--key-env", "NO_SUCH_VARIABLE"), 2, "NO_SUCH_VARIABLE is not set"),
        (("replay", "no-such-file"), 1, "cannot be read"),
        (("replay", "x", "--recut", "some"), 2, "--recut is a number"),
        (("bench", "ftp://h/"), 2, "http or https"),
        (("bench", "http://127.0.0.1:1/v1", "-c", "0"), 2, "--clients"),
    ],
)
async def test_wrong_usage_and_problems_are_one_sentence(arguments: tuple[str, ...], code: int, message: str):
    ran = await run(*arguments)

    assert (ran.code, "Traceback" in ran.err) == (code, False)
    assert message in ran.err


async def test_an_error_answer_is_shown_by_lint_and_fails_record(tmp_path: Path):
    async with scripted_upstream(document({"error": {"message": "no such model"}}, 404)) as server:
        linted = await run("lint", server.base_url)
        recorded = await run("record", server.base_url, "-o", str(tmp_path / "x.jsonl"))

    assert (linted.code, recorded.code) == (1, 1)
    assert "404" in linted.err
    assert "no such model" in linted.err


@pytest.mark.parametrize("command", ["lint", "record", "replay", "bench"])
async def test_help_has_an_example(command: str):
    ran = await run(command, "--help", COLUMNS="120", TERM="dumb")

    assert ran.code == 0
    assert f"streamward {command}" in ran.out.decode()


def test_histogram_has_a_line_per_bin_and_counts_everything():
    lines = histogram([0.001] * 90 + [0.1] * 10)

    assert sum(int(line.rsplit(" ", 1)[1]) for line in lines) == 100
    assert lines[0].rstrip().endswith("90")
    assert histogram([0.002, 0.002])[0].endswith(" 2")
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.5, 0.99)] == [2.0, 4.0]
