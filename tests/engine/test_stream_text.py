"""stream_text: steps, tools, views and callbacks, on scripted models."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamward import StreamwardError, generate_text, has_tool_call, step_count_is, stream_text, tool
from streamward.call import Text, ToolOutput, ToolUse
from streamward.errors import InvalidRequest, UpstreamError
from streamward.events import Error, Finish, Start, StepFinish, StepStart, ToolCall, ToolError, ToolResult, Usage
from streamward.testing import ScriptedModel, assert_stream, error, finish, text, tool_call


@tool
async def weather(city: str) -> dict[str, Any]:
    """Current weather."""
    return {"city": city, "tempC": 21}


def tags(events: Any) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


async def test_text_arrives_in_order_and_the_views_agree():
    model = ScriptedModel([text("Hel", "lo"), finish(input_tokens=3, output_tokens=2)])
    result = stream_text(model, prompt="hi")

    deltas = [delta async for delta in result.text_stream]

    assert deltas == ["Hel", "lo"]
    assert await result.text == "Hello"
    assert Usage(3, 2) == await result.usage
    assert await result.finish_reason == "stop"
    assert_stream(await result.full_stream, text="Hello", finish_reason="stop")


async def test_nothing_is_sent_before_the_first_use():
    model = ScriptedModel("x")

    result = stream_text(model, prompt="hi")
    await asyncio.sleep(0)

    assert model.calls == []
    assert await result.text == "x"


async def test_every_view_can_be_read_again_from_the_start():
    result = stream_text(ScriptedModel(["a", "b"]), prompt="hi")

    first = [delta async for delta in result.text_stream]
    second = [delta async for delta in result.text_stream]

    assert first == second == ["a", "b"]


async def test_two_readers_at_the_same_time_see_the_same():
    result = stream_text(ScriptedModel([text(*"abcdef")], delay_s=0.001), prompt="hi")

    async def read() -> str:
        return "".join([delta async for delta in result.text_stream])

    assert await asyncio.gather(read(), read()) == ["abcdef", "abcdef"]


async def test_the_tool_loop_feeds_results_back():
    model = ScriptedModel(["Let me see. ", tool_call("weather", {"city": "Paris"})], ["21 degrees."])
    result = stream_text(model, prompt="weather?", tools=[weather], max_steps=3)

    events = await result.full_stream

    assert_stream(events, text="Let me see. 21 degrees.", finish_reason="stop")
    outputs = [event.output for event in events if isinstance(event, ToolResult)]
    assert outputs == [{"city": "Paris", "tempC": 21}]
    assistant, answered = model.calls[1].messages[-2:]
    assert (Text("Let me see. "), ToolUse("call-0", "weather", '{"city":"Paris"}')) == assistant.parts
    assert (ToolOutput("call-0", '{"city":"Paris","tempC":21}', "weather"),) == answered.parts
    assert await result.text == "21 degrees."
    assert len(await result.steps) == 2
    model.assert_done()


async def test_one_step_is_the_default():
    model = ScriptedModel([tool_call("weather", {"city": "Paris"})], "never")

    reason = await stream_text(model, prompt="x", tools=[weather]).finish_reason

    assert reason == "tool-calls"
    assert len(model.calls) == 1


@pytest.mark.parametrize("stop", [step_count_is(2), has_tool_call("weather"), lambda steps: len(steps) == 2])
async def test_stop_conditions(stop: Any):
    model = ScriptedModel(*[[tool_call("weather", {"city": "P"}, id=f"c{n}")] for n in range(5)])

    steps = await stream_text(model, prompt="x", tools=[weather], stop_when=stop).steps

    assert (1 if len(model.calls) == 1 else 2) == len(steps)
    assert len(steps) < 5


async def test_tools_of_one_step_run_at_the_same_time_and_results_come_in_completion_order():
    both = asyncio.Barrier(2)
    first_may_end = asyncio.Event()

    @tool
    async def slow() -> str:
        await both.wait()
        await first_may_end.wait()
        return "slow"

    @tool
    async def fast() -> str:
        await both.wait()
        first_may_end.set()
        return "fast"

    model = ScriptedModel([tool_call("slow", id="1"), tool_call("fast", id="2")], "done")
    events = await stream_text(model, prompt="x", tools=[slow, fast], max_steps=2).full_stream

    assert [event.output for event in events if isinstance(event, ToolResult)] == ["fast", "slow"]
    assert_stream(events)


async def test_plain_functions_run_in_threads_and_do_not_block_the_loop():
    import threading

    seen: list[str] = []

    def blocking(word: str) -> str:
        seen.append(threading.current_thread().name)
        return word.upper()

    model = ScriptedModel([tool_call("blocking", {"word": "x"})], "done")
    results = [each async for each in stream_text(model, prompt="x", tools=[blocking], max_steps=2).tool_results]

    assert [each.output for each in results] == ["X"]
    assert seen != [threading.main_thread().name]


async def test_generator_tools_give_preliminary_results():
    @tool
    async def progress() -> Any:
        for percent in (10, 100):
            yield percent

    model = ScriptedModel([tool_call("progress")], "done")
    events = await stream_text(model, prompt="x", tools=[progress], max_steps=2).full_stream

    results = [(event.output, event.preliminary) for event in events if isinstance(event, ToolResult)]
    assert results == [(10, True), (100, True), (100, False)]


async def test_what_a_tool_raises_goes_to_the_model():
    @tool
    async def failing() -> None:
        raise ValueError("it broke")

    model = ScriptedModel([tool_call("failing")], "Sorry.")
    events = await stream_text(model, prompt="x", tools=[failing], max_steps=2).full_stream

    assert [event.error for event in events if isinstance(event, ToolError)] == ["it broke"]
    assert (ToolOutput("call-0", "it broke", "failing", is_error=True),) == model.calls[1].messages[-1].parts


async def test_with_tool_errors_end_a_failed_tool_ends_the_generation():
    @tool
    async def failing() -> None:
        raise ValueError("it broke")

    model = ScriptedModel([tool_call("failing")], "never")
    result = stream_text(model, prompt="x", tools=[failing], max_steps=2, tool_errors="end")

    assert await result.finish_reason == "tool-calls"
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (tool_call("weather", {"town": 5}), "city: required"),
        (tool_call("weather", '{"city": '), "JSON parsing failed"),
        (tool_call("nowhere", {}), "unavailable tool 'nowhere'. Available tools: weather."),
    ],
)
async def test_broken_calls_are_told_to_the_model(call: Any, problem: str):
    model = ScriptedModel([call], "Sorry.")
    result = stream_text(model, prompt="x", tools=[weather], max_steps=2)

    first = (await result.steps)[0]

    assert problem in (first.tool_calls[0].error or "")
    assert problem in model.calls[1].messages[-1].parts[0].output  # type: ignore[union-attr]


async def test_a_repair_hook_mends_arguments():
    async def repair(broken: Any) -> Any:
        return {"city": "Paris"} if "city" in broken.error else None

    model = ScriptedModel([tool_call("weather", {"town": "Paris"})], "done")
    result = stream_text(model, prompt="x", tools=[weather], max_steps=2, repair_tool_call=repair)

    assert (await result.steps)[0].tool_results[0].output == {"city": "Paris", "tempC": 21}  # type: ignore[union-attr]


async def test_a_tool_without_a_function_is_the_clients():
    ask = tool(name="askUser", schema={"type": "object", "properties": {"q": {"type": "string"}}})
    model = ScriptedModel([tool_call("askUser", {"q": "sure?"})], "never")

    result = stream_text(model, prompt="x", tools=[ask], max_steps=5)

    assert [call.input for call in await result.tool_calls] == [{"q": "sure?"}]
    assert len(model.calls) == 1


async def test_a_tool_that_needs_approval_waits():
    @tool(needs_approval=lambda value, _: value["path"].startswith("/"))
    async def remove(path: str) -> str:
        return path

    model = ScriptedModel([tool_call("remove", {"path": "/x"}, id="1"), tool_call("remove", {"path": "y"}, id="2")], "never")
    events = await stream_text(model, prompt="x", tools=[remove], max_steps=5).full_stream

    assert [event.tool_call_id for event in events if event.__struct_config__.tag == "tool-approval-request"] == ["1"]  # type: ignore[union-attr]
    assert [event.output for event in events if isinstance(event, ToolResult)] == ["y"]
    assert len(model.calls) == 1


@pytest.mark.parametrize("approved", [True, False])
async def test_an_answered_approval_is_carried_out_before_the_model_is_called(approved: bool):
    ran: list[str] = []

    @tool(needs_approval=True)
    async def remove(path: str) -> str:
        ran.append(path)
        return f"removed {path}"

    messages = [
        {"id": "u", "role": "user", "parts": [{"type": "text", "text": "remove it"}]},
        {"id": "a", "role": "assistant", "parts": [{"type": "step-start"}, {
            "type": "tool-remove", "toolCallId": "c1", "state": "approval-responded", "input": {"path": "x"},
            "approval": {"id": "p", "approved": approved},
        }]},
    ]  # fmt: skip
    model = ScriptedModel("Done.")
    events = await stream_text(model, messages=messages, tools=[remove]).full_stream

    assert (["x"] if approved else []) == ran
    assert ["start", "tool-result" if approved else "tool-output-denied", "start-step"] == tags(events)[:3]
    output = model.calls[0].messages[-1].parts[0]
    assert isinstance(output, ToolOutput)
    assert ("removed x" if approved else "Tool call execution denied.") == output.output


async def test_usage_is_summed_over_steps():
    model = ScriptedModel(
        [tool_call("weather", {"city": "P"}), finish("tool-calls", input_tokens=10, output_tokens=5)],
        ["ok", finish(input_tokens=20, output_tokens=7)],
    )
    result = stream_text(model, prompt="x", tools=[weather], max_steps=2)

    assert Usage(20, 7) == (await result.steps)[-1].usage
    assert Usage(30, 12) == await result.usage
    total = await result.total_usage
    assert total is not None
    assert (total.input_tokens, total.output_tokens) == (30, 12)


async def test_prepare_step_changes_one_step():
    other = ScriptedModel("from the other")
    model = ScriptedModel([tool_call("weather", {"city": "P"})])

    def prepare(outlook: Any) -> Any:
        return {"model": other, "system": "Be brief.", "active_tools": []} if outlook.number == 1 else None

    result = stream_text(model, prompt="x", tools=[weather], max_steps=2, prepare_step=prepare)

    assert await result.text == "from the other"
    assert other.calls[0].tools == ()
    assert (Text("Be brief."),) == other.calls[0].messages[0].parts


async def test_part_ids_are_unique_over_steps():
    model = ScriptedModel([text("a"), tool_call("weather", {"city": "P"})], [text("b")])

    assert_stream(await stream_text(model, prompt="x", tools=[weather], max_steps=2).full_stream, text="ab")


async def test_a_failure_is_an_event_and_a_typed_exception():
    model = ScriptedModel([*text("par", "tial"), error("upstream says no", code="rate_limit_exceeded", status=429)])
    result = stream_text(model, prompt="x")

    events = await result.full_stream
    with pytest.raises(StreamwardError) as caught:
        await result.text

    assert isinstance(events[-1], Error)
    assert_stream(events, text="partial", finish_reason="error")
    assert (caught.value.info.code, type(caught.value).__name__ == "RateLimited") == ("rate_limit_exceeded", True)
    assert result.partial.text == "partial"


async def test_the_text_stream_raises_after_the_text_that_came():
    result = stream_text(ScriptedModel([*text("a"), UpstreamError("broke")]), prompt="x")
    seen: list[str] = []

    async def read() -> None:
        async for delta in result.text_stream:
            seen.append(delta)  # noqa: PERF401 - what came before the failure is the point

    with pytest.raises(UpstreamError, match="broke"):
        await read()
    assert seen == ["a"]


async def test_a_failure_before_anything_has_no_step():
    events = await stream_text(ScriptedModel(UpstreamError("refused")), prompt="x").full_stream

    assert tags(events) == ["start", "error"]


async def test_a_stream_that_just_ends_is_never_a_finish():
    class Silent:
        id = "silent"

        def open(self, call: Any, options: Any) -> Any:
            return self

        async def read(self) -> list[Any]:
            self.given = [] if hasattr(self, "given") else [Start(), *text("x")[:2]]
            return self.given

        def cancel(self) -> None: ...

    events = await stream_text(Silent(), prompt="x").full_stream

    assert isinstance(events[-1], Error)
    assert events[-1].error.code == "stream_truncated"
    assert_stream(events)


async def test_callbacks_are_told_in_order():
    told: list[Any] = []
    model = ScriptedModel(["a", tool_call("weather", {"city": "P"})], "b")

    async def on_step_finish(step: Any) -> None:
        told.append(("step", step.finish_reason))

    result = stream_text(
        model, prompt="x", tools=[weather], max_steps=2, on_step_finish=on_step_finish,
        on_chunk=lambda event: told.append("chunk") if event.__struct_config__.tag == "text-delta" else None,
        on_finish=lambda last, steps: told.append(("finish", last.text, len(steps))),
        on_error=lambda exc: told.append("error"),
    )  # fmt: skip
    await result.consume()

    assert told == ["chunk", ("step", "tool-calls"), "chunk", ("step", "stop"), ("finish", "b", 2)]


async def test_on_finish_with_one_parameter_gets_the_whole_generation():
    told: list[Any] = []
    model = ScriptedModel([tool_call("weather", {"city": "Oslo"}), finish("tool-calls", input_tokens=1, output_tokens=2)], [
        "done", finish(input_tokens=3, output_tokens=4),
    ])  # fmt: skip

    @tool
    def weather(city: str) -> str:
        return "sunny"

    await stream_text(model, prompt="x", tools=[weather], max_steps=2, on_finish=told.append).consume()

    assert (told[0].text, told[0].finish_reason, len(told[0].steps)) == ("done", "stop", 2)
    assert told[0].total_usage.total_tokens == 10
    assert [message.role for message in told[0].messages] == ["assistant", "tool", "assistant"]


async def test_on_error_gets_the_exception_and_on_finish_nothing():
    told: list[Any] = []
    result = stream_text(
        ScriptedModel(UpstreamError("no")), prompt="x", on_error=told.append, on_finish=lambda *_: told.append("finish")
    )

    await result.consume()

    assert [UpstreamError] == [type(each) for each in told]


async def test_a_callback_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture):
    def broken(_: Any) -> None:
        raise RuntimeError("callback")

    result = stream_text(ScriptedModel("fine"), prompt="x", on_chunk=broken)

    assert await result.text == "fine"
    assert "callback_failed" in caplog.text


async def test_what_prepare_step_raises_is_raised_to_the_reader():
    def prepare(_: Any) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await stream_text(ScriptedModel("x"), prompt="x", prepare_step=prepare).text


async def test_settings_reach_the_call():
    model = ScriptedModel("x")
    await stream_text(
        model, prompt="x", system="S", max_output_tokens=5, temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["END"],
        seed=7, presence_penalty=0.1, frequency_penalty=0.2, tools=[weather], tool_choice="required", thinking="low",
        headers={"x-a": "b"}, max_retries=0, provider_options={"openai": {"service_tier": "flex"}},
    ).text  # fmt: skip

    call = model.calls[0]
    assert (
        call.max_output_tokens, call.temperature, call.top_p, call.top_k, call.stop, call.seed, call.presence_penalty,
        call.frequency_penalty,
    ) == (5, 0.5, 0.9, 3, ("END",), 7, 0.1, 0.2)  # fmt: skip
    assert call.tool_choice is not None
    assert call.tool_choice.mode == "required"
    assert call.extra == {"chat_completions": {"service_tier": "flex"}}
    assert (model.options[0].headers, model.options[0].max_retries) == ({"x-a": "b"}, 0)
    assert call.thinking is not None
    assert call.thinking.effort == "low"


async def test_the_context_reaches_tools():
    from streamward import ToolContext

    @tool
    async def who(ctx: ToolContext) -> Any:
        """Who asks."""
        return [ctx.context, ctx.tool_call_id, ctx.step, len(ctx.messages)]

    model = ScriptedModel([tool_call("who")], "done")
    result = stream_text(model, prompt="x", tools=[who], max_steps=2, context="me")

    assert (await result.steps)[0].tool_results[0].output == ["me", "call-0", 0, 1]  # type: ignore[union-attr]
    assert model.calls[0].tools[0].schema["properties"] == {}  # type: ignore[index]


async def test_provider_executed_calls_do_not_continue_the_loop():
    from streamward.events import ToolInputDelta, ToolInputEnd, ToolInputStart

    searched = [
        ToolInputStart("s", "web_search", provider_executed=True), ToolInputDelta("s", '{"q":1}'), ToolInputEnd("s"),
        ToolResult("s", "web_search", ["hit"], provider_executed=True),
    ]  # fmt: skip
    model = ScriptedModel([searched, "found"], "never")
    events = await stream_text(model, prompt="x", max_steps=3).full_stream

    calls = [(event.name, event.input, event.provider_executed) for event in events if isinstance(event, ToolCall)]
    assert calls == [("web_search", {"q": 1}, True)]
    assert len(model.calls) == 1


async def test_generate_text_gives_plain_values():
    model = ScriptedModel([tool_call("weather", {"city": "P"})], "ok")

    generated = await generate_text(model, prompt="x", tools=[weather], max_steps=2)

    assert (generated.text, generated.finish_reason, len(generated.steps)) == ("ok", "stop", 2)
    assert len(generated.messages) == 3


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"prompt": "x", "messages": []}, "messages"),
        ({}, "messages"),
        ({"prompt": "x", "max_steps": 0}, "max_steps"),
        ({"prompt": "x", "timeout": {"totl": 1}}, "timeout"),
        ({"prompt": "x", "tool_choice": "nobody"}, "tool_choice"),
        ({"prompt": "x", "active_tools": ["nobody"]}, "active_tools"),
        ({"prompt": "x", "max_retries": -1}, "max_retries"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ],
)
def test_mistakes_are_refused_at_once_and_named(settings: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as caught:
        stream_text(ScriptedModel("x"), **settings)

    assert param == caught.value.info.param


async def test_the_order_of_a_step():
    model = ScriptedModel([tool_call("weather", {"city": "P"}), finish("tool-calls")])

    events = await stream_text(model, prompt="x", tools=[weather]).full_stream

    assert tags(events) == [
        "start", "start-step", "tool-input-start", "tool-input-delta", "tool-input-end", "tool-call", "tool-result",
        "finish-step", "finish",
    ]  # fmt: skip
    assert [StepStart, StepFinish, Finish] == [type(e) for e in events if isinstance(e, (StepStart, StepFinish, Finish))]
