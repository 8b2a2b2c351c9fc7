"""``stream_object`` and ``generate_object``: an answer of a given form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar, overload

from streamward.engine import output as outputs
from streamward.engine.model import Model
from streamward.engine.result import Generated, StreamResult
from streamward.engine.text import stream_text
from streamward.errors import InvalidRequest

T = TypeVar("T")

Form = Literal["object", "array", "choice", "json"]


@overload
def stream_object(model: str | Model, *, schema: type[T], **settings: Any) -> StreamResult[T]: ...


@overload
def stream_object(
    model: str | Model, *, schema: Any = None, output: Form = "object", choices: Sequence[str] | None = None,
    **settings: Any,
) -> StreamResult[Any]: ...  # fmt: skip


def stream_object(
    model: str | Model, *, schema: Any = None, output: Form = "object", choices: Sequence[str] | None = None,
    schema_name: str | None = None, schema_description: str | None = None, **settings: Any,
) -> StreamResult[Any]:  # fmt: skip
    """Stream an answer of the form *schema*: a msgspec Struct, dataclass, TypedDict, pydantic model or JSON Schema.

    ``partial_stream`` gives the object as it grows, ``element_stream`` (``output="array"``: a list of *schema*) each
    finished element, ``await result.object`` the validated value. ``output="choice"`` picks one of *choices*,
    ``output="json"`` takes any JSON. *settings* are those of :func:`stream_text`.

    Raises:
        InvalidRequest: no schema where one is needed, or one without a JSON form.
    """
    spec = specification(schema, output, choices, schema_name, schema_description)
    return stream_text(model, output=spec, **settings)


async def generate_object(model: str | Model, *, schema: Any = None, **settings: Any) -> Generated[Any]:
    """:func:`stream_object`, run to its end; ``.object`` is the validated value.

    Raises:
        NoObject: the answer is not what was asked for.
    """
    async with stream_object(model, schema=schema, **settings) as result:
        generated = await result.generated
        _ = generated.object
        return generated


def specification(
    schema: Any, output: Form, choices: Sequence[str] | None, name: str | None, description: str | None
) -> outputs.OutputSpec[Any]:
    if output == "choice":
        if not choices:
            raise InvalidRequest('output="choice" needs choices, a list of words', param="choices")
        return outputs.choice(choices, name=name, description=description)
    if output == "json":
        return outputs.json(name=name, description=description)
    if output not in ("object", "array"):
        raise InvalidRequest(f'output: expected "object", "array", "choice" or "json", got {output!r}', param="output")
    if schema is None:
        raise InvalidRequest("schema: expected a type or a JSON Schema, got none", param="schema")
    make = outputs.array if output == "array" else outputs.object
    return make(schema, name=name, description=description)
