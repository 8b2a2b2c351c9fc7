"""Conversions agree with what the real packages' conversion functions gave."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from streamward.call import Image, Message, Part, Reasoning, Text, ToolOutput, ToolUse
from streamward.errors import InvalidRequest
from streamward.wire.ui_request import convert_messages, parse_request
from support.aisdk_captures import conversions, hook_requests

CASES = [
    pytest.param(version, case, id=f"v{version}-{case['name']}") for version in (4, 5, 6, 7) for case in conversions(version)
]


@pytest.mark.parametrize(("version", "case"), CASES)
def test_a_conversion_agrees_with_the_ai_sdk(version: Any, case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(InvalidRequest) as caught:
            convert_messages(case["messages"], version=version)
        # JavaScript's words end with the call as JSON, in the order of the posted fields: so do ours.
        assert str(caught.value) == case["error"]
        return

    # System messages and open calls are refused a step later by 7 and 6: allow them here, as the conversion does.
    system = version == 7 and any(message["role"] == "system" for message in case["messages"])
    converted = convert_messages(case["messages"], version=6 if system else version, open_calls="keep")

    assert converted.messages == expected(case["model_messages"], version)


@pytest.mark.parametrize("version", [5, 6, 7])
def test_what_the_chat_transport_posts_is_understood(version: int) -> None:
    first, answered, again, resume = hook_requests(version)

    requests = [parse_request(call["body"]) for call in (first, answered, again)]

    assert [r.trigger for r in requests] == ["submit-message", "submit-message", "regenerate-message"]
    assert [(r.generation, r.chat_id, r.body) for r in requests] == [(5, "chat 1", {"extra": 1})] * 3
    assert [(r.message_id, r.continues) for r in requests] == [(None, None), ("a", "a"), ("a", None)]
    assert [m.role for m in convert_messages(list(requests[1].messages)).messages] == ["user", "assistant", "tool"]
    assert (resume["method"], resume["path"]) == ("GET", "/api/chat/chat%20r%2F1/stream")


def expected(model_messages: list[dict[str, Any]], version: int) -> tuple[Message, ...]:
    """Model messages of the AI SDK as canonical messages."""
    out = []
    for message in model_messages:
        content = message["content"]
        parts = (
            [Text(content)]
            if isinstance(content, str)
            else [part(item, version) for item in content if not item["type"].startswith("tool-approval")]
        )
        if parts:
            out.append(Message(message["role"], tuple(parts)))
    return tuple(out)


def part(item: dict[str, Any], version: int) -> Part:
    kind = item["type"]
    if kind == "text":
        return Text(item["text"])
    if kind == "reasoning":
        signature = item.get("signature") or item.get("providerOptions", {}).get("mock", {}).get("signature")
        return Reasoning(item["text"], signature)
    if kind == "redacted-reasoning":
        return Reasoning(redacted=item["data"])
    if kind == "tool-call":
        return ToolUse(item["toolCallId"], item["toolName"], text(item["args" if version == 4 else "input"]))
    if kind == "tool-result":
        return tool_result(item, version)
    return image(item)


def tool_result(item: dict[str, Any], version: int) -> ToolOutput:
    call = (item["toolCallId"], item["toolName"])
    if version == 4:
        return ToolOutput(call[0], text(item["result"]), call[1])
    output = item["output"]
    value = output["value"] if output["type"] in ("text", "error-text") else text(output["value"])
    return ToolOutput(call[0], value, call[1], is_error=output["type"].startswith("error"))


def image(item: dict[str, Any]) -> Image:
    data = item.get("image", item.get("data"))
    if isinstance(data, dict) and "$base64" in data:
        # Version 4 hands bytes on without their media type; the picture of the captures is a GIF.
        assert base64.b64decode(data["$base64"]).startswith(b"GIF8")
        return Image(data=data["$base64"], media_type="image/gif")
    url = data["url"] if isinstance(data, dict) else data
    if url.startswith("data:"):
        return Image(data=url.partition(",")[2], media_type=item["mediaType"])
    return Image(url=url, media_type="image/png")


def text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
