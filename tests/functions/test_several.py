"""Functions under several server workers: one host, whichever worker a connection comes to, whichever of them dies."""

import http.client
import os
import re
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.functions_server import Connection, Server, alive, children, run_serve

FUNCTION = """
import asyncio, os
async def GET(request):
    for i in range(int(request.query_params["n"])):
        yield f"{os.getppid()};"
        await asyncio.sleep(0.05)

async def POST(request):
    body = await request.body()
    return {"bytes": len(body), "sum": sum(body)}
"""
CONFIG = "[auth]\nrequired = false\n[server]\ndrain_s = 4\n[models.m]\ntargets = ['demo/echo?tps=0&ttft_ms=0']\n"
PATIENCE_S = 90  # three workers end and start, one after the other
ROUNDS = 12  # connections: each of three workers gets some, in all likelihood


@contextmanager
def several(folder: Path, workers: int = 3):
    (folder / "api").mkdir()
    (folder / "api/s.py").write_text(FUNCTION)
    (folder / "streamward.toml").write_text(CONFIG)
    server, _ = run_serve(folder, "--workers", str(workers))
    try:
        server.wait(lambda: answers(server), PATIENCE_S)
        yield server
    finally:
        server.stop()
        server.process.communicate(timeout=20)


def answers(server: Server) -> bool:
    try:
        return server.get("/readyz").status == 200
    except OSError:
        return False


def own_workers(server: Server) -> list[int]:
    return [pid for pid in children(server.process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def hosting(server: Server) -> int:
    """The worker that runs the functions host: the parent of what forks the functions' processes."""
    zygote = int(server.get("/api/s?n=1").text.strip(";"))
    return next(pid for pid in own_workers(server) if zygote in children(pid))


def test_one_connection_asks_for_everything_in_turn(tmp_path):
    hosts = set()
    with several(tmp_path) as server:
        for _ in range(ROUNDS):
            connection = Connection(server.port)
            ask = lambda *request: connection.rest(connection.send(*request).head())  # noqa: E731, B023
            assert ask("GET", "/v1/models").status == 200
            hosts.add(ask("GET", "/api/s?n=1").text)
            assert ask("GET", "/v1/models").status == 200
            assert (ask("GET", "/nope").status, ask("GET", "/api/nope").get("x-streamward-error")) == (404, "NOT_FOUND")
            assert ask("GET", "/_streamward/routes").json()
            connection.close()
        server.wait(lambda: server.metric("streamward_invocations_total", function="api/s.py", outcome="ok") == ROUNDS)
        counts = {server.get("/metrics").text.count("streamward_invocations_total{") for _ in range(4)}

    assert (len(hosts), counts) == (1, {1})


def test_bodies_arrive_whole_however_much_of_them_was_read_first(tmp_path):
    with several(tmp_path) as server:
        for size in (0, 1, 1000, 100_000, 3_000_000, 100_000, 1000, 1):
            body = b"\x01" * size
            assert server.ask("POST", "/api/s", None, body).json() == {"bytes": size, "sum": size}
            chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
            answer = server.ask("POST", "/api/s", {"transfer-encoding": "chunked"}, chunked)
            assert answer.json() == {"bytes": size, "sum": size}
        waiting = server.open("POST", "/api/s", {"expect": "100-continue", "content-length": "3"})
        waiting.sock.sendall(b"abc")
        assert waiting.rest(waiting.head()).json()["bytes"] == 3


def test_the_death_of_the_host_costs_what_ran_in_it_and_no_more(tmp_path):
    with several(tmp_path) as server:
        host = hosting(server)
        running = server.open("GET", "/api/s?n=400")
        head = running.head()
        running.chunk()
        os.kill(host, signal.SIGKILL)

        assert not running.rest(head).complete
        after = [server.get("/api/s?n=2") for _ in range(ROUNDS)]  # the first ones wait for the next host
        assert all(answer.complete and len(answer.chunks) == 2 for answer in after)
        assert hosting(server) != host
        server.wait(lambda: len(own_workers(server)) == 3, PATIENCE_S)


@pytest.mark.parametrize("which", ["host", "all"])
def test_a_worker_that_is_replaced_finishes_what_it_runs_while_the_next_host_serves(tmp_path, which):
    failures: list[str] = []
    over = threading.Event()

    def ask_on() -> None:
        while not over.is_set():
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            try:
                client.request("GET", "/api/s?n=1")
                answer = client.getresponse()
                text = answer.read()
                if answer.status not in (200, 503) or not text:
                    failures.append(f"{answer.status} {text!r}")
            except ConnectionError:
                pass  # accepted by the one that ends, which closes what is idle
            finally:
                client.close()

    with several(tmp_path) as server:
        host = hosting(server)
        running = server.open("GET", "/api/s?n=20")
        head = running.head()
        asking = threading.Thread(target=ask_on)
        asking.start()
        os.kill(host if which == "host" else server.process.pid, signal.SIGTERM if which == "host" else signal.SIGHUP)
        finished = running.rest(head)
        server.wait(lambda: not alive(host), PATIENCE_S)
        server.wait(lambda: len(own_workers(server)) == 3 and answers(server), PATIENCE_S)
        over.set()
        asking.join()
        again = server.get("/api/s?n=1")

    assert (len(finished.chunks), finished.complete) == (20, True)
    assert not failures
    assert again.chunks != finished.chunks[:1], "another host serves"


def test_no_process_outlives_a_killed_server(tmp_path):
    with several(tmp_path) as server:
        pids = [*own_workers(server), *(pid for worker in own_workers(server) for pid in children(worker))]
        running = server.open("GET", "/api/s?n=400")
        head = running.head()
        server.process.kill()

        assert not running.rest(head).complete
        server.wait(lambda: not any(alive(pid) for pid in pids))


def test_all_end_together_within_their_grace(tmp_path):
    with several(tmp_path) as server:
        pids = [*own_workers(server), *(pid for worker in own_workers(server) for pid in children(worker))]
        short, long = server.open("GET", "/api/s?n=8"), server.open("GET", "/api/s?n=400")
        heads = short.head(), long.head()
        server.process.send_signal(signal.SIGTERM)
        finished, cut = short.rest(heads[0]), long.rest(heads[1])
        _, said = server.process.communicate(timeout=20)

    assert (len(finished.chunks), finished.complete, cut.complete) == (8, True, False)
    assert server.process.returncode == 0
    assert not any(alive(pid) for pid in pids)
    assert not re.search(rb"Traceback|Error", said)
