"""Reading the fields of a JSON object one by one, with errors that name the field.

Every read marks its field as known; ``rest()`` is what nobody asked for: fields of the dialect that the waist has no
word for. ``null`` counts as absent. Pure.
"""

from __future__ import annotations

from typing import Any

from streamward.errors import InvalidRequest
from streamward.wire.json_text import json_type


class Fields:
    """One object of a request body and its *path* in it (empty for the body itself)."""

    def __init__(self, value: Any, path: str = "") -> None:
        if type(value) is not dict:
            raise InvalidRequest(f"{path or 'the body'} must be an object, not {json_type(value)}", param=path or None)
        self.value: dict[str, Any] = value
        self.path = path
        self.known: set[str] = set()

    def at(self, name: str) -> str:
        """Path of field *name*."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> Any:
        self.known.add(name)
        return self.value.get(name)

    def missing(self, name: str) -> InvalidRequest:
        return InvalidRequest(f"{self.at(name)} is required", param=self.at(name))

    def wrong(self, name: str, expected: str) -> InvalidRequest:
        return InvalidRequest(
            f"{self.at(name)} must be {expected}, not {json_type(self.value.get(name))}", param=self.at(name)
        )

    def text(self, name: str) -> str | None:
        value = self.raw(name)
        if value is not None and type(value) is not str:
            raise self.wrong(name, "a string")
        return value

    def need_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise self.missing(name)
        return value

    def integer(self, name: str, low: int | None = None) -> int | None:
        value = self.raw(name)
        if type(value) is float and value.is_integer():
            value = int(value)
        if value is not None and type(value) is not int:
            raise self.wrong(name, "an integer")
        if value is not None and low is not None and value < low:
            raise InvalidRequest(f"{self.at(name)} must be at least {low}, not {value}", param=self.at(name))
        return value

    def number(self, name: str, low: float | None = None, high: float | None = None) -> float | None:
        value = self.raw(name)
        if value is None:
            return None
        if type(value) not in (int, float):
            raise self.wrong(name, "a number")
        if (low is not None and value < low) or (high is not None and value > high):
            raise InvalidRequest(f"{self.at(name)} must be from {low} to {high}, not {value}", param=self.at(name))
        return float(value)

    def flag(self, name: str) -> bool | None:
        value = self.raw(name)
        if value is not None and type(value) is not bool:
            raise self.wrong(name, "a boolean")
        return value

    def array(self, name: str) -> list[Any] | None:
        value = self.raw(name)
        if value is not None and type(value) is not list:
            raise self.wrong(name, "an array")
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        values = self.array(name) or []
        for index, value in enumerate(values):
            if type(value) is not str:
                path = f"{self.at(name)}[{index}]"
                raise InvalidRequest(f"{path} must be a string, not {json_type(value)}", param=path)
        return tuple(values)

    def mapping(self, name: str) -> dict[str, Any] | None:
        value = self.raw(name)
        if value is not None and type(value) is not dict:
            raise self.wrong(name, "an object")
        return value

    def object(self, name: str) -> Fields | None:
        value = self.mapping(name)
        return None if value is None else Fields(value, self.at(name))

    def objects(self, name: str, most: int | None = None) -> list[Fields]:
        """An array of objects, each with its path; at most *most*."""
        given = self.array(name) or []
        if most is not None and len(given) > most:
            raise InvalidRequest(f"{self.at(name)!r} holds {len(given)} entries; at most {most} are taken", param=self.at(name))
        return [Fields(value, f"{self.at(name)}[{index}]") for index, value in enumerate(given)]

    def rest(self) -> dict[str, Any]:
        """Fields that were not read and are not null."""
        return {name: value for name, value in self.value.items() if name not in self.known and value is not None}
