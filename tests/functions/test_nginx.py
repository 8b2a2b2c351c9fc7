"""Behind nginx as it comes (proxy_buffering on, gzip on): chunks still arrive one by one."""

import itertools
import shutil
import socket
import subprocess
import time
import zlib

import pytest

from support.functions_server import Connection, serve

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ }}
http {{
  access_log off; gzip on; gzip_proxied any; gzip_types text/plain text/event-stream; gzip_min_length 1;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $remote_addr; }}
  }}
}}
"""
STREAM = """
import asyncio
async def GET(request):
    for i in range(4):
        yield f"{i};"
        await asyncio.sleep(0.15)
async def POST(request):
    return {"client": request.client.host, "for": request.headers["x-forwarded-for"]}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not shutil.which(NGINX), reason="nginx is not installed")
def test_nginx_with_its_defaults_holds_nothing_back(tmp_path):
    files = {"api/s.py": STREAM, "streamward.toml": '[functions]\ntrusted_proxies = ["127.0.0.1/32"]\n'}
    with serve(tmp_path / "p", files) as server:
        port = free_port()
        (tmp_path / "nginx.conf").write_text(CONFIG.format(folder=tmp_path, port=port, upstream=server.port))
        nginx = subprocess.Popen([NGINX, "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf")])
        try:
            server.wait(lambda: listening(port), 5)
            connection = Connection(port).send("GET", "/api/s", {"accept-encoding": "gzip"})
            answer = connection.head()
            arrivals = []
            inflate = zlib.decompressobj(31)
            while data := connection.chunk():
                if text := inflate.decompress(data):
                    arrivals.append((text, time.monotonic()))
            connection.close()
            forwarded = Connection(port).send("POST", "/api/s", body=b"")
            seen = forwarded.rest(forwarded.head()).json()
            forwarded.close()

            assert seen == {"client": "127.0.0.1", "for": "127.0.0.1"}
            assert ([d for d, _ in arrivals], answer.get("content-encoding")) == ([b"0;", b"1;", b"2;", b"3;"], "gzip")
            gaps = [later - sooner for (_, sooner), (_, later) in itertools.pairwise(arrivals)]
            assert all(0.1 < gap < 0.25 for gap in gaps)
        finally:
            nginx.terminate()
            nginx.wait()
