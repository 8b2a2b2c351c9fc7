"""Configuration: ``streamward.toml`` and the environment, read strictly.

An unknown key, a wrong type or a missing variable is an error at start that names file, key path and a likely fix.
The same file holds the functions host's tables (``[functions]``, ``[[rewrites]]``, ``[[drains]]``); they are read there.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streamward.dataplane.exchange import render_fields
from streamward.errors import InvalidRequest, StreamwardError
from streamward.gateway.key_limits import KeyLimits
from streamward.upstream.cards import Price
from streamward.upstream.providers import Auth
from streamward.wire.table import DIALECTS

DEFAULT_FILE = "streamward.toml"
FOREIGN_TABLES = frozenset({"functions", "rewrites", "drains"})
PATH_IN_ERROR = re.compile(r" - at `\$\.?(.*)`$")

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class ConfigError(StreamwardError):
    """The configuration cannot be used; the message says where and what to write instead."""

    code = "config_error"


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """Shared options of the tables."""


class Server(Strict, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8787
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    drain_s: Seconds = 30.0
    responses_done: Literal["cr", "plain", "off"] = "cr"


class Auth_(Strict, frozen=True):  # noqa: N801 - `Auth` is how an upstream is authenticated
    required: bool = True
    keys: tuple[str, ...] = ()


class ProviderTimeouts(Strict, frozen=True):
    connect: Seconds = 5.0
    first_byte: Seconds = 60.0
    idle: Seconds = 60.0
    total: Seconds = 900.0


class ProviderTable(Strict, frozen=True):
    """``[providers.NAME]``; what a known provider's row says holds where nothing is written."""

    base_url: str | None = None
    dialect: Literal["chat_completions", "responses", "messages", "generate_content", "ollama", "converse"] | None = None
    api_key: str | None = None
    auth: Auth | None = None
    timeouts: ProviderTimeouts = ProviderTimeouts()
    headers: dict[str, str] = {}
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    ends_with: Literal["marker", "finish", "eof"] | None = None
    models: tuple[str, ...] = ()
    """Model ids to list in ``/v1/models``."""
    model: str | None = None
    """Provider ``local`` only: path of the GGUF file."""


class ModelTable(Strict, frozen=True):
    targets: Annotated[tuple[str, ...], Meta(min_length=1)]
    strategy: Literal["order", "weighted", "latency", "hedge"] = "order"
    weights: tuple[float, ...] = ()
    hedge_after_ms: Count = 0
    """0: after the recent p95 time to first token."""
    continue_midstream: bool = False


class Limits(Strict, frozen=True):
    max_body_bytes: Count = 33_554_432
    max_concurrent_streams: Count = 10_000
    max_memory_bytes: Count = 0
    """Of one process; 0: a part of the container's limit, if there is one."""
    max_head_bytes: Count = 32_768
    max_event_bytes: Count = 4_194_304
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    requests_per_minute: Count = 0
    tokens_per_minute: Count = 0
    concurrent_streams: Count = 0
    budget_usd: Annotated[float, Meta(ge=0)] = 0.0
    budget_period: Literal["total", "month", "day"] = "total"
    """Calendar months and days, UTC."""
    max_duration_s: Seconds = 0.0
    """Longest call of a key."""

    def per_key(self) -> KeyLimits:
        """What holds for every key that has no limits of its own."""
        return KeyLimits(
            self.requests_per_minute, self.tokens_per_minute, self.concurrent_streams, self.budget_usd, self.budget_period,
            self.max_duration_s,
        )  # fmt: skip


class Streams(Strict, frozen=True):
    store: str = "memory"
    durable: Literal["on_request", "always", "never"] = "on_request"
    retention_s: Seconds = 3600.0
    on_disconnect: Literal["cancel", "drain", "detach"] = "cancel"
    keepalive_s: Seconds = 15.0
    drain_s: Seconds = 60.0
    """``on_disconnect = "drain"``: longest reading on for usage."""
    drain_tokens: Count = 4096
    lease_s: Annotated[float, Meta(gt=0)] = 10.0
    """How long a worker may be silent before its durable streams are ended as interrupted."""
    orphan_timeout_s: Seconds = 300.0
    """A durable stream that nobody reads is stopped after this time; background responses never are."""
    stream_bytes: Count = 64 << 20
    """One durable stream; past it the oldest frames go."""
    store_bytes: Count = 1 << 30
    """All durable streams; past it the content of ended ones goes."""


class Storage(Strict, frozen=True):
    url: str = "sqlite:.streamward/streamward.db"
    retention_s: Seconds = 30 * 86400.0
    max_responses: Count = 100_000
    max_response_bytes: Count = 8 << 30
    """JSON of all stored responses; past a bound the oldest are forgotten."""
    usage_retention_s: Seconds = 400 * 86400.0
    """Rows of ``streamward usage``; what a key has spent is kept. 0: for ever."""


class Logging(Strict, frozen=True):
    content: bool = False
    format: Literal["json", "pretty", "off"] = "json"


class Config(Strict, frozen=True):
    """The whole file."""

    server: Server = Server()
    auth: Auth_ = Auth_()
    providers: dict[str, ProviderTable] = {}
    models: dict[str, ModelTable] = {}
    limits: Limits = Limits()
    streams: Streams = Streams()
    storage: Storage = Storage()
    logging: Logging = Logging()
    prices: dict[str, Price] = {}
    """``[prices."provider/model"]`` or ``"provider/*"``, US dollars per million tokens; they go before the catalogue's."""


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in *path*, with ``env:NAME`` values filled in; the defaults when *path* is None.

    Raises:
        ConfigError: the file cannot be read or used.
    """
    environ = os.environ if environ is None else environ
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror or exc})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    return parse(text, str(path), environ)


def parse(text: str, where: str, environ: Mapping[str, str]) -> Config:
    """The configuration that *text* (TOML) is; *where* names it in errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{where}: not valid TOML: {exc}") from None
    return from_tables(raw, where, environ)


def from_tables(raw: dict[str, Any], where: str, environ: Mapping[str, str]) -> Config:
    """The configuration that *raw* (the file's tables) is.

    Raises:
        ConfigError: naming the key path.
    """
    raw = {key: value for key, value in raw.items() if key not in FOREIGN_TABLES}
    known_keys(raw, Config, where, "")
    filled = fill(raw, where, "", environ)
    try:
        config = msgspec.convert(filled, Config)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{where}: {readable(str(exc))}") from None
    for name, table in config.providers.items():
        check_provider(name, table, where)
    for name, model in config.models.items():
        check_model(name, model, where)
    return config


def known_keys(raw: Mapping[str, Any], kind: type[Struct], where: str, at: str) -> None:
    """Refuse unknown keys before types are looked at, with the nearest known one."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in raw.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; known keys: {', '.join(sorted(fields))}"
            raise ConfigError(f"{where}: unknown key {(at + key)!r}{hint}")
        inner = fields[key]
        if isinstance(inner, type) and issubclass(inner, Struct) and isinstance(value, dict):
            known_keys(value, inner, where, f"{at}{key}.")
        elif key in TABLES and isinstance(value, dict):
            for name, table in value.items():
                if isinstance(table, dict):
                    known_keys(table, TABLES[key], where, f"{at}{key}.{name}.")


def fill(value: Any, where: str, at: str, environ: Mapping[str, str]) -> Any:
    """*value* with every ``env:NAME`` string replaced by that variable."""
    if isinstance(value, dict):
        return {key: fill(item, where, f"{at}.{key}" if at else key, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, where, f"{at}[{i}]", environ) for i, item in enumerate(value)]
    if isinstance(value, str) and value.startswith("env:"):
        name = value[4:]
        if not environ.get(name):
            raise ConfigError(
                f"{where}: {at} names the environment variable {name}, which is not set; set it or remove the key"
            )
        return environ[name].strip()  # secrets mounted from files often end in a line feed
    return value


def readable(message: str) -> str:
    """msgspec's sentence with the key path first."""
    match = PATH_IN_ERROR.search(message)
    if match is None:
        return message
    return f"{match.group(1)}: {message[: match.start()]}"


def check_provider(name: str, table: ProviderTable, where: str) -> None:
    from streamward.upstream.providers import PROVIDERS
    from streamward.upstream.upstream import parse_base_url

    try:
        render_fields([*table.headers.items(), ("authorization", table.api_key or "")])
    except (ValueError, UnicodeEncodeError):
        raise ConfigError(
            f"{where}: providers.{name}: api_key or a header holds characters that cannot stand in a header"
        ) from None
    if table.base_url is not None:
        try:
            parse_base_url(table.base_url)
        except (InvalidRequest, ValueError):  # its words hold the URL, and with it perhaps a password
            raise ConfigError(
                f"{where}: providers.{name}.base_url must be an http or https URL with a host, e.g. http://127.0.0.1:8000/v1"
            ) from None
    if name == "demo" or name in PROVIDERS:
        return
    if name == "local":
        if table.model is None:
            raise ConfigError(f"{where}: providers.local needs model, the path of a GGUF file")
        return
    if table.base_url is None:
        near = difflib.get_close_matches(name, PROVIDERS, 1)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        raise ConfigError(f"{where}: providers.{name} is not a provider streamward knows{hint} and needs base_url")


def check_model(name: str, table: ModelTable, where: str) -> None:
    if table.weights and len(table.weights) != len(table.targets):
        raise ConfigError(
            f"{where}: models.{name}.weights has {len(table.weights)} numbers for {len(table.targets)} targets; give each one"
        )
    if table.weights and (min(table.weights) < 0 or not 0 < sum(table.weights) < float("inf")):
        raise ConfigError(f"{where}: models.{name}.weights must be numbers from 0 on, not all of them 0")


def find_file(folder: Path) -> Path | None:
    """``streamward.toml`` in *folder*, if it is there."""
    path = folder / DEFAULT_FILE
    return path if path.is_file() else None


TABLES: dict[str, type[Struct]] = {"providers": ProviderTable, "models": ModelTable, "prices": Price}
assert set(DIALECTS) >= {"chat_completions", "responses"}
