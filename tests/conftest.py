"""What all tests share: which of them measure time.

Tests of deadlines, cancellation within milliseconds, or real processes under kill -9 run alone, after the others
(`make test` runs pytest twice): on two cores a parallel run makes them measure their neighbours.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's business, and that of its neighbours.
settings.register_profile("streamward", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("streamward")

# A shell that runs us in the background has SIGINT ignored, and our children would inherit that: tests that press Ctrl-C
# would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

TIMED = (
    "tests/functions/", "tests/soak/", "tests/bench/", "tests/cli/test_stream_tools.py",
    "tests/cli/test_serving_functions.py",
    "tests/gateway/test_leaving.py", "tests/gateway/test_slow_reader.py", "tests/gateway/test_abuse.py",
    "tests/gateway/test_durable_workers.py", "tests/gateway/test_durable_shutdown.py",
    "tests/durable/test_crash", "tests/upstream/test_local.py",
    "tests/playground/test_page.py", "tests/engine/test_stopping.py", "tests/engine/test_respond.py",
    "tests/engine/test_model_calls.py", "tests/engine/test_twin.py", "tests/aisdk/test_conformance", "tests/examples/",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(TIMED):
            item.add_marker(pytest.mark.timed)
