"""Errors made by the host: codes, statuses, and bodies in the type the client prefers."""

from __future__ import annotations

import html
import json

STATUS = {
    "FUNCTION_INVOCATION_FAILED": 500,
    "NO_RESPONSE_FROM_FUNCTION": 502,
    "FUNCTION_INVOCATION_TIMEOUT": 504,
    "FUNCTION_THROTTLED": 503,
    "SERVER_DRAINING": 503,
    "FUNCTION_PAYLOAD_TOO_LARGE": 413,
    "REQUEST_HEADER_TOO_LARGE": 431,
    "URL_TOO_LONG": 414,
    "MALFORMED_REQUEST_HEADER": 400,
    "MALFORMED_REQUEST_BODY": 400,
    "INVALID_REQUEST_METHOD": 405,
    "NOT_FOUND": 404,
}
MESSAGES = {
    "FUNCTION_INVOCATION_FAILED": "The function failed.",
    "NO_RESPONSE_FROM_FUNCTION": "The function ended without a response.",
    "FUNCTION_INVOCATION_TIMEOUT": "The function did not finish in time.",
    "FUNCTION_THROTTLED": "Too many requests are being served; try again soon.",
    "SERVER_DRAINING": "The server is shutting down.",
    "FUNCTION_PAYLOAD_TOO_LARGE": "The request body is too large.",
    "MALFORMED_REQUEST_BODY": "The request body is not what its content type says.",
    "INVALID_REQUEST_METHOD": "The function does not answer this method.",
    "NOT_FOUND": "There is no function at this path.",
}
KINDS = ("application/json", "text/html", "text/plain")


def message_of(code: str) -> str:
    return MESSAGES.get(code, "The request could not be served.")


def preferred_type(accept: str) -> str:
    """The highest q among JSON, HTML and plain text as named in *accept*; plain text otherwise."""
    best, best_q = "text/plain", 0.0
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name not in KINDS:
            continue
        q = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    q = float(parameter[2:])
                except ValueError:
                    q = 0.0
        if q > best_q:
            best, best_q = name, q
    return best


def render(code: str, request_id: str, accept: str, *, detail: str = "") -> tuple[str, bytes]:
    """(content type, body). *detail* (a traceback or a problem line) is shown in development only."""
    kind, message = preferred_type(accept), message_of(code)
    if kind == "application/json":
        error = {"code": code, "message": message, "request_id": request_id}
        if detail:
            error["traceback"] = detail
        return kind, json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")).encode()
    if kind == "text/html":
        below = f"<pre>{html.escape(detail)}</pre>" if detail else ""
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{STATUS[code]}: {code}</title>'
            f"<h1>{html.escape(message)}</h1><p><code>{code}</code></p><p><code>{request_id}</code></p>{below}</html>"
        )
        return "text/html; charset=utf-8", page.encode()
    return "text/plain; charset=utf-8", f"{message}\n\n{code}\n\n{request_id}\n".encode()


def last_event(code: str, request_id: str) -> bytes:
    """The event that ends a broken ``text/event-stream``."""
    error = {"error": {"code": code, "message": message_of(code), "request_id": request_id}}
    return b"event: error\ndata: " + json.dumps(error, separators=(",", ":")).encode() + b"\n\n"
