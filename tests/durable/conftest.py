"""Every test that asks for ``backend`` runs on all stores: memory, real SQLite files, a real Redis or Valkey server.

``sqlite-settling`` settles its log after every few frames, so that reads find some in either place, and in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from support.durable import Backend, sqlite_place
from support.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(params=["memory", "sqlite", "sqlite-settling", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return make_backend(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "sqlite-settling", "redis"])
def shared_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Backends that several workers can share."""
    return make_backend(request.param, request, tmp_path)


def make_backend(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if kind != "redis":
        return Backend(kind, sqlite_place(tmp_path))
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    return Backend(kind, server.url)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as in production."""
    return {"uvloop": uvloop.new_event_loop}
