"""One running ``streamward dev`` for the client tests: demo models, the toy model, and an upstream over HTTP."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway_server import Process, streamward
from support.model_server import model_server

CONFIG = """
[server]
cors_origins = ["{origin}"]
[providers.mock]
base_url = "{upstream}"
api_key = "sk-upstream-secret"
retries = 0
[streams]
keepalive_s = 0.2
"""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = Path(tmp_path_factory.mktemp("gateway"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        origin = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with model_server() as upstream:
        (folder / "streamward.toml").write_text(CONFIG.format(upstream=upstream, origin=origin))
        with streamward("dev", ".", "--port", "0", "--log-format", "off", cwd=folder) as process:
            process.page_origin = origin
            yield process


MODELS = ["demo/chat?tps=0&ttft_ms=0", "local/tiny", "mock/hello"]
"""One simulated, one real on this machine, one behind HTTP."""
