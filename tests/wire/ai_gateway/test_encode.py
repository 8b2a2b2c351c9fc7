"""Stream parts and whole answers of the AI SDK's gateway protocol, in the three specification versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matrix.render import PAIRS, events_of, understood, upstream_file
from matrix.upstreams import Meaning
from streamward.errors import ErrorInfo
from streamward.events import Error, File, Finish, ReasoningEnd, ReasoningStart, Source, Start, ToolInputEnd, Usage
from streamward.reply import collect
from streamward.wire.ai_gateway import VERSIONS, Encoder, render_error, render_reply
from streamward.wire.dialect import Context, frames_of

USAGE = Usage(input_tokens=12, output_tokens=7, cached_input_tokens=4, reasoning_tokens=2)


def context(version: int = 4) -> Context:
    return Context(id="7", model="acme/large", created=1_760_000_000, options={"version": version})


def parts(events: list[Any], version: int = 4) -> list[dict[str, Any]]:
    raw = frames_of(Encoder(context(version)), events)
    assert raw.endswith(b"\n\n") or not raw
    return [json.loads(frame.removeprefix(b"data: ")) for frame in raw.split(b"\n\n") if frame]


def meaning(shown: list[dict[str, Any]]) -> Meaning:
    """What the AI SDK makes of stream parts."""
    finish = next((part for part in shown if part["type"] == "finish"), None)
    usage = finish["usage"] if finish is not None else {}
    known = "total" in usage.get("inputTokens", {})
    return Meaning(
        reasoning="".join(part["delta"] for part in shown if part["type"] == "reasoning-delta"),
        text="".join(part["delta"] for part in shown if part["type"] == "text-delta"),
        tools=tuple((p["toolCallId"], p["toolName"], p["input"]) for p in shown if p["type"] == "tool-call"),
        finish=finish["finishReason"]["unified"] if finish is not None else None,
        usage=(usage["inputTokens"]["total"], usage["outputTokens"]["total"]) if known else None,
        error=next((part["error"]["code"] for part in shown if part["type"] == "error"), None),
    )  # fmt: skip


@pytest.mark.parametrize(("upstream", "case"), PAIRS)
def test_every_upstream_case_means_the_same(upstream: str, case: str):
    """Refusals are text here; a call whose arguments broke off is never announced."""
    said = understood(upstream, case)
    shown = parts(events_of(upstream, [upstream_file(upstream, case).read_bytes()]))
    tools = () if said.error else said.tools
    usage = None if said.error else said.usage

    assert meaning(shown) == Meaning(
        reasoning=said.reasoning,
        text=said.text + said.refusal,
        tools=tools,
        finish=said.finish,
        usage=usage,
        error=said.error,
    )
    assert [part["type"] for part in shown[:2]] == ["stream-start", "response-metadata"]
    assert shown[1]["timestamp"].endswith("Z")
    assert {"finish", "error"} & {part["type"] for part in shown} == {shown[-1]["type"]}


@pytest.mark.parametrize(("upstream", "case"), PAIRS)
def test_a_whole_answer_is_the_stream_collected(upstream: str, case: str):
    said = understood(upstream, case)
    if said.error is not None:
        return
    reply = render_reply(collect(events_of(upstream, [upstream_file(upstream, case).read_bytes()])), context())
    content = reply["content"]

    assert "".join(part["text"] for part in content if part["type"] == "text") == said.text + said.refusal
    assert "".join(part["text"] for part in content if part["type"] == "reasoning") == said.reasoning
    assert [(p["toolCallId"], p["toolName"], p["input"]) for p in content if p["type"] == "tool-call"] == list(said.tools)
    assert reply["finishReason"]["unified"] == said.finish


def test_usage_and_finish_reason_by_version():
    last = {version: parts([Start(), Finish("stop", USAGE, "end_turn")], version)[-1] for version in VERSIONS}

    assert last[2]["finishReason"] == "stop"
    assert last[2]["usage"] == {
        "inputTokens": 12, "outputTokens": 7, "totalTokens": 19, "reasoningTokens": 2, "cachedInputTokens": 4,
    }  # fmt: skip
    assert last[3] == last[4]
    assert last[4]["finishReason"] == {"unified": "stop", "raw": "end_turn"}
    assert last[4]["usage"] == {
        "inputTokens": {"total": 12, "noCache": 8, "cacheRead": 4}, "outputTokens": {"total": 7, "text": 5, "reasoning": 2},
    }  # fmt: skip


def test_files_by_version():
    event = File("image/png", data="AAAA")
    shown = {version: parts([Start(), event], version)[-1]["data"] for version in VERSIONS}

    assert shown == {2: "AAAA", 3: "AAAA", 4: {"type": "data", "data": "AAAA"}}
    assert parts([Start(), File("image/png", url="https://x.test/a")])[-1]["data"] == {
        "type": "url",
        "url": "https://x.test/a",
    }


def test_sources_and_signatures():
    shown = parts(
        [Start(), ReasoningStart("r"), ReasoningEnd("r", "c2ln"), Source("s", url="https://a.test", title="A"),
         Source("d", "document", filename="a.pdf", media_type="application/pdf")]
    )  # fmt: skip

    assert shown[3]["providerMetadata"] == {"streamward": {"signature": "c2ln"}}
    assert shown[4] == {"type": "source", "sourceType": "url", "id": "s", "url": "https://a.test", "title": "A"}
    assert (shown[5]["sourceType"], shown[5]["title"]) == ("document", "a.pdf")


def test_an_end_nobody_began_is_no_call():
    assert [part["type"] for part in parts([Start(), ToolInputEnd("x")])][2:] == ["tool-input-end"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", "invalid_request_error"), (401, "invalid_api_key", "authentication_error"),
        (403, "permission_denied", "forbidden"), (404, "model_not_found", "model_not_found"),
        (429, "rate_limit_exceeded", "rate_limit_exceeded"), (502, "upstream_error", "internal_server_error"),
    ],
)  # fmt: skip
def test_errors_have_the_clients_types(status: int, code: str, kind: str):
    info = ErrorInfo(code, "what to do", status)

    assert render_error(info)["error"] == {"message": "what to do", "type": kind, "param": None, "code": code}
    assert parts([Start(), Error(info)])[-1]["error"]["type"] == kind
