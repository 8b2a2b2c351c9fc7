"""Hot reload: what a change on disk means for routes and pools, and who watches the disk."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from watchfiles import Change, DefaultFilter, awatch

from streamward.functions.pool import Pool
from streamward.functions.router import Route, Router
from streamward.functions.scan import scan

if TYPE_CHECKING:
    from streamward.functions.host import FunctionsHost

DEBOUNCE_MS = 80  # an editor's several writes of one save
STEP_MS = 20
SUFFIXES = (".py", ".toml")
SKIPPED = frozenset({"node_modules", "__pycache__"})


def watched(folder: str, path: str) -> bool:
    """Whether a change of *path* may matter: sources and configuration, not in hidden or foreign folders."""
    relative = os.path.relpath(path, folder)
    *folders, name = relative.split(os.sep)
    if any(foreign(part) for part in folders):
        return False
    return name == "vercel.json" or name == ".env" or name.startswith(".env.") or name.endswith(SUFFIXES)


def may_hold_sources(folder: str, change: Change, path: str) -> bool:
    """Whether *path* is a folder that came or went: nothing is said of files that were in it before it was watched."""
    if change is Change.modified or any(foreign(part) for part in os.path.relpath(path, folder).split(os.sep)):
        return False
    return os.path.isdir(path) if change is Change.added else not os.path.splitext(path)[1]


def foreign(part: str) -> bool:
    return part.startswith(".") or part in SKIPPED or part == "site-packages"


class Watcher:
    """Calls ``host.apply`` with the paths that changed."""

    def __init__(self, host: FunctionsHost) -> None:
        self.host = host
        self.stop_event = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        folder = str(self.host.folder)

        class Filter(DefaultFilter):
            def __call__(self, change: Change, path: str) -> bool:
                return watched(folder, path) or may_hold_sources(folder, change, path)

        async for changes in awatch(
            folder, watch_filter=Filter(), debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=self.stop_event,
            rust_timeout=500, yield_on_timeout=False, raise_interrupt=False,
        ):  # fmt: skip
            try:
                self.host.apply({path for _, path in changes})
            except Exception as exc:
                # A reload that fails must not end reloading; what runs goes on.
                self.host.say("error", f"reload failed: {type(exc).__name__}: {exc}")

    async def stop(self) -> None:
        self.stop_event.set()
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)


def apply_changes(host: FunctionsHost, changed: set[str]) -> None:
    """Bring routes and pools in line with the disk after *changed* paths were written, made or deleted."""
    before, environment = host.scan, host.environment
    host.read_environment()
    fresh = scan(host.folder, host.environment)
    host.config = fresh.project.host
    host.add_vercel_environment()
    host.scan = fresh
    for problem in fresh.problems:
        if problem not in before.problems:
            host.say("error", str(problem))
    everything = host.environment != environment
    routes = {route.file: route for route in fresh.routes}
    if host.config.isolation == "app":
        reload_app(host, routes, changed, everything=everything)
    else:
        for file in [key for key in host.pools if key not in routes]:
            drop_pool(host, file)
        for file, route in routes.items():
            reload_function(host, file, route, changed, everything=everything)
    host.router = Router(fresh.routes, fresh.project.rewrites)


def drop_pool(host: FunctionsHost, key: str) -> None:
    pool = host.pools.pop(key)
    for file in pool.lanes:
        host.lanes.pop(file, None)
    pool.close()


def reload_function(host: FunctionsHost, file: str, route: Route, changed: set[str], *, everything: bool) -> None:
    pool = host.pools.get(file)
    if route.problem is not None:
        if pool is None:
            return
        if route.problem.code == "SYNTAX_ERROR" and pool.lanes[file].good:
            pool.lanes[file].stale = True
        else:
            drop_pool(host, file)
        return
    if pool is None:
        host.add_pool(file, [route])
        return
    if everything or route != pool.lanes[file].route or concerned(host, pool, changed):
        pool.reload({file: route})


def concerned(host: FunctionsHost, pool: Pool, changed: set[str]) -> bool:
    """Whether the pool's functions are made of a changed file; after a failure any source may be the cure."""
    sources = {path for path in changed if path.endswith(".py")}
    if any(lane.error or lane.stale for lane in pool.lanes.values()):
        return bool(sources)
    modules: set[str] = set()
    for worker in pool.workers:
        modules |= worker.modules
    modules |= {str(host.folder / file) for file in pool.lanes}
    return bool(sources & modules)


def reload_app(host: FunctionsHost, routes: dict[str, Route], changed: set[str], *, everything: bool) -> None:
    pool = host.pools.get("app")
    good = {file: route for file, route in routes.items() if route.problem is None}
    if pool is None:
        if good:
            host.add_pool("app", list(good.values()))
        return
    if set(good) != set(pool.lanes):
        broken = [f for f, r in routes.items() if r.problem is not None and f in pool.lanes]
        if broken and all(routes[file].problem.code == "SYNTAX_ERROR" for file in broken):  # type: ignore[union-attr]
            for file in broken:
                pool.lanes[file].stale = True
            if set(good) | set(broken) == set(pool.lanes):
                return
        drop_pool(host, "app")
        if good:
            host.add_pool("app", list(good.values()))
        return
    if everything or concerned(host, pool, changed) or any(pool.lanes[f].route != r for f, r in good.items()):
        pool.reload(good)
