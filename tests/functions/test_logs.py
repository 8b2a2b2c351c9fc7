"""Log capture: every way of saying something, attributed to its request, live, complete and bounded."""

import json
import textwrap
import time

import pytest

from support.functions_server import serve

FILES = {
    "api/say.py": """
        import asyncio, logging, os, subprocess, sys, threading
        from concurrent.futures import ThreadPoolExecutor
        log = logging.getLogger("mine")
        pool = ThreadPoolExecutor(1)
        async def GET(request):
            print("print")
            print("err", file=sys.stderr)
            sys.stdout.write("par")
            sys.stdout.write("tial\\nrest")
            sys.stdout.buffer.write("bytes é\\n".encode())
            for level in ("debug", "info", "warning", "error", "critical"):
                getattr(log, level)("log %s", level)
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("trouble")
            asyncio.get_running_loop().create_task(say("task"))
            await asyncio.to_thread(print, "to_thread")
            await asyncio.get_running_loop().run_in_executor(pool, print, "executor")
            thread = threading.Thread(target=print, args=("thread",))
            thread.start()
            thread.join()
            os.write(1, b"raw out\\n")
            os.write(2, b"raw err\\n")
            subprocess.run(["echo", "child"])
            return "x"
        async def say(word):
            print(word)
        def POST():
            print("sync")
            return "x"
        """,
    "api/live.py": """
        import asyncio
        async def GET():
            print("now")
            yield "a"
            await asyncio.sleep(1)
            yield "b"
        """,
    "api/many.py": """
        async def GET(request):
            n = int(request.query_params["n"])
            for i in range(n):
                print("line", i)
            print("x" * 300_000)
            return "x"
        """,
    "api/who.py": """
        import asyncio
        async def GET(request):
            for i in range(20):
                print(request.query_params["w"])
                await asyncio.sleep(0.005)
            return "x"
        """,
    "streamward.toml": '[functions]\nproject = "demo"\n',
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = {name: textwrap.dedent(text) for name, text in FILES.items()}
    with serve(tmp_path_factory.mktemp("logs") / "project", files) as running:
        yield running


def test_every_way_of_saying_something(server):
    answer = server.get("/api/say", {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"})
    request_id = answer.get("x-streamward-id")
    server.report(request_id)
    entries = server.logs(request_id)
    said = {entry["message"]: (entry["level"], entry["type"]) for entry in entries}

    assert {
        "print": ("info", "stdout"), "err": ("error", "stderr"), "partial": ("info", "stdout"),
        "restbytes é": ("info", "stdout"),
        "log debug": ("debug", "stderr"), "log info": ("info", "stderr"), "log warning": ("warning", "stderr"),
        "log error": ("error", "stderr"), "log critical": ("fatal", "stderr"), "task": ("info", "stdout"),
        "to_thread": ("info", "stdout"), "executor": ("info", "stdout"), "thread": ("info", "stdout"),
        "raw out": ("info", "stdout"), "raw err": ("error", "stderr"), "child": ("info", "stdout"),
    }.items() <= said.items()  # fmt: skip
    assert any(m.startswith("trouble\nTraceback") and m.endswith("ZeroDivisionError: division by zero") for m in said)
    assert list(range(1, len(entries) + 1)) == [entry["seq"] for entry in entries]
    first, last = entries[0], entries[-1]
    assert (
        first["projectId"], first["path"], first["method"], first["entrypoint"], first["traceId"], first["environment"],
        first["source"],
    ) == ("demo", "/api/say", "GET", "api/say.py", "a" * 32, "production", "lambda")  # fmt: skip
    assert (last["type"], last["outcome"], last["statusCode"], last["bytes"]) == ("report", "ok", 200, 1)
    assert {"id", "timestamp", "host", "deploymentId", "instanceId", "durationMs", "ttfbMs"} <= set(last)
    assert len({entry["id"] for entry in entries}) == len(entries)


def test_concurrent_requests_keep_their_own_lines(server):
    connections = [server.open("GET", f"/api/who?w=w{i}") for i in range(8)]
    ids = [connection.head().get("x-streamward-id") for connection in connections]

    for i, request_id in enumerate(ids):
        server.report(request_id)
        assert [f"w{i}"] * 20 == [e["message"] for e in server.logs(request_id) if e["type"] == "stdout"]


def test_entries_are_live_while_the_response_is_open(server):
    follow = server.open("GET", "/_streamward/logs?follow=1")
    follow.head()
    began = time.time()
    stream = server.open("GET", "/api/live")
    stream.head()

    text = follow.chunk().decode()

    entry = json.loads(text.split("data: ")[1].split("\n")[0])
    assert ("now", True, f"id: {entry['id']}") == (entry["message"], time.time() - began < 0.3, text.split("\n")[0])
    follow.close()


def test_lines_received_and_dropped_are_lines_written(server):
    answer = server.get("/api/many?n=30000")
    request_id = answer.get("x-streamward-id")
    report = server.report(request_id)
    entries = server.logs(request_id)

    # The ring retains 10,000; what it has let go were the oldest, by number.
    dropped = server.metric("streamward_log_dropped_total", function="api/many.py")
    notices = 1 if dropped else 0
    assert report["seq"] + dropped - notices == 30_001 + 1
    long = next(entry for entry in entries if entry["message"].startswith("xx"))
    assert (long["messageTruncated"], len(long["message"])) == (True, 256 << 10)


def test_filters(server):
    server.ask("POST", "/api/say", body=b"")
    errors = server.get("/_streamward/logs?level=error&since=1h").text

    assert {"error", "fatal"} >= {json.loads(line[6:])["level"] for line in errors.split("\n") if line.startswith("data: ")}
    assert server.get("/_streamward/logs?level=loud").status == 400
    assert server.get("/_streamward/logs?since=yesterday").status == 400
    assert server.get("/_streamward/logs?since=2999-01-01T00:00:00Z").text == ""
    plain = server.get("/_streamward/logs")
    assert (plain.complete, plain.text.count("\ndata: ")) == (True, 100)
