"""The synchronous client: used from plain threads, while the server runs on the test's loop."""

import asyncio
import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamward.client import Retries
from streamward.client.background import SHARED
from streamward.client.sync import SyncClient
from streamward.errors import StreamInterrupted
from streamward.events import TextDelta
from support.durable_script import DurableScript
from support.scripted_upstream import (
    COMPLETION,
    HELLO,
    ROLE,
    SSE,
    Fault,
    delta,
    document,
    http_chunk,
    scripted_upstream,
    stream,
)

QUICK = Retries(attempts=1, reconnects=3, pause_s=0.001, max_pause_s=0.002)


async def in_thread(work: Callable[[SyncClient], Any], *scripts: Any) -> Any:
    async with scripted_upstream(*scripts) as server:

        def run() -> Any:
            with SyncClient(server.base_url, retries=QUICK) as client:
                return work(client)

        return await asyncio.to_thread(run), server


async def test_events_text_and_reply():
    def work(client: SyncClient) -> Any:
        with client.stream(model="m", messages="hi") as first:
            events = list(first)
        with client.stream(model="m", messages="hi") as second:
            text = list(second.text)
        with client.stream(model="m", messages="hi") as third:
            return events, text, third.collect()

    (events, text, reply), server = await in_thread(work, stream(*HELLO))

    assert [event.delta for event in events if isinstance(event, TextDelta)] == text == ["Hel", "lo"]
    assert (reply.text, reply.finish_reason) == ("Hello", "stop")
    assert server.connections < 3  # reused: once each time the end of the body was there before the next call


async def test_reconnection_and_interruption():
    def whole(client: SyncClient) -> Any:
        with client.stream(model="m", messages="hi") as events:
            return "".join(events.text), events.id, events.offset

    def broken(client: SyncClient) -> Any:
        with client.stream(model="m", messages="hi") as events, pytest.raises(StreamInterrupted) as raised:
            list(events)
        return raised.value.partial

    (text, _, offset), _ = await in_thread(whole, DurableScript(HELLO, [2, 1]))
    partial, _ = await in_thread(broken, [SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.RESET])

    assert (text, offset) == ("Hello", len(HELLO) - 1)
    assert (partial.text, partial.finish_reason) == ("Hel", None)


async def test_leaving_early_closes_the_connection():
    def work(client: SyncClient) -> str:
        with client.stream(model="m", messages="hi") as events:
            return next(events.text)

    text, server = await in_thread(work, [SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.STALL])

    assert text == "Hel"
    await server.seen[0].wait_gone()


async def test_create_and_many_threads_share_one_loop():
    def work(client: SyncClient) -> Any:
        texts: list[str] = []
        threads = [
            threading.Thread(target=lambda: texts.append(client.create(model="m", messages="hi").text)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return texts, [thread.name for thread in threading.enumerate()].count("streamward-client")

    (texts, loops), _ = await in_thread(work, document(COMPLETION))

    assert texts == ["Hello"] * 8
    assert loops == 1


async def test_inside_its_own_loop_it_says_what_to_use_instead():
    async def inside() -> None:
        SHARED.get().call(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match=r"streamward\.Client"):
        await asyncio.to_thread(SHARED.get().call, inside())


def child(port: int, answers: Any) -> None:
    with SyncClient(f"http://127.0.0.1:{port}/v1", retries=QUICK) as client:
        answers.put(client.create(model="m", messages="hi").text)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # that it works all the same is the point
async def test_a_forked_child_begins_a_loop_of_its_own():
    SHARED.get()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    async with scripted_upstream(document(COMPLETION)) as server:
        process = context.Process(target=child, args=(server.port, answers))
        process.start()

        assert await asyncio.to_thread(answers.get, True, 10) == "Hello"

        await asyncio.to_thread(process.join, 10)
    answers.close()
    answers.join_thread()
    assert process.exitcode == 0
