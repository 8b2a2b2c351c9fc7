"""The functions host: file-routed Python functions that stream, with deadlines, live logs and drains.

The front (this package) owns client connections and deadlines and never imports user code; the code runs in
processes of ``streamward.functions.worker``. Follows the functions host contract (docs/reference/functions.md).
"""

from streamward.functions.worker.context import get_deadline, wait_until

__all__ = ["get_deadline", "wait_until"]
