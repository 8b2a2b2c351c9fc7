"""A server's life as its operator sees it: start, signals, drain, edits of the configuration, what it writes."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.gateway_server import COMMAND, Process, streamward

KEY = "sw-operator-key"
UPSTREAM_SECRET = "sk-very-secret-upstream"
CONFIG = f"""
[server]
drain_s = 1
[auth]
keys = ["env:CLIENT_KEY"]
[providers.mock]
base_url = "http://user:{UPSTREAM_SECRET}@127.0.0.1:1/v1"
api_key = "{UPSTREAM_SECRET}"
retries = 0
"""
HEADERS = {"authorization": f"Bearer {KEY}"}
ENVIRON = {"CLIENT_KEY": KEY}
FAST = "demo/chat?tps=0&ttft_ms=0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "streamward.toml").write_text(CONFIG)
    with streamward("serve", ".", "--port", "0", cwd=tmp_path, environ=ENVIRON) as process:
        yield process


def ask(server: Process, model: str = FAST, *, stream: bool = True, key: str = KEY) -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    return requests.post(
        f"{server.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, stream=stream, timeout=15
    )


def begun(answer: requests.Response) -> Iterator[bytes]:
    """The reads of a stream whose first token has come."""
    reads = answer.iter_content(chunk_size=None)
    next(reads)
    return reads


def wait_for(condition: object, patience_s: float = 30) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def refuses_connections(server: Process) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_streams_finish_and_takes_no_new_ones(server: Process, number: int):
    with ask(server, "demo/lorem?tps=40&ttft_ms=0&tokens=20") as answer:
        reads = begun(answer)
        server.signal(number)
        wait_for(lambda: refuses_connections(server))
        rest = b"".join(reads)

    assert rest.endswith(b"data: [DONE]\n\n")
    assert server.wait() == 0


def test_streams_that_outlast_the_grace_end_with_server_shutdown(server: Process):
    """``drain_s`` is 1 here. No ``[DONE]``, a body that ends properly, and a client that knows why."""
    with ask(server, "demo/lorem?tps=20&ttft_ms=0&tokens=5000") as answer:
        reads = begun(answer)
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        rest = b"".join(reads)
        took = time.monotonic() - started

    last = json.loads(rest.split(b"\n\n")[-2].removeprefix(b"data: "))
    assert last["error"]["code"] == "server_shutdown"
    assert b"[DONE]" not in rest
    assert 0.8 < took < 4
    assert server.wait() == 0
    records = [json.loads(line) for line in server.output()[0].splitlines()]
    assert [(record["ending"], record["code"]) for record in records] == [("failed", "server_shutdown")]


def test_development_does_not_wait_half_a_minute_for_a_stream(tmp_path: Path):
    """Ctrl-C under ``dev``: the stream is told, and the program is gone within seconds."""
    with streamward("dev", "--port", "0", cwd=tmp_path) as server:
        with ask(server, "demo/lorem?tps=20&ttft_ms=0&tokens=5000") as answer:
            reads = begun(answer)
            started = time.monotonic()
            server.signal(signal.SIGINT)
            rest = b"".join(reads)
            took = time.monotonic() - started

        assert b"server_shutdown" in rest
        assert took < 8
        assert server.wait() == 0


def test_a_call_without_a_token_yet_gets_503_at_the_end_of_the_grace(server: Process):
    with requests.Session() as session:
        body = {"model": "demo/chat?ttft_ms=60000", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        found: list[requests.Response] = []
        thread = threading.Thread(target=lambda: found.append(
            session.post(f"{server.url}/v1/chat/completions", json=body, headers=HEADERS, timeout=15)))  # fmt: skip
        thread.start()
        wait_for(lambda: b'streams_active 1' in requests.get(f"{server.url}/metrics", timeout=5).content)
        server.signal(signal.SIGTERM)
        thread.join(10)

    assert (found[0].status_code, found[0].json()["error"]["code"]) == (503, "server_shutdown")
    assert server.wait() == 0


def test_a_second_signal_ends_at_once(server: Process):
    with ask(server, "demo/lorem?tps=20&ttft_ms=0&tokens=5000") as answer:
        begun(answer)
        server.signal(signal.SIGTERM)
        wait_for(lambda: refuses_connections(server))
        server.signal(signal.SIGTERM)
        assert server.wait() == 1  # 0 is what the end of the grace gives


def rewrite(server_folder: Path, text: str) -> None:
    """Replace the file the way editors do."""
    new = server_folder / "streamward.toml.new"
    new.write_text(text)
    new.rename(server_folder / "streamward.toml")


def known(server: Process, model: str) -> bool:
    return model in requests.get(f"{server.url}/v1/models", headers=HEADERS, timeout=5).text


@pytest.mark.parametrize("how", ["change", "SIGHUP"])
def test_the_configuration_is_read_again_without_cutting_streams(server: Process, tmp_path: Path, how: str):
    with ask(server, "demo/lorem?tps=20&ttft_ms=0&tokens=60") as answer:
        reads = begun(answer)
        rewrite(tmp_path, CONFIG + '[models."team/best"]\ntargets = ["demo/chat"]\n')
        if how == "SIGHUP":
            server.signal(signal.SIGHUP)
        wait_for(lambda: known(server, "team/best"))
        rest = b"".join(reads)

    assert rest.endswith(b"data: [DONE]\n\n")
    assert ask(server, "team/best", stream=False).status_code == 200


def test_a_new_key_holds_and_an_old_one_no_longer(server: Process, tmp_path: Path):
    rewrite(tmp_path, CONFIG.replace("env:CLIENT_KEY", "sw-another-key"))
    server.signal(signal.SIGHUP)
    wait_for(lambda: ask(server, stream=False, key="sw-another-key").status_code == 200)

    assert ask(server, stream=False).status_code == 401


BAD_EDITS = ("[server\n", "[serverr]\nport = 1\n", '[server]\nport = "x"\n', '[auth]\nkeys = ["env:NOT_SET"]\n')


@pytest.mark.parametrize("bad", BAD_EDITS)
def test_a_bad_edit_keeps_the_old_configuration_and_says_why(server: Process, tmp_path: Path, bad: str):
    rewrite(tmp_path, bad)
    server.signal(signal.SIGHUP)
    line = ""
    assert server.process.stderr is not None
    while "config_reload_refused" not in line:
        line = server.process.stderr.readline()

    assert "streamward.toml" in line, "the reason stands in the log"
    assert ask(server, stream=False).status_code == 200


STARTS = {
    "an unknown table": ("[serverr]\nport = 1", 'unknown key \'serverr\'; did you mean "server"?'),
    "an unknown key": ("[server]\nprot = 1", 'unknown key \'server.prot\'; did you mean "port"?'),
    "an unknown provider key": ('[providers.openai]\napikey = "x"', 'did you mean "api_key"?'),
    "a wrong type": ('[server]\nport = "x"', "server.port"),
    "out of range": ("[server]\nport = 70000", "server.port"),
    "a missing variable": ('[auth]\nkeys = ["env:NOT_SET_ANYWHERE"]', "NOT_SET_ANYWHERE"),
    "no TOML": ("[server", "not valid TOML"),
    "a provider nobody knows": ('[providers.opnai]\napi_key = "x"', 'did you mean "openai"?'),
    "a base_url that is none": ('[providers.x]\nbase_url = "127.0.0.1:8000"', "providers.x.base_url must be an http"),
    "a key with a line feed inside": ('[providers.openai]\napi_key = "a\\nb"', "cannot stand in a header"),
    "not UTF-8": ("\udcff", "is not UTF-8"),
    "no key at all": ("", "there is no client key"),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_configuration_that_cannot_be_used_is_one_sentence(tmp_path: Path, name: str):
    """Exit code 1, the file and the key path, what to write instead; no traceback."""
    text, expected = STARTS[name]
    (tmp_path / "streamward.toml").write_bytes(text.encode(errors="surrogateescape"))
    done = subprocess.run([*COMMAND, "serve", ".", "--port", "0"], cwd=tmp_path, capture_output=True, text=True, timeout=20,
                          check=False)  # fmt: skip

    assert (done.returncode, done.stdout) == (1, "")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert name == "no key at all" or "streamward.toml" in done.stderr


def test_secrets_stand_nowhere(server: Process, tmp_path: Path):
    """Not in records, logs, metrics, errors, model lists or the process's title."""
    seen = [ask(server, "mock/x", stream=False).text, ask(server, "mock/x").text, ask(server, key="wrong").text]
    seen += [requests.get(f"{server.url}{path}", headers=HEADERS, timeout=5).text
             for path in ("/v1/models", "/metrics", "/openapi.json", "/docs")]  # fmt: skip
    title = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    rewrite(tmp_path, CONFIG + "nonsense")
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    server.wait()
    out, err = server.output()

    for secret in (KEY, UPSTREAM_SECRET):
        assert not any(secret in text for text in seen)
        assert secret not in out
        assert secret not in err
        assert secret.encode() not in title


def test_one_record_per_request_with_its_ending_and_figures(server: Process):
    ask(server, stream=False)
    ask(server).content  # noqa: B018 - read to the end
    ask(server, "demo/fail?tps=0&ttft_ms=0").content  # noqa: B018
    ask(server, "nobody/x")
    ask(server, key="wrong")
    requests.get(f"{server.url}/v1/models", headers=HEADERS, timeout=5)
    requests.get(f"{server.url}/healthz", timeout=5)
    metrics = requests.get(f"{server.url}/metrics", timeout=5).text
    server.signal(signal.SIGTERM)
    server.wait()
    records = [json.loads(line) for line in server.output()[0].splitlines()]

    assert [(r["route"], r["status"], r["ending"]) for r in records] == [
        ("/v1/chat/completions", 200, "finished"), ("/v1/chat/completions", 200, "finished"),
        ("/v1/chat/completions", records[2]["status"], "failed"), ("/v1/chat/completions", 404, "refused"),
        ("/v1/chat/completions", 401, "refused"), ("/v1/models", 200, "finished"),
    ]  # fmt: skip
    whole, streamed = records[:2]
    assert len({r["id"] for r in records}) == 6
    assert whole["key"].startswith("key-")
    for record in (whole, streamed):
        assert (record["grade"], record["target"], record["attempts"]) == ("exact", "demo/chat?tps=0&ttft_ms=0", 1)
        assert record["output_tokens"] > 0
        assert record["bytes_out"] > 100
        assert record["ttft_ms"] <= record["duration_ms"]
    assert "hi" not in json.dumps([r for r in records if "messages" in r]), "never prompts"
    assert 'streamward_requests_total{route="/v1/chat/completions",status="200"}' in metrics
    assert 'streamward_endings_total{ending="finished",target="demo/chat' in metrics
    for name in ("time_to_first_token_seconds_bucket", "inter_token_gap_seconds", "tokens_total", "event_loop_lag_seconds",
                 "streams_active 0.0", "upstream_connections"):  # fmt: skip
        assert f"streamward_{name}" in metrics


def test_several_workers_share_the_port_and_end_together(tmp_path: Path):
    (tmp_path / "streamward.toml").write_text(CONFIG)
    with streamward("serve", ".", "--port", "0", "--workers", "2", cwd=tmp_path, environ=ENVIRON) as server:
        wait_for(lambda: not refuses_connections(server))
        answers = [ask(server, stream=False).status_code for _ in range(6)]
        server.signal(signal.SIGTERM)

        assert server.wait() == 0
    assert answers == [200] * 6


def test_any_worker_tells_the_figures_of_all_and_of_those_that_ended(tmp_path: Path):
    (tmp_path / "streamward.toml").write_text(CONFIG)

    def scrape(server: Process) -> tuple[float, float]:
        """(requests answered with 200, calls being served), each scrape on a connection of its own."""
        text = requests.get(f"{server.url}/metrics", timeout=10).text
        answered = re.search(r'streamward_requests_total\{route="/v1/chat/completions",status="200"\} (\S+)', text)
        active = re.search(r"^streamward_streams_active (\S+)", text, re.MULTILINE)
        assert active is not None
        return float(answered[1]) if answered else 0, float(active[1])

    with streamward("serve", ".", "--port", "0", "--workers", "3", cwd=tmp_path, environ=ENVIRON) as server:
        wait_for(lambda: not refuses_connections(server))
        for _ in range(12):
            assert ask(server, stream=False).status_code == 200
        wait_for(lambda: scrape(server) == (12, 0))
        assert {scrape(server) for _ in range(8)} == {(12, 0)}

        parent = server.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        worker = next(pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(int(worker), signal.SIGTERM)  # an orderly end; the supervisor starts another
        wait_for(lambda: worker not in Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        wait_for(lambda: not refuses_connections(server))
        wait_for(lambda: scrape(server) == (12, 0))
