"""Gemini decoder: what each chunk becomes, and that nothing a stream does breaks the grammar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamward.events import (
    Error,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
    Vendor,
)
from streamward.reply import collect
from streamward.wire import generate_content
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from support.codec import check_cuts, check_truncations, decode

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.glob("*.sse"))


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.sse").read_bytes()


def stream(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def chunk(*parts: dict[str, Any], finish: str | None = None, **rest: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate | rest], "responseId": "R", "modelVersion": "m"}


def test_thinking_text_and_sources():
    """Thoughts count as output, tool-use prompts as input; usage is the last one stated."""
    events = decode(generate_content, golden("thinking_text"))

    usage = Usage(
        input_tokens=12, output_tokens=21, cached_input_tokens=4, reasoning_tokens=15,
        extra={"generate_content": {"toolUsePromptTokenCount": 3}},
    )  # fmt: skip
    grounding = {
        "groundingChunks": [
            {"web": {"uri": "https://example.org/a", "title": "A"}}, {"web": {"uri": "https://example.org/b"}},
        ],
    }  # fmt: skip
    assert events == [
        Start("R1", "gemini-2.5-flash"),
        UsageUpdate(Usage(input_tokens=9, output_tokens=11, reasoning_tokens=11)),
        ReasoningStart("0"),
        ReasoningDelta("0", "Let me think. "),
        ReasoningDelta("0", "Done."),
        ReasoningEnd("0", "sw1.generate_content.c2ln"),
        TextStart("1"),
        TextDelta("1", "Hello"),
        TextDelta("1", " naïve 🙂"),
        Source("source_1", url="https://example.org/a", title="A", part_id="1"),
        Source("source_2", url="https://example.org/b", part_id="1"),
        TextEnd("1"),
        Finish("stop", usage, extra={"generate_content": {"groundingMetadata": grounding}}),
    ]


def test_calls_with_and_without_ids():
    """Missing ids are made from the response and the place, so they are the same on every run."""
    events = decode(generate_content, golden("calls"))

    assert events[2:] == [
        TextStart("0"),
        TextDelta("0", "I ask."),
        TextEnd("0"),
        ToolInputStart("gcall_R1_0", "weather"),
        ToolInputDelta("gcall_R1_0", '{"city":"Paris é","n":[1,null]}'),
        ToolInputEnd("gcall_R1_0", "sw1.generate_content.Z2Vt"),
        ToolInputStart("own", "now"),
        ToolInputDelta("own", "{}"),
        ToolInputEnd("own"),
        ToolInputStart("gcall_R1_2", "weather"),
        ToolInputDelta("gcall_R1_2", "{}"),
        ToolInputEnd("gcall_R1_2"),
        Finish("tool-calls", Usage(input_tokens=4)),
    ]


def test_partial_arguments():
    """Pieces add up to the JSON they describe; the signature of the first piece ends the call."""
    reply = collect(decode(generate_content, golden("partial_args")))

    (call,) = reply.tool_calls
    assert json.loads(call.input) == {"place": {"city": 'New "York"', "zip": 10001}, "nights": [None, {"ok": True}]}
    assert (call.signature, reply.finish_reason) == ("sw1.generate_content.Z2Vt", "tool-calls")


def test_partial_arguments_that_never_end():
    """Cut by the length limit they stay cut; before a next part, or a proper stop, they are complete."""
    begin = {"functionCall": {"name": "f", "willContinue": True}}
    piece = {
        "functionCall": {"willContinue": True, "partialArgs": [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}]}
    }

    def arguments(*chunks: dict[str, Any]) -> list[str]:
        return [call.input for call in collect(decode(generate_content, stream(*chunks))).tool_calls]

    assert arguments(chunk(begin, piece), chunk(finish="MAX_TOKENS")) == ['{"a":"x']
    assert arguments(chunk(begin, piece)) == ['{"a":"x']
    assert arguments(chunk(begin, piece), chunk({"text": "y"})) == ['{"a":"x"}']
    assert arguments(chunk(begin, piece), chunk(begin, piece, finish="STOP")) == ['{"a":"x"}', '{"a":"x"}']


@pytest.mark.parametrize("case", CASES)
def test_cuts(case: str):
    """Where the network cuts a body changes nothing."""
    check_cuts(generate_content, (GOLDEN / case).read_bytes())


@pytest.mark.parametrize("case", CASES)
def test_truncations(case: str):
    """A body without a finish reason is never a finished one."""
    raw = (GOLDEN / case).read_bytes()
    check_truncations(generate_content, raw, whole_from=len(raw.rstrip(b"\r\n")) + 1)


@pytest.mark.parametrize(
    ("raw", "reason", "word"),
    [
        ("STOP", "stop", None), ("MAX_TOKENS", "length", None), ("SAFETY", "content-filter", None),
        ("RECITATION", "content-filter", "RECITATION"), ("IMAGE_SAFETY", "content-filter", "IMAGE_SAFETY"),
        ("OTHER", "other", None), ("NOVEL", "other", "NOVEL"), ("FINISH_REASON_UNSPECIFIED", "unknown", None),
    ],
)  # fmt: skip
def test_finish_reasons(raw: str, reason: str, word: str | None):
    finish = decode(generate_content, stream(chunk({"text": "a"}, finish=raw)))[-1]

    assert isinstance(finish, Finish)
    assert (finish.reason, finish.raw_reason) == (reason, word)


@pytest.mark.parametrize("raw", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE"])
def test_failed_finishes_are_errors(raw: str):
    error = decode(generate_content, stream(chunk({"text": "a"}, finish=raw)))[-1]

    assert isinstance(error, Error)
    assert raw in error.error.message


def test_blocked_prompt():
    feedback = {"blockReason": "PROHIBITED_CONTENT"}

    finish = decode(generate_content, stream({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 3}}))[-1]

    assert finish == Finish(
        "content-filter", Usage(input_tokens=3), "PROHIBITED_CONTENT", {"generate_content": {"promptFeedback": feedback}}
    )


def test_signatures_on_text():
    """A signature closes its part, also one that comes on an empty part of its own; text after it is a new part."""
    events = decode(
        generate_content,
        stream(chunk({"text": "a", "thoughtSignature": "MQ=="}, {"text": "b"}),
               chunk({"text": "", "thoughtSignature": "Mg=="}),
               chunk({"text": "", "thoughtSignature": "Mw=="}, finish="STOP")),
    )  # fmt: skip

    ends = [(event.id, event.extra) for event in events if isinstance(event, TextEnd)]
    assert ends == [
        (str(number), {"generate_content": {"thoughtSignature": sign}})
        for number, sign in enumerate(["MQ==", "Mg==", "Mw=="])
    ]


def test_files_and_parts_without_a_word():
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    inline = {"inlineData": {"mimeType": "image/png", "data": "aWNv"}, "thoughtSignature": "MQ=="}
    linked = {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x"}}

    events = decode(generate_content, stream(chunk({"text": "a"}, code, inline, linked, finish="STOP")))

    assert [event for event in events if isinstance(event, (Vendor, File))] == [
        Vendor("generate_content", code, "part"),
        File("image/png", data="aWNv", extra={"generate_content": {"thoughtSignature": "MQ=="}}),
        File("video/mp4", url="gs://x"),
    ]


def test_citations_and_repeated_grounding_are_told_once():
    grounding = {"groundingChunks": [{"web": {"uri": "https://a"}}, {"retrievedContext": {"uri": "https://b", "title": "B"}}]}
    cited = {"citationSources": [{"uri": "https://c"}, {"startIndex": 3}]}

    events = decode(
        generate_content,
        stream(chunk({"text": "x"}, groundingMetadata=grounding),
               chunk({"text": "y"}, groundingMetadata=grounding, citationMetadata=cited, finish="STOP")),
    )  # fmt: skip

    assert [event.url for event in events if isinstance(event, Source)] == ["https://a", "https://b", "https://c"]


def test_other_candidates_are_not_mixed_in():
    second = {"candidates": [{"content": {"parts": [{"text": "B"}]}, "index": 1}]}

    raw = stream(chunk({"text": "a"}), second, chunk({"text": "c"}, finish="STOP"))

    assert collect(decode(generate_content, raw)).text == "ac"


@pytest.mark.parametrize(
    "raw", [b"data: {x\n\n", b"data: []\n\n", b"data: {}\n\n", b'data: {"choices":[]}\n\n', b"data: \xff\n\n"]
)
def test_what_is_not_the_dialect(raw: bytes):
    """It ends the stream, whether it comes first or in the middle."""
    for body in (raw, stream(chunk({"text": "a"})) + raw + stream(chunk(finish="STOP"))):
        error = decode(generate_content, body)[-1]

        assert isinstance(error, Error)
        assert error.error.code == "upstream_invalid"


def test_shapes_of_the_wrong_type_are_passed_over():
    odd = [
        {"candidates": None}, {"candidates": [3]}, {"candidates": [{"content": None}]}, chunk({"text": 3}),
        chunk({"functionCall": []}),
        chunk({"functionCall": {"name": 3}}), chunk({"thoughtSignature": 3, "text": "ok"}),
        {"candidates": [], "usageMetadata": 3},
    ]  # fmt: skip

    reply = collect(decode(generate_content, stream(*odd, chunk(finish="STOP"))))

    assert (reply.text, reply.finish_reason) == ("ok", "stop")


def test_error_under_200():
    body = stream(chunk({"text": "a"}), {"error": {"code": 503, "message": "key AIza-secret", "status": "UNAVAILABLE"}})

    error = decode(generate_content, body)[-1]

    assert isinstance(error, Error)
    assert (error.error.code, error.error.status, error.error.safe_to_retry) == ("upstream_error", 502, True)
    assert "secret" not in error.error.message


def test_partial_arguments_that_go_back():
    """Text that is out cannot be changed, so the stream ends."""
    items = [
        {"jsonPath": "$.a.b", "numberValue": 1},
        {"jsonPath": "$.c", "numberValue": 2},
        {"jsonPath": "$.a.d", "numberValue": 3},
    ]

    raw = stream(chunk({"functionCall": {"name": "f", "partialArgs": items, "willContinue": True}}, finish="STOP"))

    assert isinstance(decode(generate_content, raw)[-1], Error)


def test_ends_with_eof():
    raw = stream(chunk({"text": "a"}))

    assert isinstance(decode(generate_content, raw)[-1], Error)
    assert decode(generate_content, raw, Profile(ends_with="eof"))[-1] == Finish("unknown")
    assert isinstance(decode(generate_content, b"", Profile(ends_with="eof"))[-1], Error)


def test_bounds():
    """Too many parts and too long arguments end the stream."""
    flood = stream(chunk(*[{"functionCall": {"name": "f"}}] * (MAX_PARTS + 1), finish="STOP"))
    half = "x" * (MAX_TOOL_INPUT_BYTES // 2 + 1)
    items = [{"jsonPath": "$.a", "stringValue": half, "willContinue": True}]
    piece = {"functionCall": {"partialArgs": items, "willContinue": True}}
    long = stream(
        chunk({"functionCall": {"name": "f", "willContinue": True}}), chunk(piece), chunk(piece), chunk(finish="STOP")
    )

    for raw in (flood, long):
        reads = [raw[at : at + 65536] for at in range(0, len(raw), 65536)]
        error = decode(generate_content, reads, Profile())[-1]
        assert isinstance(error, Error)
        assert error.error.code == "content_too_large"
