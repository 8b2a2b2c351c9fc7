"""``streamward serve`` with functions beside the gateway: one process, one port, one end."""

import json
import signal
import subprocess
import sys

from support.functions_server import alive, run_serve

STREAM = """
import asyncio
async def GET(request):
    print("said")
    for i in range(int(request.query_params["n"])):
        yield f"{i};"
        await asyncio.sleep(0.05)
"""


def serving(folder, config):
    """``streamward serve`` on *folder* with one function, and what it said before it listened."""
    (folder / "api").mkdir()
    (folder / "api/s.py").write_text(STREAM)
    if config:
        (folder / "streamward.toml").write_text(config)
    return run_serve(folder)


def test_functions_need_no_client_key(tmp_path):
    """Keys concern the gateway: without one it answers 401, and the functions answer."""
    server, said = serving(tmp_path, "")
    function, models = server.get("/api/s?n=1"), server.get("/v1/models")
    server.process.terminate()
    server.process.communicate(timeout=20)

    assert (function.text, models.status) == ("0;", 401)
    assert "/v1 answers 401 to everybody" in said


def test_functions_and_gateway_share_a_server_and_its_end(tmp_path):
    server, _ = serving(tmp_path, "[auth]\nrequired = false\n[server]\ndrain_s = 1\n")
    process = server.process

    assert server.get("/v1/models").status == 200
    assert ((a := server.get("/nope")).get("x-streamward-error"), a.status) == ("NOT_FOUND", 404)
    assert server.get("/api/s?n=2").chunks == [b"0;", b"1;"]
    pids = server.workers()
    short, long = server.open("GET", "/api/s?n=8"), server.open("GET", "/api/s?n=400")
    heads = short.head(), long.head()
    process.send_signal(signal.SIGTERM)
    finished, cut = short.rest(heads[0]), long.rest(heads[1])

    assert (len(finished.chunks), finished.complete, cut.complete) == (8, True, False)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert not any(alive(pid) for pid in pids)
    entries = [json.loads(line) for line in out.splitlines() if line.startswith(b'{"id"')]
    assert {"said"} <= {entry["message"] for entry in entries}
    server.stop()


def test_dev_says_what_it_found(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api/s.py").write_text(STREAM)
    command = [sys.executable, "-c", "from streamward.cli.main import main; main()", "dev", ".", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path)
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    process.terminate()
    process.communicate(timeout=20)

    assert said == "streamward: 1 function under /api: `streamward routes` lists them\n"
