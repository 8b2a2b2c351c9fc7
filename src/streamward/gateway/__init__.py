"""The gateway: many dialects in front of every provider. ``app`` puts it together; ``exchange`` is the path of a call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from streamward.gateway.app import Gateway

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None, *, routes: Sequence[BaseRoute] = ()) -> Gateway:
    """The gateway as an ASGI application, to serve or to mount; *routes* of your own are served beside ``/v1``.

    *config* has the tables of ``streamward.toml``. Its lifespan must be run (every ASGI server does).

    Raises:
        ConfigError: naming the key path, what was expected, and a near name for a typing error.
    """
    from streamward.gateway.app import Gateway
    from streamward.gateway.config import from_tables

    return Gateway(from_tables(dict(config or {}), "create_app", os.environ), extra_routes=routes)
