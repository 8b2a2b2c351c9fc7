"""``routes``, ``logs`` and ``drain test`` as commands."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import typer
from typer.testing import CliRunner

from streamward.cli.functions import register
from support.functions_server import serve

app = typer.Typer()
register(app)
runner = CliRunner()


def test_routes_prints_the_table_and_problems_apart(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api/a.py").write_text("def GET(): ...\n")
    (tmp_path / "api/b.py").write_text("\nMAX_DURATION = 1\ndef GET(): ...\n")

    plain = runner.invoke(app, ["routes", str(tmp_path)])
    table = runner.invoke(app, ["routes", str(tmp_path), "--json"])

    assert (plain.exit_code, plain.stdout) == (1, "/api/a  methods  GET  api/a.py\n")
    assert plain.stderr == "api/b.py:2: UNKNOWN_CONFIG: `MAX_DURATION` has no effect; write `max_duration`\n"
    assert [route["path"] for route in json.loads(table.stdout)["routes"]] == ["/api/a"]


def test_routes_of_a_good_project_exits_0(tmp_path):
    assert runner.invoke(app, ["routes", str(tmp_path)]).exit_code == 0


@pytest.mark.parametrize("wrong", [["--level", "loud"], ["--since", "x"]])
def test_wrong_usage_exits_2(wrong):
    assert runner.invoke(app, ["logs", *wrong]).exit_code == 2


def test_logs_reads_a_running_server(tmp_path):
    with serve(tmp_path / "p", {"api/a.py": "def GET():\n    print('hello log')\n    return 'x'\n"}) as server:
        request_id = server.get("/api/a").get("x-streamward-id")
        server.report(request_id)

        result = runner.invoke(app, ["logs", "--json", "--request-id", request_id, "--url", server.url])

        entries = [json.loads(line) for line in result.stdout.splitlines()]
        assert (result.exit_code, [entries[0]["message"], entries[1]["type"]]) == (0, ["hello log", "report"])
        pretty = runner.invoke(app, ["logs", "--since", "1h", "--url", server.url])
        assert "hello log" in pretty.stdout


def test_logs_without_a_server_says_so():
    result = runner.invoke(app, ["logs", "--url", "http://127.0.0.1:9"])

    assert (result.exit_code, "is a server running there?" in result.stderr) == (1, True)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1)])
def test_drain_test_sends_one_entry(status, code):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((dict(self.headers.items()), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()

    result = runner.invoke(app, ["drain", "test", f"http://127.0.0.1:{server.server_port}/", "--secret", "s"])

    thread.join()
    server.server_close()
    assert (code, True) == (result.exit_code, result.stdout.startswith(str(status)))
    assert "x-vercel-signature" in {name.lower() for name in seen[0][0]}
    assert json.loads(seen[0][1])[0]["source"] == "lambda"
