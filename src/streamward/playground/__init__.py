"""The page at ``/``: a chat with a frame inspector. Sources in ``web/`` of the repository, built into ``dist/``."""

from streamward.playground.page import playground_routes

__all__ = ["playground_routes"]
