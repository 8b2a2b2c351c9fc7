"""Structured output: what is asked of the model, the object while it arrives, and the validated value at the end.

Partial objects are never validated: fields are missing, strings are cut. Parsing is linear; what a reader was given is
never changed under its hands, as only the containers on the way to the open place are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from streamward import call as calls
from streamward.engine.schema import Shape, ShapeMismatch, shape_of
from streamward.engine.steps import Step
from streamward.errors import InvalidRequest, StreamwardError
from streamward.events import Event, StepStart, TextDelta
from streamward.wire.partial_json import PartialJson

T = TypeVar("T")
Pick = Callable[[Sequence[Event]], list[Any]]

UNSET = object()


class NoObject(StreamwardError):
    """The model's answer is not the object that was asked for. ``text`` is the answer."""

    code, status, fault, safe_to_retry = "no_object", 502, "upstream", True

    def __init__(self, message: str, *, text: str = "", step: Step | None = None) -> None:
        super().__init__(message)
        self.text = text
        self.step = step


class OutputSpec(Generic[T]):
    """The form of the answer. The base class is plain text."""

    def declared(self) -> calls.Output | None:
        """As the call asks for it."""
        return None

    def partials(self) -> Pick:
        raise InvalidRequest("this generation has no output=, so there is no object to look at; use text_stream")

    def elements(self) -> Pick:
        raise InvalidRequest("element_stream needs an array output: output=array(Type)")

    def parse(self, step: Step) -> T:
        raise InvalidRequest("this generation has no output=, so there is no object; await text")


class ObjectOutput(OutputSpec[T]):
    """One object (or any other JSON value) of a type."""

    def __init__(self, shape: Shape[T], *, name: str | None = None, description: str | None = None) -> None:
        self.shape = shape
        self.name = name
        self.description = description

    def declared(self) -> calls.Output:
        name = "".join(char if char.isalnum() or char in "_-" else "_" for char in self.name or self.shape.name)
        return calls.Output("json-schema", name, self.schema(), None, self.description)

    def schema(self) -> dict[str, Any]:
        return self.shape.schema

    def partials(self) -> Pick:
        return Growing(self.shown).pick

    def shown(self, value: Any) -> Any:
        """What readers see of the JSON value so far; UNSET for nothing yet."""
        return value

    def parse(self, step: Step) -> T:
        return self.convert(self.value(step), step)

    def value(self, step: Step) -> Any:
        """The JSON value that the step's text is."""
        text = step.text
        parser = PartialJson()
        parser.feed(unfenced(text))
        if parser.state != "successful-parse":
            why = "was stopped" if step.finish_reason is None else f"finished with {step.finish_reason}"
            raise NoObject(f"the answer is not complete JSON (the model {why})", text=text, step=step)
        return parser.value

    def convert(self, value: Any, step: Step) -> T:
        try:
            return self.shape.convert(value)
        except ShapeMismatch as exc:
            raise NoObject(f"the answer is not a valid {self.shape.name}: {exc}", text=step.text, step=step) from exc


class Wrapped(ObjectOutput[T]):
    """A value that providers want wrapped into an object, under one key."""

    key = "value"

    def schema(self) -> dict[str, Any]:
        inner = dict(self.shape.schema)
        definitions = inner.pop("$defs", None)
        schema: dict[str, Any] = {
            "type": "object", "properties": {self.key: self.inner(inner)}, "required": [self.key],
            "additionalProperties": False,
        }  # fmt: skip
        return {**schema, "$defs": definitions} if definitions else schema

    def inner(self, schema: dict[str, Any]) -> dict[str, Any]:
        return schema

    def shown(self, value: Any) -> Any:
        return value.get(self.key, UNSET) if isinstance(value, dict) else UNSET

    def parse(self, step: Step) -> T:
        value = self.value(step)
        if not isinstance(value, dict) or self.key not in value:
            raise NoObject(f"the answer has no {self.key!r}", text=step.text, step=step)
        return self.convert(value[self.key], step)


class ArrayOutput(Wrapped[Any]):
    """A list of elements of a type."""

    key = "elements"

    def inner(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": schema}

    def elements(self) -> Pick:
        return Elements(self).pick

    def shown(self, value: Any) -> Any:
        found = super().shown(value)
        return found if isinstance(found, list) else UNSET

    def convert(self, value: Any, step: Step) -> Any:
        if not isinstance(value, list):
            raise NoObject("the answer's elements are not a list", text=step.text, step=step)
        return [super(ArrayOutput, self).convert(item, step) for item in value]


class ChoiceOutput(Wrapped[str]):
    """One of a few words."""

    key = "result"

    def __init__(self, options: Sequence[str], *, name: str | None = None, description: str | None = None) -> None:
        self.options = list(options)
        shape = shape_of({"type": "string", "enum": self.options, "title": "choice"})
        super().__init__(shape, name=name, description=description)

    def shown(self, value: Any) -> Any:
        """The option, once what has come can only be that one."""
        found = super().shown(value)
        if not isinstance(found, str):
            return UNSET
        possible = [option for option in self.options if option.startswith(found)]
        return possible[0] if len(possible) == 1 else UNSET


class AnyJson(ObjectOutput[Any]):
    """JSON without a schema."""

    def declared(self) -> calls.Output:
        return calls.Output("json")


class Growing:
    """The values of one reader's ``partial_stream``: one per batch in which the value changed."""

    def __init__(self, shown: Callable[[Any], Any]) -> None:
        self.shown = shown
        self.parser = PartialJson()
        self.last: Any = UNSET

    def pick(self, events: Sequence[Event]) -> list[Any]:
        found = []
        for event in events:
            if type(event) is TextDelta:
                self.parser.feed(event.delta)
                value = self.current()
                if value is not UNSET and (self.last is UNSET or value != self.last):
                    self.last = value
                    found.append(value)
            elif type(event) is StepStart:
                self.parser, self.last = PartialJson(), UNSET
        return found

    def current(self) -> Any:
        if self.parser.state not in ("successful-parse", "repaired-parse"):
            return UNSET
        return self.shown(snapshot(self.parser.value, self.parser.open_path))


class Elements:
    """The elements of one reader's ``element_stream``."""

    def __init__(self, output: ArrayOutput) -> None:
        self.output = output
        self.parser = PartialJson()
        self.given = 0

    def pick(self, events: Sequence[Event]) -> list[Any]:
        found: list[Any] = []
        for event in events:
            if type(event) is TextDelta:
                self.parser.feed(event.delta)
                found += self.complete()
            elif type(event) is StepStart:
                self.parser, self.given = PartialJson(), 0
        return found

    def complete(self) -> list[Any]:
        value = self.parser.value
        elements = value.get(self.output.key) if isinstance(value, dict) else None
        if not isinstance(elements, list):
            return []
        path = self.parser.open_path
        closed = len(elements)
        if len(path) >= 2 and path[0] == self.output.key and isinstance(path[1], int):
            closed = min(closed, path[1])
        fresh, self.given = elements[self.given : closed], max(self.given, closed)
        try:
            return [self.output.shape.convert(item) for item in fresh]
        except ShapeMismatch as exc:
            raise NoObject(f"an element is not a valid {self.output.shape.name}: {exc}") from exc


def snapshot(value: Any, path: Sequence[str | int]) -> Any:
    """*value* as it is now: containers that may still grow lie along *path* and are copied, all others are shared."""
    if not isinstance(value, (dict, list)):
        return value
    root = here = value.copy()
    for key in path:
        try:
            inner = here[key]  # type: ignore[index]  # a key for a dictionary, an index for a list
        except (KeyError, IndexError):
            break
        if not isinstance(inner, (dict, list)):
            break
        here[key] = inner = inner.copy()  # type: ignore[index]
        here = inner
    return root


def unfenced(text: str) -> str:
    """The text without a Markdown fence around it, which models without a JSON mode like to add."""
    stripped = text.strip()
    if not stripped.startswith("```") or not stripped.endswith("```") or len(stripped) < 6:
        return text
    head, _, rest = stripped[3:-3].partition("\n")
    return rest if head.strip().isalnum() or not head.strip() else text


def object(kind: Any, *, name: str | None = None, description: str | None = None) -> ObjectOutput[Any]:  # noqa: A001
    """Output of a type: a msgspec Struct, dataclass, TypedDict, pydantic model or JSON Schema."""
    shape = shape_of(kind)
    if shape.schema.get("type") != "object" and "properties" not in shape.schema and "$ref" not in shape.schema:
        return Wrapped(shape, name=name, description=description)
    return ObjectOutput(shape, name=name, description=description)


def array(kind: Any, *, name: str | None = None, description: str | None = None) -> ArrayOutput:
    """A list of elements of *kind*."""
    return ArrayOutput(shape_of(kind), name=name, description=description)


def choice(options: Sequence[str], *, name: str | None = None, description: str | None = None) -> ChoiceOutput:
    """One of *options*."""
    return ChoiceOutput(options, name=name, description=description)


def json(*, name: str | None = None, description: str | None = None) -> AnyJson:
    """Any JSON value."""
    return AnyJson(shape_of({}), name=name, description=description)


def output_of(value: Any) -> OutputSpec[Any]:
    """What ``output=`` was given: a specification, a type, or nothing (text)."""
    if value is None:
        return OutputSpec()
    return value if isinstance(value, OutputSpec) else object(value)


