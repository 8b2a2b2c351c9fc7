"""The commands as a person uses them: real processes, their output, their exit codes."""

import fcntl
import json
import os
import pty
import re
import select
import socket
import subprocess
import termios
import time
from pathlib import Path

import pytest
import requests

from support.gateway_server import COMMAND, streamward
from support.raw_http import chat

COMMANDS = ("dev", "serve", "run", "chat", "models", "doctor")
CLEAN = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_BASE_URL", "_TOKEN"))}


def streamward_run(
    *arguments: str, cwd: Path, stdin: str | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, input=stdin or "", capture_output=True, text=True, timeout=30,
                          check=False, env={**CLEAN, "COLUMNS": "120", **(environ or {})})  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(tmp_path: Path, command: str):
    done = streamward_run(command, "--help", cwd=tmp_path)

    assert done.returncode == 0
    assert f"streamward {command}" in done.stdout
    assert "Example" in done.stdout


def test_the_version(tmp_path: Path):
    done = streamward_run("--version", cwd=tmp_path)

    assert re.fullmatch(r"streamward \d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["run"], ["run", "demo/chat", "x", "--nonsense"], ["serve", "--port", "x"]]
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: list[str]):
    done = streamward_run(*arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


FAST = "?tps=0&ttft_ms=0"


def test_run_prints_plain_text_when_piped(tmp_path: Path):
    done = streamward_run("run", f"demo/echo{FAST}", "say this", cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "say this\n", "")


def test_run_reads_the_prompt_from_standard_input(tmp_path: Path):
    done = streamward_run("run", f"demo/echo{FAST}", cwd=tmp_path, stdin="piped in")

    assert (done.returncode, done.stdout) == (0, "piped in\n")


def test_run_json_prints_the_events_of_the_grammar(tmp_path: Path):
    done = streamward_run("run", f"demo/echo{FAST}", "a b", "--json", cwd=tmp_path)
    events = [json.loads(line) for line in done.stdout.splitlines()]

    types = [event["type"] for event in events]
    assert (types[0], types[1], types[-2], types[-1]) == ("start", "text-start", "text-end", "finish")
    assert "".join(event["delta"] for event in events if event["type"] == "text-delta") == "a b"
    assert events[-1]["usage"]["output_tokens"] == 2


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("demo/fail?tps=0&ttft_ms=0", "upstream"),
        ("demo/chat?fail_with=truncate&fail_after=2&tps=0&ttft_ms=0", "without saying that it was finished"),
        ("demo/nothing", "there is no model demo/nothing"),
        ("nobody/x", "no target serves"),
        ("openai/gpt-4o", "OPENAI_API_KEY"),
    ],
)
def test_run_that_fails_says_why_in_one_sentence(tmp_path: Path, model: str, says: str):
    done = streamward_run("run", model, "x", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith("streamward: ")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr or says == "upstream"


def test_run_without_a_prompt_is_wrong_usage(tmp_path: Path):
    assert streamward_run("run", "demo/chat", cwd=tmp_path).returncode == 2


def test_run_on_the_local_model(tmp_path: Path):
    done = streamward_run("run", "local/tiny", "What is streamward?", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 10


def test_a_reader_that_goes_away_is_no_error_message(tmp_path: Path):
    """``streamward run ... | head -1``: the pipe breaks; no traceback."""
    command = [*COMMAND, "run", "demo/lorem?tps=0&ttft_ms=0&tokens=90000", "x"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        err = process.stderr.read().decode()
        process.wait(20)

    assert "Traceback" not in err


def test_models_lists_what_can_be_named_and_where_keys_come_from(tmp_path: Path):
    plain = streamward_run("models", cwd=tmp_path)
    machine = streamward_run("models", "--json", cwd=tmp_path, environ={"GROQ_API_KEY": "gsk-secret-key"})
    found = json.loads(machine.stdout)
    ready = {row["provider"]: row["ready"] for row in found["providers"]}

    assert (plain.returncode, machine.returncode) == (0, 0)
    assert "demo/chat" in plain.stdout
    assert "OPENAI_API_KEY" in plain.stdout
    assert (ready["groq"], ready["openai"]) == (True, False)
    assert "demo/chat" in found["models"]
    assert "gsk-secret-key" not in plain.stdout + machine.stdout


def test_doctor_finds_what_is_wrong(tmp_path: Path):
    good = streamward_run("doctor", cwd=tmp_path)
    mock = '[providers.mock]\nbase_url = "http://127.0.0.1:1/v1"\napi_key = "sk-doc-secret"\n'
    (tmp_path / "streamward.toml").write_text(mock)
    unreachable = streamward_run("doctor", cwd=tmp_path)
    (tmp_path / "streamward.toml").write_text("[serverr]\n")
    broken = streamward_run("doctor", cwd=tmp_path)

    assert good.returncode == 0, good.stdout
    assert "ok    configuration" in good.stdout
    assert (unreachable.returncode, broken.returncode) == (1, 1)
    assert "FAIL  provider mock: does not answer" in unreachable.stdout
    assert "sk-doc-secret" not in unreachable.stdout + unreachable.stderr
    assert "did you mean" in broken.stdout


def test_serve_without_a_key_refuses_with_a_sentence(tmp_path: Path):
    done = streamward_run("serve", "--port", "0", cwd=tmp_path)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "auth.keys" in done.stderr
    assert "auth.required = false" in done.stderr


def test_a_port_in_use_is_said_in_a_sentence(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = streamward_run("dev", "--port", port, cwd=tmp_path)

    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_none(tmp_path: Path):
    done = streamward_run("serve", "nowhere", cwd=tmp_path)

    assert (done.returncode, "nowhere" in done.stderr) == (1, True)


def test_dev_serves_the_page_and_the_models_without_a_key(tmp_path: Path):
    with streamward("dev", ".", "--port", "0", cwd=tmp_path) as server:
        page = requests.get(f"{server.url}/", timeout=10)
        models = requests.get(f"{server.url}/v1/models", timeout=10)
        answer = requests.post(f"{server.url}/v1/chat/completions", json=chat(f"demo/chat{FAST}"), timeout=10)
        rebound = requests.get(f"{server.url}/v1/models", headers={"host": "evil.example"}, timeout=10)

    assert page.headers["content-type"].startswith("text/html")
    assert "demo/chat" in models.text
    assert answer.text.endswith("data: [DONE]\n\n")
    assert rebound.status_code == 421


def test_the_port_of_the_environment_is_honoured(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "streamward.toml").write_text("[auth]\nrequired = false\n")

    with streamward("serve", cwd=tmp_path, environ={"PORT": str(port)}) as server:
        assert server.port == port
        assert requests.get(f"{server.url}/v1/models", timeout=10).status_code == 200


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([*COMMAND, *arguments], cwd=cwd, stdin=slave, stdout=slave, stderr=slave, env=CLEAN,
                                        start_new_session=True, preexec_fn=take_terminal)  # fmt: skip
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str, patience_s: float = 60) -> None:
        deadline = time.monotonic() + patience_s
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come; seen: {self.seen[-500:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        assert text in self.seen, f"ended before {text!r}; seen: {self.seen[-500:]!r}"
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def interrupt(self, then: str) -> None:
        """Ctrl-C at the prompt, until *then* is seen: CPython looks for signals before it waits for keys, and one that comes
        in between is noticed with the next key."""
        for _ in range(3):
            self.type("\x03")
            if select.select([self.master], [], [], 5)[0]:
                break
        self.wait_for(then)

    def end(self) -> int:
        self.type("\x04")
        code = self.process.wait(15)
        os.close(self.master)
        return code


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_chat_streams_answers_with_their_figures_and_keeps_the_conversation(tmp_path: Path):
    terminal = Terminal("chat", f"demo/echo{FAST}", cwd=tmp_path)
    terminal.wait_for("> ")
    terminal.type("hello there\n")
    terminal.wait_for("hello there")
    terminal.wait_for("hello there")  # the echo of the terminal, then the model's
    terminal.wait_for("first token")
    terminal.wait_for("tokens/s")
    terminal.wait_for("> ")
    terminal.type("again\n")
    terminal.wait_for("tokens/s")
    terminal.wait_for("> ")

    assert terminal.end() == 0


def test_control_c_stops_the_answer_not_the_program(tmp_path: Path):
    terminal = Terminal("chat", "demo/lorem?tps=40&ttft_ms=0&tokens=5000", cwd=tmp_path)
    terminal.wait_for("> ")
    terminal.type("talk\n")
    terminal.wait_for("talk")  # the terminal's echo
    terminal.wait_for("orem")
    terminal.type("\x03")
    terminal.wait_for("stopped")
    terminal.wait_for("> ")

    assert terminal.process.poll() is None
    assert terminal.end() == 0


def test_control_c_at_the_prompt_clears_the_line(tmp_path: Path):
    """What was typed is not asked, and the program goes on."""
    terminal = Terminal("chat", f"demo/echo{FAST}", cwd=tmp_path)
    terminal.wait_for("> ")
    terminal.type("never mind")
    terminal.wait_for("never mind")
    terminal.interrupt("> ")
    terminal.type("asked instead\n")
    terminal.wait_for("asked instead")

    terminal.wait_for("asked instead")

    terminal.wait_for("tokens/s")
    assert "never mind" not in terminal.seen
    terminal.wait_for("> ")
    assert terminal.end() == 0


def test_arrow_up_brings_back_the_last_question(tmp_path: Path):
    terminal = Terminal("chat", f"demo/echo{FAST}", cwd=tmp_path)
    terminal.wait_for("> ")
    terminal.type("hello there\n")
    terminal.wait_for("tokens/s")
    terminal.wait_for("> ")

    terminal.type("\x1b[A")

    terminal.wait_for("hello there")
    terminal.type("\n")
    terminal.wait_for("hello there")
    terminal.wait_for("tokens/s")
    terminal.wait_for("> ")
    assert terminal.end() == 0


def test_a_failed_answer_says_why_and_the_conversation_goes_on(tmp_path: Path):
    """The words that came stay, the cause is named, and the next question is asked as ever."""
    terminal = Terminal("chat", f"demo/lorem{FAST}&tokens=20&fail_after=6&fail_with=error", cwd=tmp_path)
    terminal.wait_for("> ")
    terminal.type("talk\n")

    terminal.wait_for("orem")

    terminal.wait_for("interrupted")
    terminal.wait_for("upstream_error")
    terminal.wait_for("> ")
    terminal.type("/new\n")
    terminal.wait_for("A new conversation")
    terminal.wait_for("> ")
    assert terminal.end() == 0
