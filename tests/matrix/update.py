"""Write the files of the matrix anew: ``python -m matrix.update`` with ``tests`` and ``src`` on the path.

Look at the difference before you commit it: these files are what clients get.
"""

from __future__ import annotations

from matrix import requests
from matrix.render import CLIENTS, PAIRS, client_file, render, upstream_file
from matrix.upstreams import BUILDERS, CASES


def write() -> None:
    for upstream, case in PAIRS:
        raw = BUILDERS[upstream](CASES[case])
        assert raw is not None
        file = upstream_file(upstream, case)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(raw)
        for client in CLIENTS:
            file = client_file(client, upstream, case)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(render(client, upstream, [raw]))
    for upstream in requests.UPSTREAMS:
        for client, case in requests.PAIRS:
            file = requests.request_file(upstream, client, case)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(requests.as_file(requests.rendered(upstream, client, case)), encoding="utf-8")


if __name__ == "__main__":
    write()
