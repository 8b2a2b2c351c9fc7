"""What clients ask: every request case in the words of every client dialect, and its rendering for every upstream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamward.errors import StreamwardError
from streamward.wire.dialect import Profile
from streamward.wire.table import dialect

HERE = Path(__file__).parent
CLIENTS = ("chat_completions", "responses", "messages")
UPSTREAMS = ("chat_completions", "responses", "messages", "generate_content", "ollama")

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
TOOL = {"name": "get_weather", "description": "Looks it up.", "parameters": SCHEMA}
ARGUMENTS = '{"city":"Paris"}'


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "messages": [{"role": "user", "content": content}], **more}


def resp(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "input": [{"role": "user", "content": content}], **more}


def mess(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}


CHAT_TOOLS = [{"type": "function", "function": TOOL}]
RESP_TOOLS = [{"type": "function", **TOOL}]
MESS_TOOLS = [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": SCHEMA}]
JSON_FORMAT = {"name": "place", "schema": SCHEMA, "strict": True}

REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "text": {
        "chat_completions": chat("Hello?", max_completion_tokens=100, temperature=0.5, top_p=0.9),
        "responses": resp("Hello?", max_output_tokens=100, temperature=0.5, top_p=0.9),
        "messages": mess("Hello?", temperature=0.5, top_p=0.9),
    },
    "system": {
        "chat_completions": {
            "model": "m", "stream": True, "max_completion_tokens": 100,
            "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "One."},
                {"role": "assistant", "content": "Two."}, {"role": "user", "content": "Three?"},
            ],
        },
        "responses": {
            "model": "m", "stream": True, "max_output_tokens": 100, "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": "One."}, {"role": "assistant", "content": "Two."},
                {"role": "user", "content": "Three?"},
            ],
        },
        "messages": {
            "model": "m", "stream": True, "max_tokens": 100, "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "One."}, {"role": "assistant", "content": "Two."},
                {"role": "user", "content": "Three?"},
            ],
        },
    },
    "image_data": {
        "chat_completions": chat(
            [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
            max_completion_tokens=100,
        ),
        "responses": resp(
            [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}],
            max_output_tokens=100,
        ),
        "messages": mess(
            [
                {"type": "text", "text": "What?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ]
        ),
    },
    "image_url": {
        "chat_completions": chat(
            [{"type": "image_url", "image_url": {"url": "https://img.test/a.png"}}], max_completion_tokens=100
        ),
        "responses": resp([{"type": "input_image", "image_url": "https://img.test/a.png"}], max_output_tokens=100),
        "messages": mess([{"type": "image", "source": {"type": "url", "url": "https://img.test/a.png"}}]),
    },
    "tools": {
        "chat_completions": chat("Weather?", max_completion_tokens=100, tools=CHAT_TOOLS, tool_choice="required"),
        "responses": resp("Weather?", max_output_tokens=100, tools=RESP_TOOLS, tool_choice="required"),
        "messages": mess("Weather?", tools=MESS_TOOLS, tool_choice={"type": "any"}),
    },
    "tool_results": {
        "chat_completions": {
            "model": "m", "stream": True, "max_completion_tokens": 100, "tools": CHAT_TOOLS,
            "messages": [
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}},
                    {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}},
                ]},
                {"role": "tool", "tool_call_id": "call_1", "content": "mild"},
                {"role": "tool", "tool_call_id": "call_2", "content": "cold"},
            ],
        },
        "responses": {
            "model": "m", "stream": True, "max_output_tokens": 100, "tools": RESP_TOOLS,
            "input": [
                {"role": "user", "content": "Weather?"},
                {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": ARGUMENTS},
                {"type": "function_call", "call_id": "call_2", "name": "get_weather", "arguments": '{"city":"Oslo"}'},
                {"type": "function_call_output", "call_id": "call_1", "output": "mild"},
                {"type": "function_call_output", "call_id": "call_2", "output": "cold"},
            ],
        },
        "messages": {
            "model": "m", "stream": True, "max_tokens": 100, "tools": MESS_TOOLS,
            "messages": [
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "call_2", "name": "get_weather", "input": {"city": "Oslo"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "mild"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "cold"},
                ]},
            ],
        },
    },
    "one_tool_only": {
        "chat_completions": chat(
            "Weather?", max_completion_tokens=100, tools=CHAT_TOOLS, parallel_tool_calls=False,
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
        ),
        "responses": resp(
            "Weather?", max_output_tokens=100, tools=RESP_TOOLS, tool_choice={"type": "function", "name": "get_weather"},
            parallel_tool_calls=False,
        ),
        "messages": mess(
            "Weather?", tools=MESS_TOOLS,
            tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        ),
    },
    "structured": {
        "chat_completions": chat(
            "Where?", max_completion_tokens=100, response_format={"type": "json_schema", "json_schema": JSON_FORMAT}
        ),
        "responses": resp("Where?", max_output_tokens=100, text={"format": {"type": "json_schema", **JSON_FORMAT}}),
    },
    "json": {
        "chat_completions": chat("Where? As JSON.", max_completion_tokens=100, response_format={"type": "json_object"}),
        "responses": resp("Where? As JSON.", max_output_tokens=100, text={"format": {"type": "json_object"}}),
    },
    "stop": {
        "chat_completions": chat("Count.", max_completion_tokens=100, stop=["four", "five"]),
        "messages": mess("Count.", stop_sequences=["four", "five"]),
    },
    "effort": {
        "chat_completions": chat("Think.", reasoning_effort="low"),
        "responses": resp("Think.", reasoning={"effort": "low"}),
    },
    "several_choices": {"chat_completions": chat("Hello?", n=2)},
    "logprobs": {"chat_completions": chat("Hello?", logprobs=True, top_logprobs=2)},
    "penalties": {"chat_completions": chat("Hello?", frequency_penalty=0.5, presence_penalty=0.5)},
    "audio_in": {
        "chat_completions": chat([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]),
    },
}  # fmt: skip

PAIRS = [(client, case) for case, asked in REQUESTS.items() for client in asked]
"""(client dialect, case) that the dialect has words for."""


def request_file(upstream: str, client: str, case: str) -> Path:
    return HERE / "requests" / upstream / f"{case}.{client}.json"


def rendered(upstream: str, client: str, case: str) -> dict[str, Any]:
    """The body a provider of dialect *upstream* is sent, or how the call is refused."""
    body = json.loads(json.dumps(REQUESTS[case][client]))
    source, target, profile = dialect(client), dialect(upstream), Profile()
    try:
        relay_request = getattr(source, "relay_request", None)
        if upstream == client and relay_request is not None:
            return dict(relay_request(body, model="provider-model", profile=profile))
        return target.render_request(source.parse_request(body), model="provider-model", profile=profile)
    except StreamwardError as exc:
        info = exc.info
        return {"refused": {"status": info.status, "code": info.code, "param": info.param, "message": info.message}}


def as_file(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
