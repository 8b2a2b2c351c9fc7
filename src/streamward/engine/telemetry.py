"""Spans for OpenTelemetry (extra ``otel``): one per generation, one per model call, one per tool.

Named as the AI SDK names them, with the attributes of the GenAI semantic conventions. Prompts and outputs are recorded
only when asked for. Nothing is imported unless ``telemetry=`` is given.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from streamward.call import Call
from streamward.engine.steps import Step, total_usage
from streamward.errors import InvalidRequest
from streamward.events import Abort, Error, Event, Finish, ToolCall, Usage
from streamward.wire.json_text import encode


class Telemetry:
    """The spans of one generation."""

    def __init__(self, tracer: Any, *, record_content: bool = False, metadata: Mapping[str, Any] | None = None) -> None:
        from opentelemetry import trace

        self.trace = trace
        self.tracer = tracer or trace.get_tracer("streamward")
        self.record_content = record_content
        self.root = self.tracer.start_span("ai.streamText", attributes=dict(metadata or {}))
        self.step: Any = None
        self.began = 0.0

    def step_began(self, number: int, model: str, call: Call) -> None:
        if number == 0:
            self.root.set_attribute("gen_ai.request.model", model)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": model, "streamward.step": number,
        }  # fmt: skip
        for name in ("temperature", "top_p", "max_output_tokens"):
            value = getattr(call, name)
            if value is not None:
                attributes[f"gen_ai.request.{'max_tokens' if name == 'max_output_tokens' else name}"] = value
        if self.record_content:
            attributes["gen_ai.input.messages"] = encode(call.messages).decode()
        self.began = time.monotonic()
        self.step = self.tracer.start_span("ai.streamText.doStream", context=self.inside(), attributes=attributes)

    def step_ended(self, step: Step) -> None:
        span, self.step = self.step, None
        if span is None:
            return
        span.set_attribute("gen_ai.response.model", step.response.model)
        span.set_attribute("gen_ai.response.id", step.response.id)
        span.set_attribute("gen_ai.response.finish_reasons", [step.finish_reason or "unknown"])
        usage_attributes(span, step.usage)
        seconds = time.monotonic() - self.began
        if step.usage is not None and step.usage.output_tokens and seconds > 0:
            span.set_attribute("ai.response.avgOutputTokensPerSecond", step.usage.output_tokens / seconds)
        if self.record_content:
            span.set_attribute("gen_ai.output.text", step.text)
        span.end()

    async def tool(self, call: ToolCall, work: Awaitable[Any]) -> Any:
        """*work* inside a span of its own."""
        context = self.inside()
        with self.tracer.start_as_current_span(
            "ai.toolCall", context=context, attributes={"gen_ai.tool.name": call.name, "gen_ai.tool.call.id": call.id}
        ) as span:
            if self.record_content:
                span.set_attribute("gen_ai.tool.call.arguments", encode(call.input).decode())
            return await work

    def ended(self, terminal: Event, steps: Sequence[Step]) -> None:
        from opentelemetry.trace import Status, StatusCode

        if self.step is not None:
            self.step.end()
            self.step = None
        usage_attributes(self.root, total_usage([step.usage for step in steps]))
        if isinstance(terminal, Finish):
            self.root.set_attribute("gen_ai.response.finish_reasons", [terminal.reason])
        elif isinstance(terminal, Error):
            self.root.set_attribute("error.type", terminal.error.code)
            self.root.set_status(Status(StatusCode.ERROR, terminal.error.code))
        elif isinstance(terminal, Abort):
            self.root.set_attribute("streamward.aborted", True)
        self.root.end()

    def inside(self) -> Any:
        return self.trace.set_span_in_context(self.root)


class Lazy:
    """Telemetry whose spans begin with the generation, not with the call of ``stream_text``."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.made: Telemetry | None = None

    def telemetry(self) -> Telemetry:
        if self.made is None:
            given = dict(self.given) if isinstance(self.given, Mapping) else {}
            tracer = given.pop("tracer", None if self.given is True or given or self.given == {} else self.given)
            self.made = Telemetry(tracer, **given)
        return self.made

    def step_began(self, number: int, model: str, call: Call) -> None:
        self.telemetry().step_began(number, model, call)

    def step_ended(self, step: Step) -> None:
        self.telemetry().step_ended(step)

    async def tool(self, call: ToolCall, work: Awaitable[Any]) -> Any:
        return await self.telemetry().tool(call, work)

    def ended(self, terminal: Event, steps: Sequence[Step]) -> None:
        self.telemetry().ended(terminal, steps)


def usage_attributes(span: Any, usage: Usage | None) -> None:
    if usage is None:
        return
    for name, value in (
        ("gen_ai.usage.input_tokens", usage.input_tokens), ("gen_ai.usage.output_tokens", usage.output_tokens),
        ("gen_ai.usage.cached_input_tokens", usage.cached_input_tokens),
        ("gen_ai.usage.reasoning_tokens", usage.reasoning_tokens),
    ):  # fmt: skip
        if value is not None:
            span.set_attribute(name, value)


def telemetry(given: Any) -> Lazy:
    """``True``, a tracer, or ``{"tracer", "record_content", "metadata"}``.

    Raises:
        InvalidRequest: OpenTelemetry is not installed, or an unknown setting.
    """
    try:
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        raise InvalidRequest("telemetry needs OpenTelemetry: pip install 'streamward[otel]'", param="telemetry") from None
    if isinstance(given, Mapping):
        unknown = set(given) - {"tracer", "record_content", "metadata"}
        if unknown:
            raise InvalidRequest(f"telemetry: unknown settings {', '.join(sorted(unknown))}", param="telemetry")
    return Lazy(given)
