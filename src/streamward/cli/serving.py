"""``streamward dev`` and ``streamward serve``."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from dotenv import load_dotenv

from streamward.errors import StreamwardError
from streamward.gateway.app import Gateway
from streamward.gateway.config import find_file, load
from streamward.gateway.logs import configure_logging
from streamward.gateway.serve import Settings, build, serve, uvicorn_config, worker_settings
from streamward.playground.page import playground_routes
from streamward.upstream.local import TINY_MODEL_NAME, check_gguf, engine_available, tiny_model_path

if TYPE_CHECKING:
    from streamward.functions.host import FunctionsHost
    from streamward.functions.server import FunctionsApp
    from streamward.functions.several import SharedFunctionsApp

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def run_dev(
    folder: Path, config: Path | None, host: str | None, port: int | None, model: Path | None, log_format: str | None
) -> int:
    """Development: page, gateway, a local model; no key asked on loopback."""
    real = dict(os.environ)  # before .env files: functions weigh those themselves, and see them change
    file = start(folder, config)
    loaded = load(file)
    host = host or loaded.server.host
    local_model, local_name = local_choice(model)
    settings = Settings(
        config=str(file) if file else None, host=host, port=loaded.server.port if port is None else port, dev=True,
        open_access=host in LOOPBACK, local_model=str(local_model) if local_model else None, local_name=local_name,
        log_format=log_format or "pretty",
    )  # fmt: skip

    def greet(url: str) -> None:
        say(f"listening on {url}")
        say(f"page {url}/   gateway {url}/v1")
        if local_model is None:
            say("model demo/chat (simulated; for a real one: pip install 'streamward[local]', or set a provider's key)")
        elif local_name == TINY_MODEL_NAME:
            say(f"model {local_name}: a real but tiny toy model, trained on this project only; it knows nothing else")
        else:
            say(f"model {local_name} from {local_model}")
        say("no key is asked on loopback" if settings.open_access else "keys are required: this is not a loopback address")

    functions = functions_host(folder, settings, "dev", real)
    return checked_serve(settings, greet, in_front_with(functions, settings), page=True)


def run_serve(
    folder: Path, config: Path | None, host: str | None, port: int | None, workers: int | None, log_format: str | None
) -> int:
    """Production."""
    real = dict(os.environ)  # before .env files: functions weigh those themselves, and see them change
    file = start(folder, config)
    loaded = load(file)
    settings = Settings(
        config=str(file) if file else None, host=host or loaded.server.host,
        port=loaded.server.port if port is None else port, workers=workers or loaded.server.workers, log_format=log_format,
    )  # fmt: skip
    functions = functions_host(folder, settings, "serve", real)
    if loaded.auth.required and not loaded.auth.keys and not has_keys(loaded.storage.url):
        if functions is None:
            raise StreamwardError(NO_KEY)
        say(f"the functions are served; /v1 answers 401 to everybody: {NO_KEY}")
    if functions is not None and settings.workers > 1:
        settings = msgspec.structs.replace(
            settings, factory="streamward.cli.serving:create_worker", functions=str(folder.resolve()),
            from_files=tuple(os.environ.keys() - real.keys()),
        )  # fmt: skip
    return checked_serve(settings, lambda url: say(f"listening on {url}"), in_front_with(functions, settings), page=False)


NO_KEY = (
    "there is no client key: make one with `streamward keys create`, set auth.keys in streamward.toml (for example "
    '["env:STREAMWARD_API_KEY"]), or auth.required = false'
)


def has_keys(url: str) -> bool:
    """Whether there may be keys in the database *url*: in a file that is not there yet, there are none."""
    return not url.startswith("sqlite:") or Path(url.removeprefix("sqlite:")).exists()


def functions_host(folder: Path, settings: Settings, command: str, real: dict[str, str]) -> FunctionsHost | None:
    """The host of the functions of *folder*, not started; None when it has none (``dev`` watches for new ones).

    Raises:
        StreamwardError: ``serve`` only, when ``streamward routes`` would report a problem.
    """
    from streamward.functions.host import FunctionsHost

    if command == "serve" and not any((folder / name).is_dir() for name in ("api", "app", "pages")):
        return None
    host = FunctionsHost(folder, command=command, address=(settings.host, settings.port), environ=real)
    problems = host.scan.problems
    if problems and command == "serve":
        raise StreamwardError("\n".join(["the functions of this folder have problems:", *map(str, problems)]))
    for problem in problems:
        say(str(problem))
    found = len(host.scan.routes)
    if command == "serve" and not found:
        return None
    if command == "dev" and found:
        say(f"{found} function{'s' if found > 1 else ''} under /api: `streamward routes` lists them")
    return host


def in_front_with(host: FunctionsHost | None, settings: Settings) -> Callable[[Gateway], Any] | None:
    """Puts *host* in front of a gateway."""
    if host is None:
        return None
    from streamward.functions.server import FunctionsApp

    return lambda gateway: joined(FunctionsApp(host, gateway), gateway, settings)


def create_worker() -> SharedFunctionsApp:
    """Factory that uvicorn calls in each of several workers that serve functions, too."""
    from streamward.functions.host import FunctionsHost
    from streamward.functions.several import SharedFunctionsApp

    configure_logging()
    settings = worker_settings()
    assert settings.functions is not None
    assert settings.shared_folder is not None
    gateway = build(settings)
    real = {name: value for name, value in os.environ.items() if name not in settings.from_files}
    host = FunctionsHost(settings.functions, command="serve", address=(settings.host, settings.port), environ=real)
    folder = Path(settings.shared_folder)
    app = SharedFunctionsApp(host, gateway, folder, lambda app: uvicorn_config(app, settings, gateway.config))
    return joined(app, gateway, settings)


App = TypeVar("App", bound="FunctionsApp")


def joined(app: App, gateway: Gateway, settings: Settings) -> App:
    """*app* and *gateway* with the limits, figures, readiness and log of both."""
    from streamward.functions.console import Console
    from streamward.functions.server import MAX_URL_BYTES

    if settings.log_format != "off":
        app.host.book.sinks.append(Console(settings.log_format or "json").offer)
    app.limits = msgspec.structs.replace(gateway.limits, max_target_bytes=MAX_URL_BYTES)
    gateway.join(app.host.metrics, app.host.readiness)
    return app


def start(folder: Path, config: Path | None) -> Path | None:
    """Common beginnings: logging, ``.env`` files, the configuration file to use."""
    configure_logging()
    if not folder.is_dir():
        raise StreamwardError(f"{folder} is not a folder; give the project's folder")
    for name in (".env.local", ".env"):
        load_dotenv(folder / name)
    return config or find_file(folder)


def local_choice(model: Path | None) -> tuple[Path | None, str]:
    """The GGUF file to serve and its model name: the one asked for, else the shipped toy if an engine is there."""
    if model is not None:
        if not engine_available():
            raise StreamwardError("no local engine is installed: run `pip install 'streamward[local]'`")
        check_gguf(model)
        return model, f"local/{model.stem}"
    tiny = tiny_model_path()
    return (tiny, TINY_MODEL_NAME) if tiny is not None and engine_available() else (None, TINY_MODEL_NAME)


def checked_serve(
    settings: Settings, greet: Callable[[str], None], around: Callable[[Any], Any] | None, *, page: bool
) -> int:
    """Serve, with a port that is taken said in one line."""
    problem = port_problem(settings.host, settings.port)
    if problem is not None:
        raise StreamwardError(problem)
    return serve(settings, extra_routes=playground_routes() if page else (), greet=greet, around=around)


def port_problem(host: str, port: int) -> str | None:
    """Why *host*:*port* cannot be listened on; None if it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                return f"port {port} is in use on {host}; stop what listens there or choose another with --port"
            return f"cannot listen on {host}:{port}: {exc.strerror or exc}"
    return None


def say(text: str) -> None:
    sys.stderr.write(f"streamward: {text}\n")
    sys.stderr.flush()
