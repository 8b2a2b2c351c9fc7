"""A function as a tool: JSON Schema of its arguments from annotations and docstring, and arguments from JSON.

Parameter descriptions come from ``Annotated[..., "text"]`` or ``msgspec.Meta(description=...)``, else from the docstring
in Google, NumPy or Sphinx style.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from streamward.engine.schema import Shape, ShapeMismatch, shape_of
from streamward.errors import InvalidRequest

SECTION = re.compile(r"^(Args|Arguments|Parameters|Params|Returns?|Yields?|Raises|Examples?|Notes?)\s*:?\s*$")
SPHINX = re.compile(r"^:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)$")
GOOGLE = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
NUMPY = re.compile(r"^(\w+)\s*(?::.*)?$")


class Signature:
    """What a function takes. ``context`` names the parameter that wants the tool context, if one does."""

    def __init__(self, function: Callable[..., Any], context_type: type) -> None:
        self.function = function
        self.shapes: dict[str, Shape[Any]] = {}
        self.required: list[str] = []
        self.defaults: dict[str, Any] = {}
        self.context: str | None = None
        self.takes_rest = False
        self.description, documented = parse_docstring(inspect.getdoc(function) or "")
        hints = type_hints(function)
        properties: dict[str, Any] = {}
        definitions: dict[str, Any] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            hint = hints.get(name, parameter.annotation)
            if hint is context_type:
                self.context = name
                continue
            if parameter.kind is parameter.VAR_KEYWORD:
                self.takes_rest = True
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                raise InvalidRequest(
                    f"tool {function.__name__}: parameter {name!r} cannot be passed by name; make it an ordinary one"
                )
            properties[name] = self.add(name, hint, parameter, documented.get(name), definitions)
        self.schema: dict[str, Any] = {"type": "object", "properties": properties}
        if self.required:
            self.schema["required"] = self.required
        self.schema["additionalProperties"] = self.takes_rest
        if definitions:
            self.schema["$defs"] = definitions

    def add(
        self, name: str, hint: Any, parameter: inspect.Parameter, documented: str | None, definitions: dict[str, Any]
    ) -> dict[str, Any]:
        """The property schema of one parameter."""
        hint, described = split_description(hint)
        if hint is parameter.empty:
            hint = Any
        try:
            shape = self.shapes[name] = shape_of(hint)
        except InvalidRequest as exc:
            raise InvalidRequest(f"tool {self.function.__name__}: parameter {name!r}: {exc}") from None
        schema = dict(shape.schema)
        definitions.update(schema.pop("$defs", {}))
        text = described or documented
        if text and "description" not in schema:
            schema["description"] = text
        if parameter.default is parameter.empty:
            self.required.append(name)
        else:
            self.defaults[name] = parameter.default
            try:
                default = msgspec.to_builtins(parameter.default)
            except TypeError:
                return schema  # a default that JSON cannot show
            if default is not None:
                schema["default"] = default
        return schema

    def arguments(self, value: Any) -> dict[str, Any]:
        """Keyword arguments from the model's JSON object.

        Raises:
            ShapeMismatch: naming every parameter that is wrong.
        """
        if not isinstance(value, dict):
            raise ShapeMismatch(f"expected an object of arguments, got {type(value).__name__}")
        found: list[str] = []
        arguments: dict[str, Any] = {}
        for name, item in value.items():
            shape = self.shapes.get(name)
            if shape is None:
                if self.takes_rest:
                    arguments[name] = item
                else:
                    found.append(f"{name}: there is no such parameter")
                continue
            if item is None and name in self.defaults and self.defaults[name] is None:
                arguments[name] = None  # strict schemas make models send null for what they leave out
                continue
            try:
                arguments[name] = shape.convert(item)
            except ShapeMismatch as exc:
                found.append(f"{name}: {exc}")
        found += [f"{name}: required" for name in self.required if name not in value]
        if found:
            raise ShapeMismatch("; ".join(found))
        return arguments


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError:
        pass
    try:
        return get_type_hints(function, localns=names_around(), include_extras=True)
    except NameError as exc:
        raise InvalidRequest(
            f"tool {getattr(function, '__name__', function)!r}: its annotations cannot be resolved ({exc}); "
            "define the types it names at module level"
        ) from None


def names_around() -> dict[str, Any]:
    """The local names where the tool is being made: postponed annotations of nested functions may use them."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("streamward."):
        frame = frame.f_back
    return dict(frame.f_locals)


def split_description(hint: Any) -> tuple[Any, str | None]:
    """``Annotated[T, "text"]`` as T and the text; other metadata stays."""
    if get_origin(hint) is not Annotated:
        return hint, None
    inner, *rest = get_args(hint)
    texts = [item for item in rest if isinstance(item, str)]
    kept = [item for item in rest if not isinstance(item, str)]
    if kept:
        inner = Annotated[(inner, *kept)]
    return inner, texts[0] if texts else None


def parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description and, by parameter, what is said about it."""
    description: list[str] = []
    parameters: dict[str, str] = {}
    lines = text.splitlines()
    section = ""
    current = ""
    indent = 0
    for at, line in enumerate(lines):
        stripped = line.strip()
        underlined = at + 1 < len(lines) and set(lines[at + 1].strip()) == {"-"}
        if (heading := SECTION.match(stripped)) and (stripped.endswith(":") or underlined):
            section, current = heading.group(1), ""
            numpy, indent = underlined, -1
        elif sphinx := SPHINX.match(stripped):
            section, current = ":param", sphinx.group(1)
            parameters[current] = sphinx.group(2)
        elif stripped.startswith((":return", ":raise", ":rtype", ":type")):
            section, current = "other", ""
        elif not section:
            description.append(line)
        elif section in ("Args", "Arguments", "Parameters", "Params") and stripped and set(stripped) != {"-"}:
            depth = len(line) - len(line.lstrip())
            indent = depth if indent < 0 else indent
            entry = (NUMPY if numpy else GOOGLE).match(stripped) if depth <= indent else None
            if entry is not None:
                current = entry.group(1)
                parameters[current] = "" if numpy else entry.group(2)
            elif current:
                parameters[current] = f"{parameters[current]} {stripped}".strip()
        elif section == ":param" and stripped and current:
            parameters[current] = f"{parameters[current]} {stripped}".strip()
    return "\n".join(description).strip(), parameters
