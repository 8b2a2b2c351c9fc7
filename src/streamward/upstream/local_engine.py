"""The local engine's process: xllamacpp's HTTP server around one GGUF file.

Started by :mod:`streamward.upstream.local` as ``python -m streamward.upstream.local_engine``, not by hand. Protocol:
one JSON line on standard input says what to run (:class:`Order`; the key travels here, not in ``argv``), one JSON line
on standard output answers (:class:`Report`), standard error carries the engine's log. Standard input then stays open
for as long as the parent lives: its end is the order to stop, so this process never outlives its parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

import msgspec
from msgspec import Struct

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
QUIET = 2  # llama.cpp verbosity: warnings and errors; 3 adds several lines per request


class Order(Struct, frozen=True):
    """What the parent wants: one model, on one loopback port (0 = any free one), for holders of one key."""

    model: str
    name: str
    port: int
    api_key: str
    slots: int
    context: int
    threads: int


class Report(Struct, frozen=True):
    """What became of it: the port that answers now, or why there is none."""

    port: int = 0
    error: str = ""


def main() -> int:
    report_to = os.dup(1)
    os.dup2(2, 1)  # whatever the engine prints goes to the log, never between parent and child
    die_with_parent()
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    try:
        server = serve(order)
    except Exception as exc:  # the engine raises RuntimeError, ValueError or its own; all mean the same: no server
        os.write(report_to, msgspec.json.encode(Report(error=str(exc) or type(exc).__name__)) + b"\n")
        return 1
    port = int(str(server.listening_address).rpartition(":")[2])
    os.write(report_to, msgspec.json.encode(Report(port=port)) + b"\n")
    sys.stdin.buffer.read()
    # No orderly end: the engine would finish what it generates, and its threads hold nothing worth saving.
    os._exit(0)


def serve(order: Order) -> Any:  # xllamacpp ships no types
    """Load the model and answer requests in the engine's own threads; return its server object."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = order.model
    params.model_alias = {order.name}
    params.hostnames = ["127.0.0.1"]
    params.port = order.port
    params.api_keys = [order.api_key]
    params.cors_origins = ""  # only the gateway talks to it
    params.ui = False
    params.endpoint_metrics = True
    params.verbosity = QUIET
    params.n_parallel = order.slots
    params.n_ctx = order.context
    params.kv_unified = True  # slots share the context, so that one long conversation may use all of it
    params.cache_ram_mib = 0  # its prompt cache would grow to 8 GiB by default
    params.fit_params = False  # no probing of GPUs that the CPU wheel does not have
    params.cpuparams.n_threads = order.threads
    params.cpuparams_batch.n_threads = order.threads
    return xllamacpp.Server(params)


def die_with_parent() -> None:
    """Ask Linux to kill us when the parent is gone; elsewhere the end of standard input does it alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
