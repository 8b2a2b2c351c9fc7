"""The synchronous chat: used from plain threads, while its back end runs on the test's loop."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from client.test_chat_backends import ASKS, backend
from streamward.errors import Conflict, StreamwardError
from streamward.sync import Chat, Client
from support.scripted_upstream import HELLO, ROLE, SSE, Fault, delta, http_chunk, scripted_upstream, stream

SLOW = [SSE, http_chunk(ROLE), http_chunk(delta("a")), Fault.STALL]


async def with_backend(work: Callable[[str], Any], *scripts: Any) -> Any:
    async with backend(*scripts) as (url, upstream):
        return await asyncio.to_thread(work, url), upstream


@pytest.mark.parametrize(("path", "options"), [("/7", {}), ("/data", {"protocol": "data"}), ("/text", {"protocol": "text"})])
async def test_two_turns_and_their_callbacks(path: str, options: dict[str, Any]):
    """Callbacks run in the thread that waits."""
    heard: list[tuple[str, str]] = []
    ends: list[Any] = []

    def work(url: str) -> Any:
        def hear(text: str) -> None:
            heard.append((text, threading.current_thread().name))

        with Chat(url + path, on_text=hear, on_finish=lambda *end: ends.append(end), **options) as chat:
            chat.append("hi")
            message = chat.append("and again")
            return message, chat.messages, chat.status, threading.current_thread().name

    (message, messages, status, name), _ = await with_backend(work, stream(*HELLO))

    assert "".join(text for text, _ in heard) == "Hello" * 2
    assert {thread for _, thread in heard} == {name}
    assert [part["text"] for part in message["parts"] if part["type"] == "text"] == ["Hello"]
    assert [item["role"] for item in messages] == ["user", "assistant"] * 2
    assert (status, len(ends), ends[1][0]) == ("ready", 2, message)


async def test_a_question_is_answered_and_an_answer_asked_again():
    def work(url: str) -> Any:
        with Chat(url + "/7") as chat:
            asked = chat.append("ask me")
            assert asked is not None
            call = next(part for part in asked["parts"] if part["type"].startswith("tool-"))
            chat.add_tool_output(call["toolCallId"], "yes")
            chat.append()
            chat.reload()
            return chat.messages

    messages, upstream = await with_backend(work, ASKS, stream(*HELLO), stream(*HELLO))

    assert [item["role"] for item in messages] == ["user", "assistant"]
    assert len(upstream.seen) == 3


async def test_a_callback_stops_the_answer():
    changes: list[str] = []

    def work(url: str) -> Any:
        chat = Chat(url + "/7", on_text=lambda _: chat.stop(), on_change=lambda it: changes.append(it.status))
        with chat:
            message = chat.append("hi")
            return message, chat.status, chat.error

    (message, status, error), upstream = await with_backend(work, SLOW)

    assert [part["text"] for part in message["parts"] if part["type"] == "text"] == ["a"]
    assert (status, error) == ("ready", None)
    assert changes[-1] == "ready"
    await asyncio.wait_for(upstream.seen[0].gone.wait(), 10)


async def test_another_thread_stops_it_and_a_second_answer_is_refused():
    def work(url: str) -> Any:
        started = threading.Event()
        with Chat(url + "/7", on_text=lambda _: started.set()) as chat:
            waiting = threading.Thread(target=chat.append, args=("hi",))
            waiting.start()
            assert started.wait(5)
            with pytest.raises(Conflict):
                chat.append("me too")
            began = time.monotonic()
            chat.stop()
            waiting.join(5)
            return time.monotonic() - began

    took, _ = await with_backend(work, SLOW)

    assert took < 4


async def test_what_a_callback_raises_ends_the_answer():
    def fail(text: str) -> None:
        raise ValueError("mine")

    def work(url: str) -> Any:
        with Chat(url + "/7", on_text=fail) as chat:
            with pytest.raises(ValueError, match="mine"):
                chat.append("hi")
            return chat.status, [item["role"] for item in chat.messages]

    (status, roles), upstream = await with_backend(work, SLOW)

    assert (status, roles) == ("ready", ["user", "assistant"])
    await asyncio.wait_for(upstream.seen[0].gone.wait(), 10)


async def test_failures_are_raised_and_kept():
    def work(url: str) -> Any:
        with Chat(url + "/nowhere/else") as chat:
            with pytest.raises(StreamwardError) as caught:
                chat.append("hi")
            return caught.value is chat.error, chat.status, chat.resume()

    (same, status, resumed), _ = await with_backend(work, stream(*HELLO))

    assert (same, status, resumed) == (True, "error", None)


async def test_over_a_synchronous_client():
    async with scripted_upstream(stream(*HELLO)) as server:

        def work() -> Any:
            with Client(server.base_url) as client:
                chat = Chat.over(client, "m", system="Be short.")
                message = chat.append("hi")
                return message, chat.id

        message, chat_id = await asyncio.to_thread(work)

    assert message["parts"][-1]["text"] == "Hello"
    assert chat_id
    assert server.seen[0].json()["messages"][0] == {"role": "system", "content": "Be short."}
