"""The life of a worker: import, answer the front's control messages, run invocations, stop."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import time
import traceback
from typing import Any

from streamward.functions import link
from streamward.functions.worker import capture, compat
from streamward.functions.worker.asgi import Lifespan, run_asgi
from streamward.functions.worker.channel import Channel
from streamward.functions.worker.context import CURRENT, Invocation, log
from streamward.functions.worker.handler import run_handler
from streamward.functions.worker.load import Loaded, load, project_modules
from streamward.functions.worker.methods import serve_method
from streamward.functions.worker.pages import MalformedBody, serve_pages
from streamward.functions.worker.wsgi import run_wsgi

MAX_TRACEBACK = 32 << 10  # characters: it must fit a control packet


class Worker:
    """One worker process."""

    def __init__(self, spec: link.WorkerSpec, control: socket.socket, logs: capture.LogPipe) -> None:
        self.spec = spec
        self.control = control
        self.logs = logs
        self.loaded: dict[str, Loaded] = {}
        self.errors: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.lifespans: dict[str, Lifespan] = {}
        self.invocations: dict[str, Invocation] = {}
        self.modules: set[str] = set()
        self.unsaid: list[bytes] = []
        self.stopping = asyncio.Event()
        self.grace = 0.0
        self.loop: asyncio.AbstractEventLoop

    def import_all(self) -> None:
        """Before the loop runs, so that a module may use ``asyncio.run`` while it is imported."""
        for function in self.spec.functions:
            self.import_one(function)

    def import_one(self, function: link.FunctionSpec) -> None:
        began = time.perf_counter()
        try:
            self.loaded[function.file] = load(function, self.spec.folder)
            self.errors.pop(function.file, None)
        except BaseException as exc:  # SystemExit at import is a failed import like any other
            self.errors[function.file] = format_error(exc)
        self.seconds[function.file] = time.perf_counter() - began

    async def run(self) -> None:
        self.loop = asyncio.get_running_loop()
        compat.widen_thread_pool(self.spec.max_concurrency)
        compat.widen_executor(self.loop, self.spec.max_concurrency)
        for function in self.spec.functions:
            await self.start_function(function)
        gc.collect()
        gc.freeze()  # what was imported lives as long as the process
        self.modules = project_modules(self.spec.folder)
        self.say(link.Ready(sorted(self.modules)))
        self.loop.add_reader(self.control.fileno(), self.hear)
        await self.stopping.wait()
        self.loop.remove_reader(self.control.fileno())
        await asyncio.gather(*(lifespan.stop(self.grace) for lifespan in self.lifespans.values()))

    async def start_function(self, function: link.FunctionSpec) -> None:
        """Run the lifespan start-up of an app, then report the import."""
        loaded = self.loaded.get(function.file)
        if loaded is not None and loaded.kind == "asgi":
            lifespan = Lifespan(loaded.target)
            try:
                await lifespan.start()
                self.lifespans[function.file] = lifespan
            except RuntimeError as exc:
                self.errors[function.file] = format_error(exc)
                del self.loaded[function.file]
        loaded = self.loaded.get(function.file)
        error = self.errors.get(function.file, "")
        kind, methods = (loaded.kind, loaded.method_names) if loaded else ("", [])
        self.say(link.Imported(function.file, error, kind, methods, self.seconds[function.file]))

    # -- control

    def say(self, message: link.FromWorker) -> None:
        data = link.pack(message)
        if not self.unsaid:
            try:
                self.control.send(data)
                return
            except BlockingIOError:
                self.loop.add_writer(self.control.fileno(), self.say_rest)
            except OSError:
                os._exit(0)  # the front has gone
        self.unsaid.append(data)

    def say_rest(self) -> None:
        while self.unsaid:
            try:
                self.control.send(self.unsaid[0])
            except BlockingIOError:
                return
            except OSError:
                os._exit(0)
            self.unsaid.pop(0)
        self.loop.remove_writer(self.control.fileno())

    def hear(self) -> None:
        for _ in range(64):  # then let the others have a turn
            try:
                data, fds, _, _ = socket.recv_fds(self.control, link.PACKET_SIZE, 1)
            except BlockingIOError:
                return
            except OSError:
                os._exit(0)
            if not data:
                os._exit(0)
            self.obey(link.unpack_to_worker(data), fds)

    def obey(self, message: link.ToWorker, fds: list[int]) -> None:
        if isinstance(message, link.Invoke):
            self.invoke(message, fds[0])
        elif isinstance(message, link.Cancel):
            self.cancel(message)
        elif isinstance(message, link.Ping):
            self.say(link.Pong(message.number))
        elif isinstance(message, link.Reimport):
            self.reimport(message.file)
        else:
            self.grace = message.grace
            self.stopping.set()

    def reimport(self, file: str) -> None:
        function = next(function for function in self.spec.functions if function.file == file)
        self.import_one(function)
        self.loop.create_task(self.start_function(function))

    def cancel(self, message: link.Cancel) -> None:
        invocation = self.invocations.get(message.request_id)
        if invocation is not None:
            CURRENT_TOKEN = CURRENT.set(invocation)  # noqa: N806
            invocation.cancel(message.reason)
            CURRENT.reset(CURRENT_TOKEN)
            if invocation.in_thread:
                self.say(link.Lingers(message.request_id))

    # -- invocations

    def invoke(self, call: link.Invoke, fd: int) -> None:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        channel = Channel(sock, self.loop, has_body=call.has_body)
        invocation = Invocation(call, channel, self.loop)
        self.invocations[call.request_id] = invocation
        token = CURRENT.set(invocation)
        compat.enter_vercel_context(call.headers)
        invocation.task = self.loop.create_task(self.attend(invocation))
        CURRENT.reset(token)

    async def attend(self, invocation: Invocation) -> None:
        """Run one invocation to its very end and tell the front."""
        channel = invocation.channel
        try:
            if not self.begin(invocation):
                return
            await self.serve(invocation)
            if not (channel.ended or channel.closed or invocation.gone.is_set()):
                self.fail(invocation, *unfinished(channel))
        except asyncio.CancelledError:
            if not invocation.gone.is_set():
                self.fail(invocation, "FUNCTION_INVOCATION_FAILED", "the function cancelled itself", "")
        except MalformedBody as exc:
            self.fail(invocation, "MALFORMED_REQUEST_BODY", str(exc), "")
        except BaseException as exc:
            if isinstance(exc, OSError) and (invocation.gone.is_set() or channel.closed):
                log.debug("the client left while the function was writing")
            else:
                self.fail(invocation, "FUNCTION_INVOCATION_FAILED", f"{type(exc).__name__}: {exc}", format_error(exc))
        finally:
            invocation.task = None
            self.loop.create_task(self.finish(invocation))  # outside this task: nothing may cancel it

    def begin(self, invocation: Invocation) -> bool:
        """Say that the invocation starts; False when the front has given it to another worker meanwhile."""
        try:
            invocation.channel.write(link.frame(link.BEGUN))
        except BrokenPipeError:
            return False
        return True

    async def serve(self, invocation: Invocation) -> None:
        call = invocation.call
        loaded = self.loaded[call.file]
        content_type = loaded.spec.content_type
        if loaded.kind == "methods":
            await serve_method(invocation, loaded.methods[call.call], content_type)
        elif loaded.kind == "asgi":
            lifespan = self.lifespans.get(call.file)
            await run_asgi(invocation, loaded.target, state=lifespan.state if lifespan else None)
        elif loaded.kind == "wsgi":
            await run_wsgi(invocation, loaded.target)
        elif loaded.kind == "handler":
            await run_handler(invocation, loaded.target)
        else:
            await serve_pages(invocation, loaded.target, content_type)

    def fail(self, invocation: Invocation, code: str, message: str, trace: str) -> None:
        """Tell front and log; the log entry is written here so that it carries the request."""
        if trace:
            self.logs.entry("error", trace.rstrip())
        channel = invocation.channel
        if channel.closed or channel.ended:
            return
        try:
            channel.write(link.frame(link.FAIL, link.pack(link.Failure(code, message[:1000], trace))))
        except BrokenPipeError:
            pass

    async def finish(self, invocation: Invocation) -> None:
        channel = invocation.channel
        try:
            await channel.drain()
        except BrokenPipeError:
            pass
        if not channel.ended:
            channel.close()
        if invocation.background or invocation.registering:
            self.say(link.Lingers(invocation.request_id))
        await invocation.finish_background()
        channel.close()
        self.logs.finish(invocation.request_id)
        limit = self.loop.time() + capture.DONE_WAIT_S
        while self.logs.holds(invocation.request_id) and self.loop.time() < limit:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        del self.invocations[invocation.request_id]
        self.report_modules()
        self.say(link.Done(invocation.request_id))

    def report_modules(self) -> None:
        """Modules imported inside functions matter to reload as well; looked for only when something was imported."""
        if len(sys.modules) != self.module_count:
            self.module_count = len(sys.modules)
            fresh = project_modules(self.spec.folder) - self.modules
            if fresh:
                self.modules |= fresh
                self.say(link.Modules(sorted(fresh)))

    module_count = 0


def unfinished(channel: Channel) -> tuple[str, str, str]:
    """(code, message, traceback) for a function that returned without ending its response."""
    if not channel.head_sent:
        return "NO_RESPONSE_FROM_FUNCTION", "the function ended without any response", ""
    return "FUNCTION_INVOCATION_FAILED", "the function ended in the middle of its response", ""


def format_error(exc: BaseException) -> str:
    """The traceback from the first frame of user code on."""
    tb: Any = exc.__traceback__
    while tb is not None and ("/streamward/functions/" in tb.tb_frame.f_code.co_filename or is_import_machinery(tb)):
        tb = tb.tb_next
    text = "".join(traceback.format_exception(type(exc), exc, tb or exc.__traceback__))
    return text if len(text) <= MAX_TRACEBACK else text[: MAX_TRACEBACK // 2] + "\n...\n" + text[-MAX_TRACEBACK // 2 :]


def is_import_machinery(tb: Any) -> bool:
    return "importlib" in tb.tb_frame.f_code.co_filename
