"""``streamward serve`` with functions beside the gateway: one process, one port, one end."""

import json
import re
import signal
import subprocess
import sys

from support.functions_server import Server, alive

STREAM = """
import asyncio
async def GET(request):
    print("said")
    for i in range(int(request.query_params["n"])):
        yield f"{i};"
        await asyncio.sleep(0.05)
"""


def test_functions_and_gateway_share_a_server_and_its_end(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api/s.py").write_text(STREAM)
    (tmp_path / "streamward.toml").write_text("[auth]\nrequired = false\n[server]\ndrain_s = 1\n")
    command = [sys.executable, "-c", "from streamward.cli.main import main; main()", "serve", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = None
    while not found:
        found = re.search(rb"listening on http://127\.0\.0\.1:(\d+)", process.stderr.readline())
    server = Server(tmp_path, process, int(found[1]))

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
