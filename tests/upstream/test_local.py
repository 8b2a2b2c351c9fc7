"""The local engine for real: xllamacpp in its own process with the shipped toy model."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from streamward.upstream import local
from streamward.upstream.local import EngineSettings, LocalEngine, LocalEngineError, tiny_model_path

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not local.engine_available(), reason="xllamacpp is not installed: pip install 'streamward[local]'"),
]

RECIPE = Path(__file__).parents[2] / "scripts" / "train_tiny"
ASK = [{"role": "user", "content": "what is the weather in Paris?"}]
LONG = {"messages": [{"role": "user", "content": "write something long"}], "ignore_eos": True, "max_tokens": 3900}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def tiny() -> Path:
    path = tiny_model_path()
    assert path is not None, "the toy model is part of the package"
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[LocalEngine]:
    async with LocalEngine(tiny()) as engine:
        yield engine


@pytest_asyncio.fixture(loop_scope="module")
async def http(engine: LocalEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(engine) as client:
        yield client


def client_of(engine: LocalEngine) -> httpx.AsyncClient:
    # No keep-alive: the engine announces it, yet closes the connection after each stream.
    return httpx.AsyncClient(
        base_url=engine.base_url,
        headers={"authorization": f"Bearer {engine.api_key}"},
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=60,
    )


async def chat(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    reply = await http.post("/chat/completions", json={"temperature": 0, "max_tokens": 120} | body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def said(http: httpx.AsyncClient, *texts: str) -> str:
    """The answer to a conversation in which user and assistant take turns."""
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return str((await chat(http, messages=messages))["choices"][0]["message"]["content"])


async def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> float:
    """Poll until *condition* holds; return after how many seconds it did."""
    began = time.monotonic()
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  the condition is another process
            await asyncio.sleep(0.005)
    return time.monotonic() - began


def alive(pid: int) -> bool:
    """Whether *pid* still runs; a zombie that its new parent has not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def command_line(pid: int) -> str:
    proc = Path(f"/proc/{pid}/cmdline")
    return proc.read_text() if sys.platform == "linux" else ""


def cpu_ticks(pid: int) -> int:
    """Processor time *pid* has used, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_a_stream_has_deltas_a_finish_reason_real_usage_and_done(http: httpx.AsyncClient):
    """Counted tokens match the deltas: one token, one chunk, for plain ASCII text."""
    body = {"messages": [{"role": "user", "content": "what is SSE?"}], "stream": True, "temperature": 0}

    async with http.stream("POST", "/chat/completions", json=body | {"stream_options": {"include_usage": True}}) as reply:
        lines = [line.removeprefix("data: ") async for line in reply.aiter_lines() if line]
    chunks = [json.loads(line) for line in lines[:-1]]
    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
    texts = [d["content"] for d in deltas if d.get("content")]
    reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]

    assert lines[-1] == "[DONE]"
    assert deltas[0] == {"role": "assistant", "content": None}
    assert [r for r in reasons if r] == ["stop"]
    assert "server-sent events" in "".join(texts)
    usage = chunks[-1]["usage"]
    assert chunks[-1]["choices"] == []
    assert usage["completion_tokens"] in (len(texts), len(texts) + 1)  # the end token counts, but has no text
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_nobody_else_on_the_machine_may_use_the_engine(engine: LocalEngine):
    async with httpx.AsyncClient(base_url=engine.base_url) as stranger:
        reply = await stranger.post("/chat/completions", json={"messages": ASK})

    assert reply.status_code == 401
    assert engine.base_url.startswith("http://127.0.0.1:")
    assert engine.api_key not in command_line(engine.pid or 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads processor time from /proc")
async def test_closing_a_stream_stops_the_generation(engine: LocalEngine, http: httpx.AsyncClient):
    """The engine is idle soon after the connection closed, far from the tokens it was asked for."""
    pid = engine.pid
    assert pid is not None
    async with http.stream("POST", "/chat/completions", json=LONG | {"stream": True}) as reply:
        async for _ in reply.aiter_bytes():
            break
    closed = quiet = time.monotonic()
    ticks = cpu_ticks(pid)
    async with asyncio.timeout(10):
        while time.monotonic() - quiet < 0.25:
            await asyncio.sleep(0.01)
            if cpu_ticks(pid) != ticks:
                ticks, quiet = cpu_ticks(pid), time.monotonic()
    metrics = (await http.get(engine.base_url.removesuffix("/v1") + "/metrics")).text
    predicted = re.search(r"^llamacpp:tokens_predicted_total (\d+)", metrics, re.MULTILINE)

    assert quiet - closed < 0.1
    assert predicted
    assert int(predicted[1]) < 3900


async def test_a_required_tool_is_called_with_arguments_of_its_schema(http: httpx.AsyncClient):
    reply = await chat(http, messages=ASK, tools=[WEATHER], tool_choice="required")

    choice = reply["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    function = choice["message"]["tool_calls"][0]["function"]
    assert function["name"] == "get_weather"
    assert json.loads(function["arguments"]).keys() == {"city"}


async def test_the_model_calls_a_fitting_tool_of_its_own_accord(http: httpx.AsyncClient):
    reply = await chat(http, messages=ASK, tools=[WEATHER])

    choice = reply["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


async def test_a_tool_result_is_followed_by_an_answer(http: httpx.AsyncClient):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    history = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}]

    reply = await chat(http, messages=[*history, {"role": "tool", "tool_call_id": "c1", "content": "sunny"}], tools=[WEATHER])

    assert reply["choices"][0]["finish_reason"] == "stop"
    assert "tool has answered" in reply["choices"][0]["message"]["content"]


async def test_json_schema_output_is_valid(http: httpx.AsyncClient):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "kind": {"enum": ["toy", "real"]},
            "ok": {"type": "boolean"},
        },
        "required": ["name", "kind", "ok"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    reply = await chat(http, messages=ASK, response_format=wanted)

    value = json.loads(reply["choices"][0]["message"]["content"])
    assert value.keys() == {"name", "kind", "ok"}
    assert value["kind"] in ("toy", "real")
    assert isinstance(value["ok"], bool)


async def test_more_requests_than_slots_are_all_answered(http: httpx.AsyncClient):
    """Four run side by side, the other two wait in line."""
    answers = await asyncio.gather(*(said(http, "what is SSE?") for _ in range(6)))

    assert [answers[0]] * 6 == answers
    slots = (await http.get(str(http.base_url).removesuffix("/v1/") + "/slots")).json()
    assert len(slots) == 4


async def test_the_toy_answers_rephrased_questions_and_admits_the_rest(http: httpx.AsyncClient):
    """Questions it was never trained on: most find their topic, and nearly all strange ones the honest answer."""
    read = {name: tomllib.loads((RECIPE / f"{name}.toml").read_text()) for name in ("topics", "offtopic", "held_out")}
    right = {topic["id"]: topic["answer"] for topic in read["topics"]["topic"]} | {"off": read["offtopic"]["answer"]}
    asks = read["held_out"]["ask"]

    answers = [await said(http, ask["q"]) for ask in asks]
    good = [right[ask["topic"]] == answer for ask, answer in zip(asks, answers, strict=True)]
    known = [ok for ok, ask in zip(good, asks, strict=True) if ask["topic"] != "off"]
    strange = [ok for ok, ask in zip(good, asks, strict=True) if ask["topic"] == "off"]

    assert sum(known) >= 0.8 * len(known)
    assert sum(strange) >= 0.8 * len(strange)


async def test_a_second_turn_is_answered_by_its_own_question(http: httpx.AsyncClient):
    first = await said(http, "what is SSE?")

    second = await said(http, "what is SSE?", first, "what is backpressure?")

    assert "server-sent events" in first
    assert second.startswith("Backpressure means")


async def test_the_shipped_file_is_small_and_labelled_as_a_toy():
    head = tiny().read_bytes()[:4096]

    assert tiny().stat().st_size <= 5_000_000
    assert b"Apache-2.0" in head
    assert b"A toy:" in head
    assert b"only knows the streamward project" in head


async def test_a_dead_engine_comes_back_at_the_same_address(engine: LocalEngine):
    before, address = engine.pid, engine.base_url
    assert before is not None

    os.kill(before, signal.SIGKILL)
    await until(lambda: not engine.running)

    assert await engine.wait_running(10)
    assert engine.base_url == address
    assert engine.pid != before
    async with client_of(engine) as again:
        assert "server-sent events" in await said(again, "what is SSE?")


async def test_an_engine_that_keeps_dying_is_given_up_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "RESTART_DELAYS_S", (0.0,))
    monkeypatch.setattr(local, "MAX_RESTARTS", 2)
    engine = LocalEngine(tiny())
    await engine.start()
    for _ in range(3):
        assert await engine.wait_running(10)
        os.kill(engine.pid or 0, signal.SIGKILL)
        await until(lambda: not engine.running)

    await until(lambda: engine.failure is not None)

    assert engine.failure is not None
    assert "SIGKILL" in engine.failure
    assert engine.restarts == 2
    await engine.start()
    assert engine.running
    await engine.stop()


async def test_stop_ends_the_process_at_once_even_while_it_generates():
    engine = LocalEngine(tiny())
    await engine.start()
    pid = engine.pid or 0
    async with client_of(engine) as http, http.stream("POST", "/chat/completions", json=LONG | {"stream": True}) as reply:
        chunks = reply.aiter_bytes()
        await anext(chunks)

        took = time.monotonic()
        await engine.stop()
        took = time.monotonic() - took

    await engine.stop()
    assert not alive(pid)
    assert not engine.running
    assert took < local.STOP_S


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
async def test_the_engine_dies_with_its_parent():
    """Even when the parent is killed and can clean up nothing."""
    program = (
        "import asyncio, pathlib, sys\n"
        "from streamward.upstream.local import LocalEngine\n"
        "async def main():\n"
        "    engine = LocalEngine(pathlib.Path(sys.argv[1]))\n"
        "    await engine.start()\n"
        "    print(engine.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tiny()), stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)

    parent.kill()
    await parent.wait()

    await until(lambda: not alive(pid))


async def test_two_callers_who_start_at_once_share_one_process():
    engine = LocalEngine(tiny())

    await asyncio.gather(engine.start(), engine.start())

    assert engine.running
    assert engine.restarts == 0
    await engine.stop()


async def test_an_engine_that_is_not_ready_in_time_is_stopped():
    engine = LocalEngine(tiny(), settings=EngineSettings(start_timeout_s=0.01))

    with pytest.raises(LocalEngineError, match="was not ready after"):
        await engine.start()

    assert engine.pid is None


async def test_an_unstarted_engine_has_no_address():
    with pytest.raises(LocalEngineError, match="call start"):
        _ = LocalEngine(tiny()).base_url


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "is not a GGUF file"),
        (lambda data: b"<html>Not found</html>", "found b'<htm'"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (lambda data: data[: len(data) // 2], "incomplete"),
        (lambda data: data[:200], "cannot load"),
        (lambda data: b"GGUF\x09\x00\x00\x00" + data[8:], "version 9"),
    ],
    ids=["empty", "html", "lfs", "truncated", "header-only", "future-version"],
)
async def test_a_bad_file_is_refused_in_a_sentence(tmp_path: Path, damage: Callable[[bytes], bytes], words: str):
    model = tmp_path / "bad.gguf"
    model.write_bytes(damage(tiny().read_bytes()))
    engine = LocalEngine(model)

    with pytest.raises(LocalEngineError, match=words) as caught:
        await engine.start()

    assert "bad.gguf" in str(caught.value)
    assert engine.pid is None
    assert caught.value.info.status == 503


async def test_a_missing_file_or_a_folder_is_refused_before_anything_starts(tmp_path: Path):
    with pytest.raises(LocalEngineError, match="no model file at"):
        await LocalEngine(tmp_path / "none.gguf").start()
    with pytest.raises(LocalEngineError, match="is a folder"):
        await LocalEngine(tmp_path).start()


async def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(LocalEngineError, match=r"streamward\[local\]"):
        await LocalEngine(tiny()).start()


async def test_a_toy_gets_one_thread_and_a_real_model_up_to_four(tmp_path: Path):
    large = tmp_path / "large.gguf"
    with large.open("wb") as file:
        file.truncate(local.SMALL_MODEL_BYTES)

    assert local.choose_threads(tiny()) == 1
    assert 1 <= local.choose_threads(large) <= local.MAX_THREADS
