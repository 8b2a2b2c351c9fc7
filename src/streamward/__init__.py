"""streamward: stream the output of any language model to any client.

The public names are imported on first use, so that ``import streamward`` costs little and touches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamward.version import __version__

if TYPE_CHECKING:
    from streamward.client import Chat as Chat
    from streamward.client import Client as Client
    from streamward.engine.caching import caching as caching
    from streamward.engine.chat_socket import chat_socket as chat_socket
    from streamward.engine.mcp import mcp_tools as mcp_tools
    from streamward.engine.middleware import Middleware as Middleware
    from streamward.engine.middleware import default_settings as default_settings
    from streamward.engine.middleware import extract_reasoning as extract_reasoning
    from streamward.engine.middleware import simulate_streaming as simulate_streaming
    from streamward.engine.middleware import wrap_model as wrap_model
    from streamward.engine.model import Model as Model
    from streamward.engine.object import generate_object as generate_object
    from streamward.engine.object import stream_object as stream_object
    from streamward.engine.output import NoObject as NoObject
    from streamward.engine.plan import generate_id as generate_id
    from streamward.engine.prompt import model_messages as model_messages
    from streamward.engine.registry import create_provider_registry as create_provider_registry
    from streamward.engine.registry import custom_provider as custom_provider
    from streamward.engine.registry import openai_compatible as openai_compatible
    from streamward.engine.registry import provider as provider
    from streamward.engine.registry import set_default_registry as set_default_registry
    from streamward.engine.response import StreamResponse as StreamResponse
    from streamward.engine.result import Generated as Generated
    from streamward.engine.result import StreamResult as StreamResult
    from streamward.engine.resumable import Resumable as Resumable
    from streamward.engine.resumable import resumable as resumable
    from streamward.engine.segmenter import Segmenter as Segmenter
    from streamward.engine.steps import Step as Step
    from streamward.engine.steps import has_tool_call as has_tool_call
    from streamward.engine.steps import step_count_is as step_count_is
    from streamward.engine.text import generate_text as generate_text
    from streamward.engine.text import stream_text as stream_text
    from streamward.engine.timeouts import Timeout as Timeout
    from streamward.engine.tools import Tool as Tool
    from streamward.engine.tools import ToolContext as ToolContext
    from streamward.engine.tools import tool as tool
    from streamward.engine.transforms import smooth_stream as smooth_stream
    from streamward.engine.writer import create_data_stream_response as create_data_stream_response
    from streamward.engine.writer import create_ui_message_stream_response as create_ui_message_stream_response
    from streamward.errors import StreamwardError as StreamwardError
    from streamward.functions import get_deadline as get_deadline
    from streamward.functions import wait_until as wait_until

WHERE = {
    "streamward.client": ("Chat", "Client"),
    "streamward.engine.caching": ("caching",),
    "streamward.engine.chat_socket": ("chat_socket",),
    "streamward.engine.mcp": ("mcp_tools",),
    "streamward.engine.middleware": (
        "Middleware", "default_settings", "extract_reasoning", "simulate_streaming", "wrap_model",
    ),
    "streamward.engine.model": ("Model",),
    "streamward.engine.object": ("generate_object", "stream_object"),
    "streamward.engine.output": ("NoObject",),
    "streamward.engine.plan": ("generate_id",),
    "streamward.engine.prompt": ("model_messages",),
    "streamward.engine.registry": (
        "create_provider_registry", "custom_provider", "openai_compatible", "provider", "set_default_registry",
    ),
    "streamward.engine.response": ("StreamResponse",),
    "streamward.engine.resumable": ("Resumable", "resumable"),
    "streamward.engine.result": ("Generated", "StreamResult"),
    "streamward.engine.segmenter": ("Segmenter",),
    "streamward.engine.steps": ("Step", "has_tool_call", "step_count_is"),
    "streamward.engine.text": ("generate_text", "stream_text"),
    "streamward.engine.timeouts": ("Timeout",),
    "streamward.engine.tools": ("Tool", "ToolContext", "tool"),
    "streamward.engine.transforms": ("smooth_stream",),
    "streamward.engine.writer": ("create_data_stream_response", "create_ui_message_stream_response"),
    "streamward.errors": ("StreamwardError",),
    "streamward.functions": ("get_deadline", "wait_until"),
}  # fmt: skip

MODULE_OF = {name: module for module, names in WHERE.items() for name in names}

__all__ = ["__version__", *sorted(MODULE_OF)]


def __getattr__(name: str) -> Any:
    module = MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'streamward' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
