"""What stands between load and mock: nothing, nginx, streamward, and peers.

A target says why it cannot run here (`missing`), starts itself (`start`) and names the model as its clients do. A new
one is a subclass in `TARGETS`.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.process import Cores, accepts, free_port, spawn, wait_ready
from harness.scenarios import Scenario, redis_binary

BENCH = Path(__file__).resolve().parent.parent
CLIENT_KEY = "bench-key"
UPSTREAM_KEY = "upstream-key"


@dataclass(frozen=True)
class Place:
    """Where a target is started: cores, a private directory, the port of the mock."""

    cores: Cores
    directory: Path
    mock_port: int


@dataclass(frozen=True)
class Running:
    port: int
    pid: int | None  # None: nothing runs, so no CPU and memory to read


class Target:
    name: str
    about: str
    model_prefix = ""
    reuses_connections = False  # whether to hold it to that
    everywhere = True  # in scenarios that name no targets
    share = 1.0  # of a scenario's load: one a hundred times slower would take minutes for what nginx does in seconds

    def missing(self) -> str | None:
        """Why it cannot run here and what to do about it; None when it can."""
        return None

    def version(self) -> str:
        return ""

    def start(self, place: Place, scenario: Scenario) -> AbstractContextManager[Running]:
        """Run it, ready to answer, until the context ends. Raises RuntimeError when it does not come up."""
        raise NotImplementedError


class Direct(Target):
    name = "direct"
    about = "no gateway: the load generator talks to the mock"

    @contextmanager
    def start(self, place: Place, scenario: Scenario) -> Iterator[Running]:
        yield Running(place.mock_port, None)


class Nginx(Target):
    name = "nginx"
    about = "proxy_buffering off, keep-alive upstream, one worker, access log to a file; no auth, JSON or accounting"

    def binary(self) -> str:
        """Its path, empty when not found; a user's PATH often has no sbin."""
        return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or ""

    def missing(self) -> str | None:
        return None if self.binary() else "nginx is not installed: apt-get install nginx-light, or your system's package"

    def version(self) -> str:
        result = subprocess.run([self.binary(), "-v"], capture_output=True, text=True, check=False)
        return result.stderr.strip().rpartition("/")[2]

    @contextmanager
    def start(self, place: Place, scenario: Scenario) -> Iterator[Running]:
        port, config, log = free_port(), place.directory / "nginx.conf", place.directory / "nginx.log"
        config.write_text(self.config(place, port))
        command: list[str | Path] = [self.binary(), "-p", place.directory, "-c", config, "-e", log]
        with spawn(command, cores=place.cores.gateway, log=log) as process:
            wait_ready(process, lambda: accepts(port), log=log)
            yield Running(port, process.pid)

    def config(self, place: Place, port: int) -> str:
        user = "user root;" if os.geteuid() == 0 else ""  # a worker as nobody could not use our private directory
        scratch = " ".join(f"{kind}_temp_path tmp_{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""
daemon off; {user} worker_processes 1; pid nginx.pid; error_log nginx.log warn; worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
  access_log access.log;
  client_body_temp_path tmp_body; {scratch}
  keepalive_requests 100000000; keepalive_timeout 600s;
  upstream mock {{
    server 127.0.0.1:{place.mock_port}; keepalive 8192; keepalive_requests 100000000; keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


class Streamward(Target):
    name = "streamward"
    about = "the gateway: client keys, accounting, access records and metrics on"
    model_prefix = "mock/"
    reuses_connections = True
    interrupt = False  # stop with SIGINT instead of SIGTERM

    def command(self) -> tuple[str | Path, ...]:
        return (Path(sys.executable).parent / "streamward",)

    def missing(self) -> str | None:
        script = Path(self.command()[-1])
        return None if script.exists() else f"{script} does not exist: `make setup` installs it"

    def version(self) -> str:
        result = subprocess.run([*self.command(), "--version"], capture_output=True, text=True, check=False)
        return result.stdout.strip().rpartition(" ")[2]

    @contextmanager
    def start(self, place: Place, scenario: Scenario) -> Iterator[Running]:
        port, config, log = free_port(), place.directory / "streamward.toml", place.directory / "streamward.log"
        command: list[str | Path] = [*self.command(), "serve", "--config", config, "--port", str(port)]
        with ExitStack() as stack:
            redis = stack.enter_context(redis_server(place)) if scenario.service == "redis" else ""
            config.write_text(self.config(place, scenario, redis))
            process = stack.enter_context(spawn(command, cores=place.cores.gateway, log=log, interrupt=self.interrupt))
            wait_ready(process, lambda: responds(port, "/healthz"), log=log)
            yield Running(port, process.pid)

    def config(self, place: Place, scenario: Scenario, redis: str = "") -> str:
        return f"""[auth]
keys = ["{CLIENT_KEY}"]

[providers.mock]
base_url = "http://127.0.0.1:{place.mock_port}/v1"
dialect = "chat_completions"
api_key = "{UPSTREAM_KEY}"

[storage]
url = "sqlite:{place.directory}/state.db"

{self.tables(scenario).replace("{directory}", str(place.directory)).replace("{redis}", redis)}
"""

    def tables(self, scenario: Scenario) -> str:
        return scenario.streamward_config


class StreamwardPlain(Streamward):
    name = "streamward-plain"
    about = "the gateway without the scenario's own settings: what durable streams are compared with"
    everywhere = False

    def tables(self, scenario: Scenario) -> str:
        return '[streams]\ndurable = "never"\n'


@contextmanager
def redis_server(place: Place) -> Iterator[str]:
    """A private Redis with an append-only file synced each second, on the cores of mock and load; yields its URL."""
    path, log = place.directory / "redis", place.directory / "redis.log"
    command: list[str | Path] = [
        redis_binary(), "--port", "0", "--unixsocket", path, "--dir", place.directory, "--save", "", "--appendonly", "yes",
        "--appendfsync", "everysec",
    ]  # fmt: skip
    with spawn(command, cores=place.cores.others, log=log) as process:
        wait_ready(process, lambda: "eady to accept connections" in log.read_text(errors="replace"), log=log)
        yield f"unix://{path}"


class StarletteHttpx(Target):
    name = "starlette-httpx"
    about = "the common hand-written proxy: Starlette's StreamingResponse over httpx on uvicorn; no auth, no log"
    share = 0.05

    def missing(self) -> str | None:
        absent = [name for name in ("starlette", "httpx", "uvicorn") if importlib.util.find_spec(name) is None]
        return f"pip install {' '.join(absent)}" if absent else None

    @contextmanager
    def start(self, place: Place, scenario: Scenario) -> Iterator[Running]:
        port, log = free_port(), place.directory / "peer.log"
        command: list[str | Path] = [
            sys.executable, "-m", "uvicorn", "starlette_httpx:app", "--app-dir", BENCH / "peers", "--port", str(port),
            "--no-access-log", "--log-level", "warning",
        ]  # fmt: skip
        env = {"UPSTREAM": f"http://127.0.0.1:{place.mock_port}"}
        with spawn(command, cores=place.cores.gateway, log=log, env=env) as process:
            wait_ready(process, lambda: accepts(port), log=log)
            yield Running(port, process.pid)


class LiteLLM(Target):
    name = "litellm"
    about = "LiteLLM's proxy, one worker, a master key, no database"
    share = 0.01

    def binary(self) -> str:
        return os.environ.get("STREAMWARD_BENCH_LITELLM") or shutil.which("litellm") or ""

    def missing(self) -> str | None:
        if self.binary():
            return None
        return "pip install 'litellm[proxy]' in an environment of its own, and set STREAMWARD_BENCH_LITELLM to its bin/litellm"

    def version(self) -> str:
        result = subprocess.run([self.binary(), "--version"], capture_output=True, text=True, check=False)
        return result.stdout.strip().rpartition(" ")[2]

    @contextmanager
    def start(self, place: Place, scenario: Scenario) -> Iterator[Running]:
        port, config, log = free_port(), place.directory / "litellm.yaml", place.directory / "litellm.log"
        config.write_text(self.config(place))
        command: list[str | Path] = [self.binary(), "--config", config, "--host", "127.0.0.1", "--port", str(port)]
        env = {"LITELLM_MASTER_KEY": CLIENT_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        with spawn(command, cores=place.cores.gateway, log=log, env=env) as process:
            wait_ready(process, lambda: responds(port, "/health/liveliness"), log=log)
            yield Running(port, process.pid)

    def config(self, place: Place) -> str:
        return f"""model_list:
  - model_name: "*"
    litellm_params:
      model: "deepinfra/*"
      api_base: "http://127.0.0.1:{place.mock_port}/v1"
      api_key: "{UPSTREAM_KEY}"
"""


def responds(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


TARGETS: dict[str, Target] = {
    target.name: target for target in (Direct(), Nginx(), Streamward(), StreamwardPlain(), StarletteHttpx(), LiteLLM())
}
