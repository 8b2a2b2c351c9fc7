"""Routes that serve the playground: the built React page, or a one-file page while it is not built.

No API here: the page talks to ``/v1`` of the same origin, like any other client. Sources of the page: ``web/``.
The content security policy follows CSP Level 3: scripts and styles from this origin only, inline ones by their hash.
"""

import base64
import hashlib
import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

HERE = Path(__file__).parent
DIST = HERE / "dist"
FALLBACK = HERE / "fallback.html"

# Built names carry a hash of their content: a changed file has another name.
ASSET_CACHE = "public, max-age=31536000, immutable"

ASSET_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

# By name, not by the operating system's table, which on some machines calls scripts text/plain.
MEDIA_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".map": "application/json",
    ".woff2": "font/woff2",
}

INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)

COMMON_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


def playground_routes(dist: Path = DIST) -> list[BaseRoute]:
    """Routes for ``/`` and ``/assets/{name}``. *dist* is looked at per request: a page built later shows on reload."""

    # Plain functions: Starlette runs them in a thread, and reading files blocks.
    def index(request: Request) -> Response:
        try:
            html = (dist / "index.html").read_bytes()
        except FileNotFoundError:
            html = FALLBACK.read_bytes()
        headers = COMMON_HEADERS | {
            "cache-control": "no-cache",
            "content-security-policy": content_security_policy(html),
            "x-frame-options": "DENY",
        }
        return Response(html, headers=headers, media_type="text/html")

    def asset(request: Request) -> Response:
        name: str = request.path_params["name"]
        path = dist / "assets" / name
        if not ASSET_NAME.fullmatch(name) or not path.is_file():
            raise HTTPException(404)
        media_type = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        return FileResponse(path, headers=COMMON_HEADERS | {"cache-control": ASSET_CACHE}, media_type=media_type)

    return [
        Route("/", index, methods=["GET"], name="playground", include_in_schema=False),
        Route("/assets/{name}", asset, methods=["GET"], name="playground_asset", include_in_schema=False),
    ]


def content_security_policy(html: bytes) -> str:
    """The policy for *html*: its own origin only, and the inline scripts and styles that it holds, by hash."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, body in INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        hashes[kind.decode()].append(f"'sha256-{digest}'")
    return "; ".join(
        [
            "default-src 'self'",
            " ".join(["script-src 'self'", *hashes["script"]]),
            " ".join(["style-src 'self'", *hashes["style"]]),
            "img-src 'self' data:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
