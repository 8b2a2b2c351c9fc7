"""For tests of applications: scripted models, simulated streams, recordings, assertions, a pytest plugin.

No network is needed for any of it. The plugin is ``streamward.testing.plugin``.
"""

from streamward.testing.recorder import Recorder
from streamward.testing.script import error, events_of, finish, reasoning, text, tool_call
from streamward.testing.scripted import ScriptedModel, UnexpectedCall, UnusedSteps
from streamward.testing.simulate import assert_stream, simulate_stream

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
