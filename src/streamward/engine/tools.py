"""Tools: what the model may call, from plain functions or given in full.

A tool without a function is the client's: its call goes to the browser and ends the run. Running tools is
``tool_runs``' business.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, overload

from msgspec import Struct

from streamward import call as calls
from streamward.engine.schema import ShapeMismatch, shape_of
from streamward.engine.signature import Signature, type_hints
from streamward.errors import InvalidRequest

Execute: TypeAlias = Callable[..., Any]
NeedsApproval: TypeAlias = bool | Callable[[Any, "ToolContext"], bool | Awaitable[bool]]


class ToolContext:
    """What a tool may want to know about its call: give it a parameter annotated with this class.

    ``cancelled`` is set when the result is of no use any more (the client left, a deadline passed); coroutines are
    cancelled as well, threads have to look.
    """

    def __init__(
        self, tool_call_id: str, tool_name: str, messages: tuple[calls.Message, ...], step: int, context: Any = None,
    ) -> None:  # fmt: skip
        self.tool_call_id = tool_call_id
        self.tool_name = tool_name
        self.messages = messages
        """The conversation that led to the call."""
        self.step = step
        self.context = context
        """What ``stream_text(context=...)`` was given."""
        self.cancelled = threading.Event()


class Tool(Struct, frozen=True, kw_only=True):
    """One tool. Make it with :func:`tool`, from a function or in full."""

    name: str
    description: str = ""
    schema: dict[str, Any]
    execute: Execute | None = None
    """Called with the converted arguments; None: the client runs it."""
    arguments: Callable[[Any], Any]
    """From the model's JSON to what ``execute`` takes: a dictionary of keyword arguments, or one value. Raises
    ShapeMismatch."""
    spread: bool = True
    """The arguments are passed by keyword, not as one value."""
    context_parameter: str | None = None
    needs_approval: NeedsApproval = False
    title: str | None = None
    dynamic: bool = False
    """Its input and output types are not known to the client beforehand."""
    strict: bool | None = None
    provider_options: dict[str, Any] | None = None
    to_model_output: Callable[[Any], Any] | None = None
    """What the model sees of the output, when that is not the output itself."""
    on_input_start: Callable[[ToolContext], Any] | None = None
    on_input_delta: Callable[[str, ToolContext], Any] | None = None
    on_input_available: Callable[[Any, ToolContext], Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, as if it were not decorated."""
        if self.execute is None:
            raise InvalidRequest(f"tool {self.name}: it has no function; its calls are for the client")
        return self.execute(*args, **kwargs)

    def declared(self) -> calls.Tool:
        """As the call to the model lists it."""
        extra = self.provider_options
        return calls.Tool(self.name, self.description or None, self.schema, self.strict, extra)


@overload
def tool(function: Execute, /) -> Tool: ...


@overload
def tool(
    function: None = None, /, *, schema: Any = ..., execute: Execute | None = ..., **options: Any
) -> Any: ...  # fmt: skip


def tool(function: Execute | None = None, /, *, schema: Any = None, execute: Execute | None = None, **options: Any) -> Any:
    """Make a tool.

    ``@tool``, or ``@tool(needs_approval=True)``, on a function: its signature and docstring become the schema.
    ``tool(name=..., schema=Type, execute=...)`` gives one in full: *schema* is a type or a JSON Schema. *execute* gets
    the properties by keyword when its parameters are named after them, else one value of that type. Without *execute*
    the client runs the tool. Other options are the fields of :class:`Tool`: ``name, description, needs_approval, title,
    dynamic, strict, to_model_output, provider_options, on_input_start, on_input_delta, on_input_available``.

    Raises:
        InvalidRequest: an unknown option, a parameter without a JSON form, or no name.
    """
    unknown = set(options) - OPTIONS
    if unknown:
        known = ", ".join(sorted(OPTIONS | {"schema", "execute"}))
        raise InvalidRequest(f"tool: unknown option {min(unknown)!r}; there are: {known}")
    if schema is not None:
        return from_schema(schema, execute or function, options)
    function = function or execute
    if function is not None:
        return from_function(function, options)
    return lambda decorated: from_function(decorated, options)


OPTIONS = frozenset((
    "name", "description", "needs_approval", "title", "dynamic", "strict", "to_model_output", "provider_options",
    "on_input_start", "on_input_delta", "on_input_available",
))  # fmt: skip


def from_function(function: Execute, options: Mapping[str, Any] | None = None) -> Tool:
    given = dict(options or {})
    signature = Signature(function, ToolContext)
    name = given.pop("name", None) or getattr(function, "__name__", "")
    description = given.pop("description", None) or signature.description
    return Tool(
        name=checked_name(name), description=description, schema=signature.schema, execute=function,
        arguments=signature.arguments, context_parameter=signature.context, **given,
    )  # fmt: skip


def from_schema(kind: Any, execute: Execute | None, options: Mapping[str, Any]) -> Tool:
    given = dict(options)
    shape = shape_of(kind)
    names, context = parameters_of(execute) if execute is not None else ([], None)
    properties = shape.schema.get("properties") or {}
    spread = isinstance(kind, dict) and bool(names) and all(name in properties for name in names)
    name = given.pop("name", None) or getattr(execute, "__name__", None)
    return Tool(
        name=checked_name(name), description=given.pop("description", None) or "", schema=shape.schema, execute=execute,
        arguments=shape.convert, spread=spread, context_parameter=context, **given,
    )  # fmt: skip


def parameters_of(execute: Execute) -> tuple[list[str], str | None]:
    """The parameters of *execute*, and the one among them that wants the tool context."""
    hints = type_hints(execute)
    names = list(inspect.signature(execute).parameters)
    context = next((name for name in names if hints.get(name) is ToolContext), None)
    return [name for name in names if name != context], context


def checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name or name == "<lambda>":
        raise InvalidRequest(f"tool: expected a name, got {name!r}; give it one with tool(name=...)")
    return name


ToolsGiven: TypeAlias = Iterable[Tool | Execute] | Mapping[str, Tool | Execute] | None


def toolset(given: ToolsGiven) -> dict[str, Tool]:
    """*given* by name: tools and plain functions, as a list or by the names they shall have.

    Raises:
        InvalidRequest: two of one name, or something that is no tool.
    """
    if given is None:
        return {}
    items: Sequence[tuple[str | None, Any]]
    items = list(given.items()) if isinstance(given, Mapping) else [(None, item) for item in given]
    tools: dict[str, Tool] = {}
    for name, item in items:
        if isinstance(item, Tool):
            made = item
        elif callable(item):
            made = from_function(item)
        else:
            raise InvalidRequest(f"tools: expected tools or functions, got {type(item).__name__}", param="tools")
        if name is not None and name != made.name:
            fields = {field: getattr(made, field) for field in made.__struct_fields__}
            made = Tool(**{**fields, "name": checked_name(name)})
        if made.name in tools:
            raise InvalidRequest(f"tools: there are two named {made.name!r}; rename one", param="tools")
        tools[made.name] = made
    return tools


__all__ = ["ShapeMismatch", "Tool", "ToolContext", "tool", "toolset"]
