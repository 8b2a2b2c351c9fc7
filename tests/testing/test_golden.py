"""``python -m streamward.testing.golden`` on the repository's own captures of the real packages."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from streamward.testing.golden import answer
from support.aisdk_captures import document, streams
from support.aisdk_script import opaque_ids


@pytest.mark.parametrize(("version", "capture"), [*streams((4, 5, 6, 7), "data"), *streams((4, 5, 6, 7), "text")])
async def test_a_captured_stream_is_reproduced(version: int, capture: dict[str, Any]):
    request = {
        "id": 1, "op": "wire", "v": version, "kind": capture["kind"], "script": capture["script"],
        "options": capture.get("options") or {},
    }  # fmt: skip
    reply = await answer(json.dumps(request))

    assert opaque_ids(reply["wire"]) == opaque_ids(capture["wire"])
    assert reply["status"] == 200


async def test_every_request_has_its_reply():
    for line, expected in (
        ("nonsense", {"id": None, "error": None}),
        ('{"id": 7, "op": "unknown"}', {"id": 7, "unsupported": True}),
        ('{"id": 8, "op": "wire"}', {"id": 8, "error": None}),
        ('{"id": 9, "op": "partial_json", "text": "[tr"}', {"id": 9, "value": [True], "state": "repaired-parse"}),
        ('{"id": 10, "op": "parse_part", "v": 4, "line": "0:\\"x\\""}', {"id": 10, "part": {"type": "text", "value": "x"}}),
    ):
        reply = await answer(line)
        if "error" in expected:
            assert reply.pop("error")
            expected = {"id": expected["id"]}
        assert reply == expected


async def test_tables_are_answered():
    tables = document("tables")
    assert tables
    for case in tables.get("partial_json", []):
        reply = await answer(json.dumps({"id": 1, "op": "partial_json", "text": case["text"]}))
        assert reply["state"] == case["state"], case


def test_it_speaks_lines_over_standard_streams():
    script = [[{"t": "text", "d": ["é\u2028"]}, {"t": "finish", "r": "stop", "u": None}]]
    request = {"id": "a", "op": "wire", "v": 6, "kind": "text", "script": script}
    done = subprocess.run(
        [sys.executable, "-m", "streamward.testing.golden"], input=json.dumps(request) + "\n\n", capture_output=True,
        text=True, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip

    (line,) = done.stdout.strip().split("\n")
    assert (json.loads(line)["id"], json.loads(line)["wire"]) == ("a", "é\u2028")


def test_lines_that_are_no_text_have_replies_too():
    """Bytes that are not UTF-8, and halves of surrogate pairs on the way out, end nothing."""
    half = {"id": 1, "op": "convert", "v": 6, "messages": [{"role": "user", "parts": [{"type": "text", "text": "\ud83d"}]}]}
    lines = b"\xff\xfe\n" + json.dumps(half).encode() + b'\n{"id": 2, "op": "partial_json", "text": "{"}'
    done = subprocess.run(
        [sys.executable, "-m", "streamward.testing.golden"], input=lines, capture_output=True, timeout=60, check=True
    )

    first, second, third = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["id"], "error" in first) == (None, True)
    assert second == {"id": 1, "openai_messages": [{"role": "user", "content": "\ud83d"}]}
    assert third == {"id": 2, "value": {}, "state": "repaired-parse"}


async def test_halves_of_surrogate_pairs_are_read_in_every_generation():
    """JavaScript writes half an emoji as an escape, and reads it back."""
    for version, wire in (
        (4, '0:"a\\ud83d"\n0:"b"\n'),
        (6, 'data: {"type":"text-start","id":"t"}\n\ndata: {"type":"text-delta","id":"t","delta":"a\\ud83d"}\n\n'
            'data: {"type":"text-delta","id":"t","delta":"b"}\n\ndata: [DONE]\n\n'),
    ):  # fmt: skip
        reply = await answer(json.dumps({"id": 1, "op": "read", "v": version, "wire": wire}))

        assert reply["stream_error"] is None
        assert [part["text"] for part in reply["message"]["parts"]] == ["a\ufffdb"]
