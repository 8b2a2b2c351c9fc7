"""streamward: stream the output of any language model to any client.

The public names are imported on first use, so that ``import streamward`` costs little and touches nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamward.version import __version__

if TYPE_CHECKING:
    from streamward.functions import get_deadline, wait_until

__all__ = ["__version__", "get_deadline", "wait_until"]

HOMES = {
    "get_deadline": "streamward.functions",
    "wait_until": "streamward.functions",
}
"""Where each public name lives."""


def __getattr__(name: str) -> object:
    home = HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'streamward' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
