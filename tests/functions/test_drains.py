"""Log drains against a real collector: formats, signatures, batches, retries, restarts, bounds."""

import asyncio
import hashlib
import hmac
import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.functions.drains import PACK_CHARS, PACK_ENTRIES, drain_body, drain_headers, packed, retry_after
from streamward.functions.logs import LogBook, Origin
from streamward.functions.metrics import Metrics
from streamward.functions.settings import DrainConfig
from streamward.functions.spool import MAX_AGE_MS, Spool
from support.functions_server import serve

SAY = """
async def GET(request):
    for i in range(int(request.query_params["n"])):
        print("line", i)
    return "x"
"""


class Collector:
    """An HTTP server that keeps what it is sent and answers what it is told to."""

    def __init__(self) -> None:
        self.posts = []
        self.statuses = []
        self.headers = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = outer.statuses.pop(0) if outer.statuses else 200
                outer.posts.append((status, dict(self.headers.items()), body))
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def entries(self):
        return [entry for status, _, body in self.posts if status == 200 for entry in parse(body)]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def parse(body):
    return json.loads(body) if body.startswith(b"[") else [json.loads(line) for line in body.splitlines()]


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def toml(*drains):
    return "".join("[[drains]]\n" + "".join(f"{k} = {value(v)}\n" for k, v in drain.items()) for drain in drains)


def value(v):
    return "{" + ", ".join(f'"{k}" = "{w}"' for k, w in v.items()) + "}" if isinstance(v, dict) else json.dumps(v)


def lines(collector, request_id):
    return [e for e in collector.entries() if e.get("requestId") == request_id and e["type"] == "stdout"]


def test_entries_arrive_in_order_signed_and_batched(tmp_path, collector):
    drain = {"url": collector.url, "secret": "hush", "batch_max": 10, "batch_ms": 50}
    with serve(tmp_path / "p", {"api/say.py": SAY, "streamward.toml": toml(drain)}) as running:
        request_id = running.get("/api/say?n=25").get("x-streamward-id")
        running.wait(lambda: len(lines(collector, request_id)) == 25)

        assert [f"line {i}" for i in range(25)] == [e["message"] for e in lines(collector, request_id)]
        seqs = [e["seq"] for e in collector.entries() if e.get("requestId") == request_id]
        assert seqs == sorted(seqs)
        assert max(len(parse(body)) for _, _, body in collector.posts) == 10
        _, headers, body = collector.posts[0]
        headers = {name.lower(): value for name, value in headers.items()}
        assert headers["x-vercel-signature"] == hmac.new(b"hush", body, hashlib.sha1).hexdigest()
        stamp, signed = (part.split("=")[1] for part in headers["x-streamward-signature"].split(","))
        assert signed == hmac.new(b"hush", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        running.wait(lambda: running.metric("streamward_drain_delivered_total") >= 26)


def test_what_fails_is_sent_again_with_the_same_body(tmp_path, collector):
    collector.statuses = [500, 429, 503]
    drain = {"url": collector.url, "format": "ndjson", "batch_ms": 20, "headers": {"x-team": "a"}}
    collector.headers = {"retry-after": "0"}
    with serve(tmp_path / "p", {"api/say.py": SAY, "streamward.toml": toml(drain)}) as running:
        request_id = running.get("/api/say?n=1").get("x-streamward-id")
        running.wait(lambda: len(lines(collector, request_id)) == 1)

        bodies = [body for _, _, body in collector.posts[:4]]
        assert (len(set(bodies)), [status for status, _, _ in collector.posts[:4]]) == (1, [500, 429, 503, 200])
        headers = {name.lower(): value for name, value in collector.posts[0][1].items()}
        assert (headers["content-type"], headers["x-team"]) == ("application/x-ndjson", "a")
        assert running.metric("streamward_drain_retries_total") == 3


def test_a_refused_batch_is_dropped_and_the_next_goes_on(tmp_path, collector):
    collector.statuses = [400] * 5
    drain = {"url": collector.url, "batch_max": 1, "batch_ms": 0}
    with serve(tmp_path / "p", {"api/say.py": SAY, "streamward.toml": toml(drain)}) as running:
        running.get("/api/say?n=2")

        running.wait(lambda: running.metric("streamward_drain_failed_total") == 1, 40)
        running.wait(lambda: len(collector.entries()) == 2)


def test_entries_survive_a_restart_and_one_drain_never_holds_up_another(tmp_path, collector):
    dead = {"url": "http://127.0.0.1:9/in", "batch_ms": 20}
    files = {"api/say.py": SAY, "streamward.toml": toml(dead, {"url": collector.url, "batch_ms": 20})}
    with serve(tmp_path / "p", files) as running:
        first = running.get("/api/say?n=3").get("x-streamward-id")
        running.wait(lambda: len(lines(collector, first)) == 3)
    collector.server.shutdown()  # now the second one is away as well: it accepts, and does not answer
    with serve(tmp_path / "p", files) as running:
        second = running.get("/api/say?n=3").get("x-streamward-id")
        running.report(second)
    collector.thread.join()
    collector.thread = threading.Thread(target=collector.server.serve_forever)
    collector.thread.start()
    with serve(tmp_path / "p", files) as running:
        running.wait(lambda: len({e["id"] for e in lines(collector, second)}) == 3, 30)
        assert running.metric("streamward_drain_backlog") > 0


def test_the_spool_is_bounded_and_counts_what_it_drops(tmp_path):
    spool = Spool(tmp_path, 300_000, ["a", "b"])
    spool.append(1, [(10, b"x" * 10 + b"\n" + b"x\n" * 9)])
    spool.advance("a", 10)

    lost = spool.append(2, [(500, (b"x" * 200 + b"\n") * 500)] * 4)

    assert lost["b"] == lost["a"] + 10
    assert 0 < spool.bytes <= 300_000
    assert 2010 - lost["b"] == spool.backlog("b") == len(spool.read("b", 5000))
    spool.close()


def test_what_is_too_old_is_dropped_and_counted(tmp_path):
    spool = Spool(tmp_path, 1 << 20, ["a"])
    spool.append(1000, [(2, b"one\ntwo\n")])

    assert spool.append(1000 + MAX_AGE_MS, [(1, b"three\n")]) == {}
    assert spool.append(1001 + MAX_AGE_MS, [(1, b"four\n")]) == {"a": 2}
    assert [body for _, body in spool.read("a", 9)] == [b"three", b"four"]
    spool.close()


def test_what_every_drain_has_taken_is_deleted(tmp_path):
    """A row goes when all have taken the whole of it; each goes on where it stood, also after a restart."""
    spool = Spool(tmp_path, 1 << 20, ["a", "b"])
    spool.append(2, [(2, b"one\ntwo\n")])

    spool.advance("a", 2)
    spool.advance("b", 1)

    assert (spool.read("a", 9), spool.read("b", 9), spool.bytes) == ([], [(2, b"two")], 8)
    assert (spool.backlog("a"), spool.backlog("b")) == (0, 1)
    spool.close()
    again = Spool(tmp_path, 1 << 20, ["b"])
    assert again.read("b", 9) == [(2, b"two")]
    again.advance("b", 2)
    assert (again.read("b", 9), again.bytes) == ([], 0)
    again.append(3, [(1, b"three\n")])
    assert again.read("b", 9) == [(3, b"three")]
    again.close()
    empty = Spool(tmp_path, 1 << 20, ["b", "new"])
    assert (empty.backlog("b"), empty.backlog("new")) == (1, 0)
    empty.close()


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(1, 700)), max_size=6))
def test_a_drain_reads_every_entry_once_and_in_order(steps: list[tuple[int, int]]):
    """Whatever is stored and taken at a time, over the borders of rows."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), 1 << 30, ["a"])
        written, read = 0, []
        for stored, taken in steps:
            lines = [b"%d\n" % (written + number) for number in range(stored)]
            parts = [lines[at : at + 300] for at in range(0, stored, 300)]
            spool.append(1, [(len(part), b"".join(part)) for part in parts])
            written += stored
            batch = spool.read("a", taken)
            read.extend(int(body) for _, body in batch)
            spool.advance("a", batch[-1][0])
            assert spool.backlog("a") == written - len(read)
        read.extend(int(body) for _, body in spool.read("a", written + 1))
        spool.close()

    assert read == list(range(written))


def test_two_servers_on_one_folder_use_two_files(tmp_path):
    first, second = Spool(tmp_path, 1000, ["a"]), Spool(tmp_path, 1000, ["a"])
    first.append(1, [(1, b"x\n")])

    assert (first.backlog("a"), second.backlog("a")) == (1, 0)
    first.close()
    second.close()


def test_packs_are_small():
    """By number and by size; one long entry is a pack of its own."""
    book = LogBook(Origin("h", "p", "production", "dpl_1"))
    short = [book.add("info", "m") for _ in range(PACK_ENTRIES + 1)]
    long = [book.add("info", "x" * PACK_CHARS) for _ in range(2)]

    packs = packed([*short, *long])

    assert [count for count, _ in packs] == [PACK_ENTRIES, 2, 1]
    assert [lines.count(b"\n") for _, lines in packs] == [PACK_ENTRIES, 2, 1]
    assert packed([]) == []


def test_debug_is_sent_as_info():
    from streamward.functions.drains import drain_form

    book = LogBook(Origin("h", "p", "production", "dpl_1"))
    entry = book.add("debug", "m")

    assert (drain_form(entry).level, entry.level) == ("info", "debug")


def test_bodies_and_headers():
    config = DrainConfig(url="http://h/", format="ndjson")

    assert (
        drain_body(config, [b"a", b"b"]), drain_body(DrainConfig(url="http://h/"), [b"a", b"b"]),
    ) == (b"a\nb\n", b"[a,b]")  # fmt: skip
    assert "x-vercel-signature" not in drain_headers(config, b"", 0.0)


def test_retry_after_is_honoured_within_reason():
    import httpx

    def response(value):
        return httpx.Response(503, headers={"retry-after": value})

    now = 784111777.0
    assert [retry_after(response(v), now) for v in ("7", "9999", "Sun, 06 Nov 1994 08:49:47 GMT", "soon")] == [
        7.0,
        300.0,
        10.0,
        None,
    ]


async def test_the_inbox_never_blocks(tmp_path):
    """Without a running thread entries wait in memory, bounded."""
    from streamward.functions.drains import MAX_INBOX, DrainService

    metrics = Metrics()
    service = DrainService((DrainConfig(url="http://h/"),), tmp_path, 1000, metrics)
    entry = LogBook(Origin("h", "p", "production", "dpl_1")).add("info", "m")

    for _ in range(MAX_INBOX + 5):
        service.offer([entry])

    assert (len(service.inbox), metrics.counters["streamward_drain_dropped"][("http://h/",)]) == (MAX_INBOX, 5)
    await asyncio.sleep(0)
