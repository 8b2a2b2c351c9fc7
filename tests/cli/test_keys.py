"""``streamward keys`` and ``usage`` as a person uses them: real processes beside a real server, on SQLite and PostgreSQL."""

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.commands import streamward_run
from support.gateway_server import streamward
from support.postgres_server import PostgresServer, server_binaries
from support.raw_http import chat

SECRET_CHARS = 51


def run(cwd: Path, *arguments: str):
    return streamward_run(*arguments, cwd=cwd)


def made(cwd: Path, *options: str) -> str:
    done = run(cwd, "keys", "create", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def listed(cwd: Path, *options: str) -> list[dict]:
    return json.loads(run(cwd, "keys", "list", "--json", *options).stdout)


@pytest.mark.parametrize("command", [["keys"], ["keys", "create"], ["keys", "list"], ["keys", "revoke"], ["usage"]])
def test_help_has_an_example(tmp_path: Path, command: list[str]):
    done = run(tmp_path, *command, "--help")

    assert done.returncode == 0
    assert "Example" in done.stdout or command == ["keys"]


def test_the_secret_is_shown_once_alone_on_standard_output(tmp_path: Path):
    done = run(tmp_path, "keys", "create", "--name", "ci")
    secret = done.stdout.strip()
    later = run(tmp_path, "keys", "list", "--all").stdout + run(tmp_path, "keys", "list", "--json").stdout

    assert (len(secret), done.stdout.count("\n")) == (SECRET_CHARS, 1)
    assert "cannot be shown again" in done.stderr
    assert secret not in done.stderr
    assert secret not in later
    files = b"".join(path.read_bytes() for path in (tmp_path / ".streamward").iterdir())
    assert secret[9:].encode() not in files


def test_what_a_key_may_is_kept_and_listed(tmp_path: Path):
    made(tmp_path, "--name", "small", "--rpm", "60", "--tpm", "1000", "--streams", "3", "--budget-usd", "2.5",
         "--budget-period", "month", "--max-duration", "120", "--expires", "30d")  # fmt: skip
    (key,) = listed(tmp_path)
    table = run(tmp_path, "keys", "list").stdout

    assert key["limits"] == {
        "requests_per_minute": 60, "tokens_per_minute": 1000, "concurrent_streams": 3, "budget_usd": 2.5,
        "budget_period": "month", "max_duration_s": 120.0,
    }  # fmt: skip
    assert abs(key["expires_at"] - time.time() - 30 * 86400) < 60
    assert "60 rpm, 1000 tpm, 3 streams, 120 s, $2.5/month" in table


@pytest.mark.parametrize(
    "options",
    [
        ["--rpm", "-1"], ["--rpm", "x"], ["--budget-period", "year"], ["--expires", "soon"], ["--name", "x" * 65],
        ["--name", "a\nb"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_makes_nothing(tmp_path: Path, options: list[str]):
    done = run(tmp_path, "keys", "create", *options)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert not (tmp_path / ".streamward").exists()


def test_problems_are_exit_code_1_in_one_sentence(tmp_path: Path):
    made(tmp_path, "--name", "ci")
    twice, nobody = run(tmp_path, "keys", "create", "--name", "ci"), run(tmp_path, "keys", "revoke", "nobody")

    assert (twice.returncode, twice.stdout, twice.stderr.count("\n")) == (1, "", 1)
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)


def test_listing_where_nothing_is_creates_nothing(tmp_path: Path):
    done = [run(tmp_path, "keys", "list"), run(tmp_path, "usage"), run(tmp_path, "usage", "--json")]

    assert [one.returncode for one in done] == [0, 0, 0]
    assert done[2].stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_serve_without_any_key_says_how_to_make_one(tmp_path: Path):
    done = run(tmp_path, "serve", "--port", "0")

    assert done.returncode == 1
    assert "streamward keys create" in done.stderr


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer(binaries)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_key_from_its_making_to_its_end(tmp_path: Path, database: str, request: pytest.FixtureRequest):
    """Made beside a running server, used at once, limited, accounted for, revoked within seconds."""
    url = "sqlite:state.db" if database == "sqlite" else request.getfixturevalue("postgres").url
    (tmp_path / "streamward.toml").write_text(f'[auth]\nkeys = ["static"]\n[storage]\nurl = "{url}"\n')
    with streamward("serve", "--port", "0", "--log-format", "off", cwd=tmp_path) as server:

        def post(secret: str, model: str = "demo/echo?tps=0&ttft_ms=0"):
            return requests.post(
                server.url + "/v1/chat/completions", json=chat(model, stream=False), timeout=15,
                headers={"authorization": f"Bearer {secret}"},
            )  # fmt: skip

        secret = made(tmp_path, "--name", "ci", "--rpm", "3")
        answers = [post(secret) for _ in range(4)]
        other = made(tmp_path, "--name", "other")
        assert post(other).status_code == 200
        wait_for(lambda: sum(line["requests"] for line in usage(tmp_path, "--by", "key")) == 4)
        report = {line["key"]: line for line in usage(tmp_path, "--by", "key")}
        table = run(tmp_path, "usage", "--by", "key,model,day", "--since", "1h").stdout
        assert run(tmp_path, "keys", "revoke", "ci").returncode == 0
        assert run(tmp_path, "keys", "revoke", "other").returncode == 0
        started = time.monotonic()
        wait_for(lambda: post(other).status_code == 401)
        took = time.monotonic() - started

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert (report["ci"]["requests"], report["ci"]["cancelled"], report["ci"]["failed"]) == (3, 0, 0)
    assert report["ci"]["output_tokens"] > 0
    assert report["ci"]["cost_usd"] == 0.0
    assert report["ci"]["ttft_p99_ms"] >= report["ci"]["ttft_p50_ms"] >= 0
    assert [line.split("\t")[:2] for line in table.splitlines()[1:]] == [["ci", MODEL], ["other", MODEL]]
    assert took < 6
    assert [key["state"] for key in listed(tmp_path, "--all")] == ["revoked", "revoked"]
    assert listed(tmp_path) == []


MODEL = "demo/echo?tps=0&ttft_ms=0"


def usage(cwd: Path, *options: str) -> list[dict]:
    return json.loads(run(cwd, "usage", "--json", *options).stdout)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the server needs the processor, too


def answers(url: str) -> bool:
    """Workers listen a moment after their address is known."""
    try:
        return requests.get(url, timeout=15).ok
    except requests.ConnectionError:
        return False


def test_two_workers_know_a_new_key_and_write_to_one_database(tmp_path: Path):
    (tmp_path / "streamward.toml").write_text('[auth]\nkeys = ["static"]\n[storage]\nurl = "sqlite:state.db"\n')
    with streamward("serve", "--port", "0", "--workers", "2", "--log-format", "off", cwd=tmp_path) as server:
        wait_for(lambda: answers(server.url + "/healthz"))
        secret = made(tmp_path, "--name", "ci")
        statuses = []
        for _ in range(20):  # a connection each: the system picks the worker
            headers = {"authorization": f"Bearer {secret}", "connection": "close"}
            url = server.url + "/v1/chat/completions"
            statuses.append(requests.post(url, json=chat(MODEL, stream=False), headers=headers, timeout=15).status_code)
        wait_for(lambda: sum(line["requests"] for line in usage(tmp_path)) == 20)

    assert statuses == [200] * 20


def test_usage_groups_by_what_there_is_only(tmp_path: Path):
    done = run(tmp_path, "usage", "--by", "key; DROP TABLE usage")

    assert (done.returncode, done.stdout) == (2, "")


def test_a_name_is_data(tmp_path: Path):
    name = "x'); DROP TABLE client_keys; --"
    made(tmp_path, "--name", name)

    assert run(tmp_path, "keys", "revoke", name).returncode == 0
    with sqlite3.connect(tmp_path / ".streamward" / "streamward.db") as connection:
        assert connection.execute("SELECT name FROM client_keys").fetchall() == [(name,)]
    connection.close()
