"""The Python files of the how-to are served as they stand there."""

import re
from pathlib import Path

from support.functions_server import serve

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "functions.md"


def test_every_function_of_the_how_to_runs(tmp_path):
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with serve(tmp_path / "p", dict(blocks)) as server:
        answers = {name: server.get("/" + name.removesuffix(".py").removesuffix("/index")) for name, _ in blocks}

        assert {"api/hello.py", "api/events.py", "api/index.py", "api/save.py"} == set(answers)
        assert answers["api/hello.py"].chunks == [b"Hello", b", ", b"world"]
        assert answers["api/events.py"].chunks == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]
        assert server.get("/api/items/7").json() == {"number": 7}
        assert server.ask("POST", "/api/save", body=b"x").json() == {"accepted": True}
