"""Clients: streamed answers that survive a lost connection, and chats as ``useChat`` has them.

``Client`` is asynchronous; its twin without an event loop is ``streamward.sync.Client``.
"""

from streamward.client.chat import Chat
from streamward.client.client import Client
from streamward.client.policy import Retries, Timeouts
from streamward.client.stream import Stream

__all__ = ["Chat", "Client", "Retries", "Stream", "Timeouts"]
