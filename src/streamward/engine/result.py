"""What ``stream_text`` returns: one generation, many views, nothing sent before one of them is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from msgspec import Struct

from streamward.call import Message
from streamward.engine.generation import Generation
from streamward.engine.plan import Plan
from streamward.engine.run import Run
from streamward.engine.steps import Partial, Response, Step, total_usage
from streamward.engine.views import Cursor, Later, View, ViewIterator, everything
from streamward.events import (
    Event,
    File,
    FinishReason,
    ReasoningDelta,
    Source,
    TextDelta,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolResult,
    Usage,
)  # fmt: skip

if TYPE_CHECKING:
    from streamward.engine.body import RunBody
    from streamward.engine.output import OutputSpec

T = TypeVar("T")


class Generated(Struct, Generic[T], frozen=True):
    """A complete generation. What only the last step has (``text``, ``tool_calls``, ...) is that step's."""

    steps: tuple[Step, ...]
    total_usage: Usage | None
    output: Any = None

    @property
    def last(self) -> Step:
        return self.steps[-1] if self.steps else Step()

    @property
    def text(self) -> str:
        return self.last.text

    @property
    def reasoning(self) -> str:
        return self.last.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.last.tool_calls

    @property
    def tool_results(self) -> tuple[ToolResult | ToolError | ToolDenied, ...]:
        return self.last.tool_results

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.last.finish_reason

    @property
    def usage(self) -> Usage | None:
        """The sum over all steps, as ``total_usage``; a step's own is ``steps[n].usage``."""
        return self.total_usage

    @property
    def response(self) -> Response:
        return self.last.response

    @property
    def messages(self) -> tuple[Message, ...]:
        """What this generation adds to the conversation."""
        return self.last.response.messages

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(source for step in self.steps for source in step.sources)

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(file for step in self.steps for file in step.files)

    @property
    def object(self) -> T:
        """The structured output, validated.

        Raises:
            NoObject: the text is not what was asked for.
        """
        parsed: T = self.output.parse(self.last)
        return parsed


class StreamResult(Generic[T]):
    """A generation. Nothing is sent before the first use; iterate, await, or turn it into a response.

    Iterating over it (or ``full_stream``) gives typed events, ``text_stream`` the text. Every view begins at the
    beginning, whenever it is opened, and the generation advances only while somebody reads. It stops, and the
    connection to the provider is closed, when the last reader leaves before the end, with ``stop()``, at the end of
    ``async with``, and when the result is dropped.

    Awaitables run it to its end. After a failure they raise the typed error; after a stop they give what there was.
    """

    def __init__(self, plan: Plan, output: OutputSpec[T], *, check: Callable[[Event], None] | None = None) -> None:
        self.plan = plan
        self.output = output
        self.run = Run(check)
        self.generation = Generation(plan, self.run)
        self.run.producer = self.generation

    # -- iterating

    def __aiter__(self) -> ViewIterator[Event]:
        return ViewIterator(self.run, everything, raises=False)

    @property
    def full_stream(self) -> View[Event, tuple[Event, ...]]:
        """All events, typed (``streamward.events``). A failure is its last event; it does not raise."""
        return View(self.run, lambda: everything, lambda: tuple(self.run.events), raises=False, keep=self)

    @property
    def text_stream(self) -> View[str, str]:
        """The text as it comes, of all steps. Raises the typed error when the generation fails."""
        return View(self.run, lambda: texts, lambda: "".join(texts(self.run.events)), keep=self)

    @property
    def reasoning_stream(self) -> View[str, str]:
        return View(self.run, lambda: thoughts, lambda: "".join(thoughts(self.run.events)), keep=self)

    @property
    def tool_calls(self) -> View[ToolCall, tuple[ToolCall, ...]]:
        """Iterate for the calls of all steps as they are complete; await for those of the last step."""
        return View(self.run, lambda: picker(ToolCall), lambda: self.last.tool_calls, keep=self)

    @property
    def tool_results(self) -> View[Any, tuple[ToolResult | ToolError | ToolDenied, ...]]:
        """Iterate for results, preliminary ones too, as they come; await for those of the last step."""
        kinds = picker(ToolResult, ToolError, ToolDenied)
        return View(self.run, lambda: kinds, lambda: self.last.tool_results, keep=self)

    @property
    def sources(self) -> View[Source, tuple[Source, ...]]:
        def of_all() -> tuple[Source, ...]:
            return tuple(source for step in self.all_steps() for source in step.sources)

        return View(self.run, lambda: picker(Source), of_all, keep=self)

    @property
    def files(self) -> View[File, tuple[File, ...]]:
        def of_all() -> tuple[File, ...]:
            return tuple(file for step in self.all_steps() for file in step.files)

        return View(self.run, lambda: picker(File), of_all, keep=self)

    @property
    def partial_stream(self) -> View[Any, Any]:
        """The object so far, each time it has grown; never validated before it is complete."""
        return View(self.run, self.output.partials, self.complete, keep=self)

    @property
    def element_stream(self) -> View[Any, Any]:
        """The elements of an array output, each when it is complete and valid."""
        return View(self.run, self.output.elements, self.complete, keep=self)

    # -- awaiting

    @property
    def text(self) -> Later[str]:
        """The text of the last step."""
        return Later(self.run, lambda: self.last.text, self)

    @property
    def reasoning(self) -> Later[str]:
        return Later(self.run, lambda: self.last.reasoning, self)

    @property
    def finish_reason(self) -> Later[FinishReason | None]:
        """Of the last step; ``None`` when it was stopped."""
        return Later(self.run, lambda: self.last.finish_reason, self)

    @property
    def raw_finish_reason(self) -> Later[str | None]:
        return Later(self.run, lambda: self.last.raw_finish_reason, self)

    @property
    def usage(self) -> Later[Usage | None]:
        """The sum over all steps; a number that any provider left unsaid is ``None``. A step's own: ``steps[n].usage``."""
        return Later(self.run, lambda: total_usage([step.usage for step in self.all_steps()]), self)

    @property
    def total_usage(self) -> Later[Usage | None]:
        """``usage`` under the name that AI SDK 5 gave the sum."""
        return self.usage

    @property
    def steps(self) -> Later[tuple[Step, ...]]:
        return Later(self.run, self.all_steps, self)

    @property
    def response(self) -> Later[Response]:
        """The provider's last answer; ``messages`` are all that were produced, to continue with."""
        return Later(self.run, lambda: self.last.response, self)

    @property
    def messages(self) -> Later[tuple[Message, ...]]:
        """The messages that this generation adds to the conversation."""
        return Later(self.run, lambda: self.last.response.messages, self)

    @property
    def object(self) -> Later[T]:
        """The structured output, validated.

        Raises (when awaited):
            NoObject: the text is not what was asked for; it carries the text and what was wrong.
        """
        return Later(self.run, self.complete, self)

    @property
    def generated(self) -> Later[Generated[T]]:
        """All of it as one value, as ``generate_text`` returns."""

        def whole() -> Generated[T]:
            steps = self.all_steps()
            return Generated(steps, total_usage([step.usage for step in steps]), self.output)

        return Later(self.run, whole, self)

    def complete(self) -> T:
        return self.output.parse(self.last)

    # -- running and stopping

    async def consume(self) -> None:
        """Run it to its end with nobody reading; what goes wrong is for ``on_error``."""
        cursor = Cursor(self.run)
        while await cursor.batch():
            pass

    def stop(self, reason: str = "stopped") -> None:
        """Stop now: the connection to the provider is closed before this returns. Does nothing after the end."""
        self.run.stop(reason)

    async def aclose(self) -> None:
        self.run.stop("closed")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run.stop("left")

    def __del__(self) -> None:
        run = getattr(self, "run", None)
        if run is not None:
            run.dropped()

    @property
    def aborted(self) -> bool:
        """It was stopped before its end."""
        return self.run.aborted

    @property
    def partial(self) -> Partial:
        """What there is now, without waiting."""
        return self.generation.partial()

    @property
    def last(self) -> Step:
        steps = self.all_steps()
        return steps[-1] if steps else Step()

    def all_steps(self) -> tuple[Step, ...]:
        """The finished steps and, when it did not end well, what there is of the one that was cut."""
        return self.generation.partial().steps

    # -- responses: see respond

    def to_text_stream(self) -> RunBody:
        """The body of :meth:`to_text_stream_response` as an asynchronous iterator of bytes.

        As with its two siblings: leaving the loop stops the generation, and one that did not finish raises
        ConnectionAbortedError at the end where the dialect cannot say so itself.
        """
        from streamward.engine.respond import text_body

        return text_body(self)

    def to_data_stream(self, **options: Any) -> RunBody:
        """The lines of :meth:`to_data_stream_response` as an asynchronous iterator of bytes."""
        from streamward.engine.respond import data_stream_body

        return data_stream_body(self, **options)

    def to_ui_message_stream(self, **options: Any) -> RunBody:
        """The frames of :meth:`to_ui_message_stream_response` as an asynchronous iterator of bytes."""
        from streamward.engine.respond import ui_message_body

        return ui_message_body(self, **options)

    def to_text_stream_response(self, **options: Any) -> Any:
        """The text as it comes, as a response for any ASGI framework. See :func:`streamward.engine.respond.text_response`."""
        from streamward.engine.respond import text_response

        return text_response(self, **options)

    def to_data_stream_response(self, **options: Any) -> Any:
        """For ``useChat`` of AI SDK 3 and 4. See :func:`streamward.engine.respond.data_stream_response`."""
        from streamward.engine.respond import data_stream_response

        return data_stream_response(self, **options)

    def to_ui_message_stream_response(self, **options: Any) -> Any:
        """For ``useChat`` of AI SDK 5, 6 and 7. See :func:`streamward.engine.respond.ui_message_stream_response`."""
        from streamward.engine.respond import ui_message_stream_response

        return ui_message_stream_response(self, **options)


def texts(events: Sequence[Event]) -> list[str]:
    return [event.delta for event in events if type(event) is TextDelta]


def thoughts(events: Sequence[Event]) -> list[str]:
    return [event.delta for event in events if type(event) is ReasoningDelta]


def picker(*kinds: type[Any]) -> Callable[[Sequence[Event]], list[Any]]:
    def pick(events: Sequence[Event]) -> list[Any]:
        return [event for event in events if type(event) in kinds]

    return pick


