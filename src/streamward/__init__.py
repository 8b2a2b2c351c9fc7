"""streamward: stream the output of any language model to any client.

The public names are imported on first use, so that ``import streamward`` costs little and touches nothing.
"""

from streamward.version import __version__

__all__ = ["__version__"]
