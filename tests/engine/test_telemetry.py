"""Spans of a generation, read back from an in-memory exporter."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streamward import stream_text
from streamward.errors import InvalidRequest, UpstreamError
from streamward.testing import ScriptedModel, finish, text, tool_call


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Any:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")


async def ping() -> str:
    return "pong"


async def test_one_span_per_generation_call_and_tool(exporter: InMemorySpanExporter, tracer: Any):
    model = ScriptedModel([tool_call("ping")], ["secret words", finish(input_tokens=3, output_tokens=4)])
    await stream_text(model, prompt="a secret", tools=[ping], max_steps=2, telemetry=tracer).text

    spans = exporter.get_finished_spans()
    root = next(span for span in spans if span.name == "ai.streamText")
    assert sorted(span.name for span in spans) == [
        "ai.streamText", "ai.streamText.doStream", "ai.streamText.doStream", "ai.toolCall"
    ]  # fmt: skip
    assert {span.parent.span_id for span in spans if span.parent} == {root.context.span_id}
    last = [span for span in spans if span.name.endswith("doStream")][-1]
    assert last.attributes is not None
    assert last.attributes["gen_ai.usage.output_tokens"] == 4
    assert "secret" not in str([span.to_json() for span in spans])


async def test_content_is_recorded_only_when_asked_for(exporter: InMemorySpanExporter, tracer: Any):
    telemetry = {"tracer": tracer, "record_content": True, "metadata": {"user": "u1"}}
    await stream_text(ScriptedModel("secret words"), prompt="x", telemetry=telemetry).text

    assert "secret words" in str([span.to_json() for span in exporter.get_finished_spans()])
    assert any((span.attributes or {}).get("user") == "u1" for span in exporter.get_finished_spans())


@pytest.mark.parametrize("ending", ["error", "abort"])
async def test_spans_end_with_the_stream_however_it_ends(exporter: InMemorySpanExporter, tracer: Any, ending: str):
    items: Any = [*text("a"), UpstreamError("no")] if ending == "error" else text("a", "b")
    result = stream_text(ScriptedModel(items), prompt="x", telemetry=tracer)
    async for event in result:
        if ending == "abort" and event.__struct_config__.tag == "text-delta":
            break

    assert sorted(span.name for span in exporter.get_finished_spans()) == ["ai.streamText", "ai.streamText.doStream"]
    root = exporter.get_finished_spans()[-1]
    assert root.status.is_ok == (ending != "error")


def test_unknown_settings_are_refused():
    with pytest.raises(InvalidRequest, match="recordInputs"):
        stream_text(ScriptedModel("x"), prompt="x", telemetry={"recordInputs": True})
