"""The gateway's own OpenAPI document: what is served, in brief; the dialects' full schemas are their owners'."""

from __future__ import annotations

from functools import cache
from typing import Any

from streamward.version import __version__

OBJECT: dict[str, Any] = {"type": "object"}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"]},
            },
        }
    },
}


def answer(text: str, *types: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": text, "content": {kind: {"schema": schema or OBJECT} for kind in types}}


def failures() -> dict[str, Any]:
    return {"default": answer("What was expected, what came, what to do.", "application/json", schema=ERROR)}


def create(summary: str, required: list[str]) -> dict[str, Any]:
    properties = {"model": {"type": "string"}, "stream": {"type": "boolean"}}
    body = {"type": "object", "required": required, "properties": properties}
    return {
        "post": {
            "summary": summary,
            "security": [{"bearer": []}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {"200": answer("The answer, or its stream.", "application/json", "text/event-stream"), **failures()},
        }
    }


def read(summary: str, kind: str = "application/json", *, key: bool = True, params: tuple[str, ...] = ()) -> dict[str, Any]:
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in params]
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": answer("OK", kind), **failures()}}
    if key:
        operation["security"] = [{"bearer": []}]
    if parameters:
        operation["parameters"] = parameters
    return {"get": operation}


def change(method: str, summary: str, *, params: tuple[str, ...]) -> dict[str, Any]:
    return {method: read(summary, params=params)["get"]}


RESPONSE = ("response_id",)


@cache
def openapi() -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "streamward gateway", "version": __version__, "license": {"name": "Apache-2.0"}},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/v1/chat/completions": create("Chat Completions, streamed or whole", ["model", "messages"]),
            "/v1/responses": create("Responses: streamed, whole, in the background; also a WebSocket", ["model"]),
            "/v1/responses/{response_id}": {
                **read("A stored response; with stream=true its events, after starting_after", params=RESPONSE),
                **change("delete", "Forget a stored response", params=RESPONSE),
            },
            "/v1/responses/{response_id}/cancel": change("post", "Stop a background response", params=RESPONSE),
            "/v1/responses/{response_id}/input_items": read("What a response was asked", params=RESPONSE),
            "/v1/responses/input_tokens": create("Count input tokens (an estimate, and marked so)", []),
            "/v1/responses/compact": create("A conversation as one compaction item", ["model"]),
            "/v1/messages": create("Messages, streamed or whole", ["model", "messages", "max_tokens"]),
            "/v1/messages/count_tokens": create("Count input tokens (an estimate, and marked so)", ["model", "messages"]),
            "/v1/embeddings": create("Embeddings, of providers that have them", ["model", "input"]),
            "/v4/ai/language-model": create("The AI SDK's gateway provider (also /v1/ai and /v3/ai)", ["prompt"]),
            "/v4/ai/config": read("The models, as the AI SDK's gateway provider lists them"),
            "/v1/streams/{stream_id}": read(
                "Follow or resume a durable stream, after=N, in any dialect=", "text/event-stream", params=("stream_id",)
            ),
            "/v1/streams/{stream_id}/stop": change("post", "End a durable stream", params=("stream_id",)),
            "/v1/streams/stop": change("post", "End the call that was made with this Idempotency-Key", params=()),
            "/v1/models": read("The models that can be named"),
            "/v1/models/{model}": read("One model; ids may contain slashes", params=("model",)),
            "/healthz": read("The process lives", key=False),
            "/readyz": read("The process takes requests", key=False),
            "/metrics": read("Prometheus metrics", "text/plain", key=False),
        },
    }


DOCS_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>streamward API</title>
<style>body{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em}
</style><h1>streamward API</h1><p>The machine-readable description is at <a href="/openapi.json">/openapi.json</a>.</p>
<ul><li><code>POST /v1/chat/completions</code>: Chat Completions</li><li><code>POST /v1/responses</code>: Responses,
stored, in the background, by WebSocket</li><li><code>POST /v1/messages</code>: Messages</li>
<li><code>GET /v1/streams/{id}</code>: go on with a durable stream</li><li><code>GET /v1/models</code>: models</li>
<li><code>GET /healthz</code>, <code>/readyz</code>, <code>/metrics</code></li></ul>
<p>Send <code>Authorization: Bearer KEY</code>. Try it:</p>
<pre><code>curl -N http://127.0.0.1:8787/v1/chat/completions -H 'content-type: application/json' \\
  -d '{"model":"demo/chat","stream":true,"messages":[{"role":"user","content":"hello"}]}'</code></pre></html>"""
