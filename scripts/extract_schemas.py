"""Extract the JSON Schemas of Responses streams from two OpenAPI files, for the tests.

    python scripts/extract_schemas.py OPEN_RESPONSES.json OPENAI.json tests/fixtures/specs

Keeps the schemas that the stream events and the response object reach, without prose, and turns OpenAPI 3.0
``nullable`` into JSON Schema. Where the files come from stands in ``tests/fixtures/specs/README.md``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

REF = "#/components/schemas/"
DROPPED = {"description", "title", "discriminator", "example", "examples", "deprecated", "default", "format"}


def clean(value: Any, *, names: bool = False) -> Any:
    """*value* without prose; *names*: its keys are property names, so none of them is prose."""
    if isinstance(value, list):
        return [clean(item) for item in value]
    if not isinstance(value, dict):
        return value.replace(REF, "#/$defs/") if isinstance(value, str) else value
    out = {
        key: clean(item, names=key == "properties")
        for key, item in value.items()
        if names or (key not in DROPPED and not key.startswith("x-") and key != "nullable")
    }
    if not names and value.get("nullable") is True:
        return {"anyOf": [out, {"type": "null"}]}
    return out


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"].removeprefix("#/$defs/")} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    return set()


def extract(source: Path, response: str) -> dict[str, Any]:
    spec = json.loads(source.read_text())
    schemas = spec["components"]["schemas"]
    content = spec["paths"]["/responses"]["post"]["responses"]["200"]["content"]
    stream = clean(content["text/event-stream"]["schema"])
    if list(stream) == ["$ref"]:
        stream = clean(schemas[stream["$ref"].removeprefix("#/$defs/")])
    events = stream.get("oneOf") or stream["anyOf"]
    kinds: dict[str, str] = {}
    defs: dict[str, Any] = {}
    waiting = {response} | references(events)
    while waiting:
        name = waiting.pop()
        defs[name] = clean(schemas[name])
        waiting |= references(defs[name]) - defs.keys()
    for name in references(events):
        for kind in defs[name]["properties"]["type"]["enum"]:
            kinds[kind] = name
    return {"response": response, "events": dict(sorted(kinds.items())), "$defs": dict(sorted(defs.items()))}


def main() -> None:
    open_responses, openai, folder = (Path(argument) for argument in sys.argv[1:4])
    for source, response, name in (
        (open_responses, "ResponseResource", "open_responses.json"),
        (openai, "Response", "openai_responses.json"),
    ):
        text = json.dumps(extract(source, response), separators=(",", ":"), ensure_ascii=False)
        (folder / name).write_text(text + "\n")


if __name__ == "__main__":
    main()
