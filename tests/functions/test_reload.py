"""Hot reload under ``dev``: new code within a second, old responses finish on the old, the last good version stays."""

import textwrap
import time

import pytest

from support.functions_server import serve

FILES = {
    "lib/shared.py": "WORD = 'one'\n",
    "api/uses.py": "from lib.shared import WORD\ndef GET(): return WORD\n",
    "api/other.py": "import os\ndef GET(): return str(os.getpid())\n",
    "api/slow.py": """
        import asyncio
        WORD = "old"
        async def GET():
            for _ in range(12):
                yield WORD + ";"
                await asyncio.sleep(0.1)
        """,
    "api/broken.py": "x = 1\n",
    ".env": "WORD=one\n",
    "api/env.py": "import os\ndef GET(): return os.environ['WORD']\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = {name: textwrap.dedent(text) for name, text in FILES.items()}
    with serve(tmp_path_factory.mktemp("reload") / "project", files, command="dev") as running:
        running.wait(lambda: running.get("/_streamward/ready").status == 200)
        yield running


def within_a_second(server, path, body):
    began = time.monotonic()
    server.wait(lambda: server.get(path).body == body, 3)
    assert time.monotonic() - began < 1


def test_a_shared_module_reloads_what_imported_it_and_nothing_else(server):
    before = server.get("/api/other").body

    server.write("lib/shared.py", "WORD = 'two'\n")

    within_a_second(server, "/api/uses", b"two")
    assert before == server.get("/api/other").body


def test_open_streams_finish_on_the_old_code(server):
    stream = server.open("GET", "/api/slow")
    head = stream.head()
    stream.chunk()

    server.write("api/slow.py", textwrap.dedent(FILES["api/slow.py"]).replace("old", "new"))
    server.wait(lambda: server.get("/_streamward/live").status == 200 and first(server, "/api/slow") == b"new;", 3)

    rest = stream.rest(head)
    assert (rest.chunks, rest.complete) == ([b"old;"] * 11, True)


def first(server, path):
    connection = server.open("GET", path)
    connection.head()
    chunk = connection.chunk()
    connection.close()
    return chunk


def test_new_files_are_served_and_deleted_ones_are_not(server):
    server.write("api/fresh.py", "def GET(): return 'fresh'\n")
    within_a_second(server, "/api/fresh", b"fresh")

    (server.folder / "api/fresh.py").unlink()

    server.wait(lambda: server.get("/api/fresh").status == 404, 1)


def test_a_folder_that_is_moved_in_or_out_is_followed(server):
    """Nothing is said of the files in it: they were written before anybody watched the folder."""
    outside, inside = server.folder.parent / "prepared", server.folder / "api/moved"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/new.py").write_text("def GET(): return 'moved'\n")

    outside.rename(inside)
    within_a_second(server, "/api/moved/deep/new", b"moved")

    inside.rename(outside)
    server.wait(lambda: server.get("/api/moved/deep/new").status == 404, 2)


@pytest.mark.parametrize("bad", ["def GET(: return 'bad'\n", "import nothing_at_all\ndef GET(): return 'bad'\n"])
def test_the_last_good_version_goes_on(server, bad):
    server.write("api/good.py", "def GET(): return 'good'\n")
    within_a_second(server, "/api/good", b"good")

    server.write("api/good.py", bad)
    server.wait(lambda: server.get("/api/good").get("x-streamward-stale") == "1", 2)
    assert server.get("/api/good").body == b"good"
    assert any(e["level"] == "error" and "api/good.py" in e["message"] for e in server.logs())

    server.write("api/good.py", "def GET(): return 'cured'\n")
    within_a_second(server, "/api/good", b"cured")
    assert server.get("/api/good").get("x-streamward-stale") is None


def test_a_problem_is_shown_at_its_url(server):
    """dev runs all the same; the file's URL answers 500 with the problem line, until it is cured."""
    answer = server.get("/api/broken")

    assert (answer.status, "api/broken.py:1: NO_ENTRYPOINT" in answer.text) == (500, True)
    server.write("api/broken.py", "def GET(): return 'cured'\n")
    within_a_second(server, "/api/broken", b"cured")


def test_errors_show_their_traceback_in_development(server):
    server.write("api/raises.py", "def GET():\n    raise RuntimeError('the words')\n")
    server.wait(lambda: server.get("/api/raises").status == 500, 2)

    answer = server.get("/api/raises", {"accept": "application/json"})

    assert "RuntimeError: the words" in answer.json()["error"]["traceback"]


def test_environment_files_reload_everything(server):
    server.write(".env", "WORD=two\n")

    within_a_second(server, "/api/env", b"two")


def test_a_new_limit_is_in_force(server):
    server.write("api/limited.py", "import time\nmax_duration = 30\ndef GET():\n    time.sleep(0.5)\n    return 'x'\n")
    within_a_second(server, "/api/limited", b"x")

    server.write("api/limited.py", "import time\nmax_duration = 0.1\ndef GET():\n    time.sleep(0.5)\n    return 'x'\n")

    server.wait(lambda: server.get("/api/limited").status == 504, 2)


def test_quick_successive_saves_end_with_the_last(server):
    for i in range(10):
        server.write("api/fast.py", f"def GET(): return '{i}'\n")

    within_a_second(server, "/api/fast", b"9")
