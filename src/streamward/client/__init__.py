"""Clients: streamed answers that survive a lost connection, and chats as ``useChat`` has them.

``Client`` and ``Chat`` are asynchronous; their twins without an event loop are ``SyncClient`` and ``SyncChat``, which
``streamward.sync`` has under the same names.
"""

from streamward.client.chat import Chat
from streamward.client.client import Client
from streamward.client.policy import Retries, Timeouts
from streamward.client.stream import Stream
from streamward.client.sync import SyncClient, SyncStream
from streamward.client.sync_chat import SyncChat

__all__ = ["Chat", "Client", "Retries", "Stream", "SyncChat", "SyncClient", "SyncStream", "Timeouts"]
