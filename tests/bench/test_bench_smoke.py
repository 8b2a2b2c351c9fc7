"""The load tools compile, agree with each other on every event, and notice what they are meant to notice.

Counts, and no bound on how long anything takes, so the tests hold on a busy machine.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
FRAMING_EVENTS = 4  # role, finish, usage, [DONE]

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("make") or not shutil.which("cc"),
    reason="the load tools need Linux, make and a C compiler",
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both tools, compiled with warnings as errors into a directory of the test's own."""
    directory = tmp_path_factory.mktemp("bin")
    flags = "-O2 -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror"
    subprocess.run(["make", "-s", "-C", BENCH / "load", f"BIN={directory}", f"CFLAGS={flags}"], check=True)
    return directory


@pytest.fixture
def mock(tools: Path) -> Iterator[int]:
    with subprocess.Popen([tools / "mock_upstream"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
        process.terminate()


def load(tools: Path, port: int, tmp_path: Path, *options: object, model: str = "bench-16-0", **body: object) -> Any:
    path = tmp_path / "body.json"
    request = {"model": model, "messages": [], "stream": True, "stream_options": {"include_usage": True}, **body}
    path.write_text(json.dumps(request))
    command = [tools / "load", "--port", port, "--body", path, *options]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == (1 if json.loads(result.stdout)["errors_total"] else 0)
    return json.loads(result.stdout)


def get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def post(port: int, body: dict[str, object]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_every_event_of_every_stream_arrives_on_reused_connections(tools: Path, mock: int, tmp_path: Path) -> None:
    result = load(tools, mock, tmp_path, "--connections", 8, "--requests", 400, "--events", 16 + FRAMING_EVENTS)
    stats = get(mock, "/stats")

    assert (result["ok"], result["errors_total"], result["events"]) == (400, 0, 400 * 20)
    assert result["connections_opened"] == 8
    assert (stats["requests"], stats["streams_finished"], stats["streams_active"]) == (400, 400, 0)
    assert stats["connections_accepted"] == 8 + 1


def test_paced_streams_come_event_by_event(tools: Path, mock: int, tmp_path: Path) -> None:
    """With pauses between its tokens each stream is read in pieces, and no piece is lost."""
    result = load(tools, mock, tmp_path, "--connections", 20, "--requests", 20, "--events", 9, model="bench-5-2")

    assert (result["ok"], result["errors_total"]) == (20, 0)
    assert result["gap_us"]["count"] == 20 * 8


def test_json_requests(tools: Path, mock: int, tmp_path: Path) -> None:
    result = load(tools, mock, tmp_path, "--connections", 4, "--requests", 200, stream=False)

    assert (result["ok"], result["errors_total"], result["events"]) == (200, 0, 0)


def test_held_streams_stay_open_until_told(tools: Path, mock: int, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"model": "bench-idle", "stream": true}')
    command = [str(tools / "load"), "--port", str(mock), "--body", str(body), "--connections", "50", "--hold"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        active = get(mock, "/stats")["streams_active"]
        process.stdin.close()
        result = json.loads(process.stdout.read())

    assert (announced, active) == ({"holding": 50}, 50)
    assert (result["held"], result["errors_total"]) == (50, 0)


def test_the_mock_speaks_chat_completions(mock: int) -> None:
    status, text = post(mock, {"model": "mock/bench-2-0", "stream": True})
    frames = text.split("\n\n")
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]

    assert status == 200
    assert frames[-2:] == ["data: [DONE]", ""]
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": " the"},
        {"content": " quick"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert {"chat.completion.chunk"} == {chunk["object"] for chunk in chunks}


def test_the_mock_adds_usage_only_when_asked(mock: int) -> None:
    _, text = post(mock, {"model": "bench-2-0", "stream": True, "stream_options": {"include_usage": True}})
    last = json.loads(text.split("\n\n")[-3].removeprefix("data: "))

    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 2)


def test_the_mock_refuses_unknown_models(mock: int) -> None:
    status, text = post(mock, {"model": "gpt-4o"})

    assert (status, json.loads(text)["error"]["code"]) == (404, "model_not_found")


GOOD = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"junk\r\n\r\n", "framing"),
        (STREAM_HEAD + b"xyz\r\n", "framing"),
        (STREAM_HEAD + chunk(GOOD), "truncated"),
        (STREAM_HEAD + chunk(GOOD) + b"0\r\n\r\n", "no_terminal"),
        (STREAM_HEAD + chunk(b"data: [DONE]\n\n" + GOOD) + b"0\r\n\r\n", "no_terminal"),
        (STREAM_HEAD + chunk(b'data: {"error":{}}\n\ndata: [DONE]\n\n') + b"0\r\n\r\n", "error_event"),
        (STREAM_HEAD + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", "event_count"),
    ],
)
def test_load_names_what_is_wrong_with_a_stream(tools: Path, tmp_path: Path, answer: bytes, cause: str) -> None:
    """A benchmark that does not see broken streams would praise the gateway that breaks them fastest."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while not connection.recv(65536).endswith(b"}"):
                    pass
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        result = load(tools, server.getsockname()[1], tmp_path, "--events", 2)
        thread.join()

    assert {cause: 1} == {name: count for name, count in result["errors"].items() if count}


def test_load_reads_a_stream_cut_at_every_byte(tools: Path, tmp_path: Path) -> None:
    """Head, chunk sizes, lines and the terminal marker split over reads change nothing; comments are no events."""
    answer = STREAM_HEAD + chunk(b": keep-alive\n\n" + GOOD[:9]) + chunk(GOOD[9:]) + chunk(b"data: [DONE]\n\n")
    answer += b"0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while not connection.recv(65536).endswith(b"}"):
                    pass
                for byte in answer:
                    connection.sendall(bytes([byte]))

        thread = threading.Thread(target=serve)
        thread.start()
        result = load(tools, server.getsockname()[1], tmp_path, "--events", 2)
        thread.join()

    assert (result["ok"], result["errors_total"], result["ttft_us"]["count"]) == (1, 0, 1)


def test_pauses_differ_so_that_clients_do_not_come_into_step(tools: Path, tmp_path: Path) -> None:
    """A busy machine only draws the pauses further apart."""
    pauses: list[float] = []
    answer = STREAM_HEAD + chunk(GOOD + b"data: [DONE]\n\n") + b"0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                answered = 0.0
                for _ in range(12):
                    while not connection.recv(65536).endswith(b"}"):
                        pass
                    pauses.append(time.monotonic() - answered)
                    connection.sendall(answer)
                    answered = time.monotonic()

        thread = threading.Thread(target=serve)
        thread.start()
        result = load(tools, server.getsockname()[1], tmp_path, "--events", 2, "--requests", 12, "--think-ms", 40)
        thread.join()

    assert result["ok"] == 12
    assert max(pauses[1:]) - min(pauses[1:]) > 0.01  # of 20 to 60 ms


def test_quick_run_prints_a_table_and_writes_the_result(tmp_path: Path) -> None:
    """`bench/run.py` end to end without a gateway: mock, load, table, JSON with machine facts."""
    output = tmp_path / "result.json"
    command = [sys.executable, str(BENCH / "run.py"), "--quick", "--only", "ttft", "--targets", "direct"]
    done = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True, check=False, timeout=100)
    report = json.loads(output.read_text())

    assert (done.returncode, done.stderr) == (0, "")
    assert "added time to" in done.stdout
    assert [result["target"] for result in report["results"]] == ["direct"]
    assert report["results"][0]["rounds"][0]["load"]["ok"] == 400  # a tenth of the whole
    assert {"cpu", "cores", "kernel", "python", "commit", "date"} <= report["machine"].keys()
