"""For tests of applications: scripted models, simulated streams, recordings, assertions, a pytest plugin.

No network is needed for any of it. The plugin is ``streamward.testing.plugin``; pytest finds it by itself.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamward.testing.recorder import Recorder as Recorder
    from streamward.testing.script import error as error
    from streamward.testing.script import events_of as events_of
    from streamward.testing.script import finish as finish
    from streamward.testing.script import reasoning as reasoning
    from streamward.testing.script import text as text
    from streamward.testing.script import tool_call as tool_call
    from streamward.testing.scripted import ScriptedModel as ScriptedModel
    from streamward.testing.scripted import UnexpectedCall as UnexpectedCall
    from streamward.testing.scripted import UnusedSteps as UnusedSteps
    from streamward.testing.simulate import assert_stream as assert_stream
    from streamward.testing.simulate import simulate_stream as simulate_stream

__all__ = [
    "Recorder",
    "ScriptedModel",
    "UnexpectedCall",
    "UnusedSteps",
    "assert_stream",
    "error",
    "events_of",
    "finish",
    "reasoning",
    "simulate_stream",
    "text",
    "tool_call",
]

MODULE_OF = {
    "Recorder": "recorder", "ScriptedModel": "scripted", "UnexpectedCall": "scripted", "UnusedSteps": "scripted",
    "assert_stream": "simulate", "simulate_stream": "simulate",
}  # fmt: skip
"""The others are ``script``'s."""


def __getattr__(name: str) -> Any:
    # Imported on first use: pytest loads this package at every start, for the plugin.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{MODULE_OF.get(name, 'script')}"), name)
    globals()[name] = value
    return value
