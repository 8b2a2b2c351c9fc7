"""The project folder: which files are functions, under which URL, with which settings and problems."""

import json

import pytest

from streamward.functions.scan import scan

GET = "def GET(): return 'x'\n"
PAGE = "def handler(req, res): ...\n"


def project(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_three_trees_map_to_urls(tmp_path):
    files = {
        "app/api/a/route.py": GET, "app/(group)/api/(inner)/b/[id]/route.py": GET, "app/api/a/page.py": GET,
        "app/other/route.py": GET, "api/index.py": GET, "api/c.py": GET, "api/d/index.py": GET, "api/[...rest].py": GET,
        "pages/api/e.py": PAGE, "pages/api/f/index.py": PAGE, "pages/g.py": PAGE,
        "api/_lib.py": GET, "api/.hidden.py": GET, "api/_lib/x.py": GET, "api/node_modules/x.py": GET,
        "api/__pycache__/x.py": GET, "api/x.pyi": GET, "api/x.txt": GET,
    }  # fmt: skip

    found = scan(project(tmp_path, files), {})

    expected = ["/api", "/api/[...rest]", "/api/a", "/api/b/[id]", "/api/c", "/api/d", "/api/e", "/api/f"]
    assert (expected, ()) == ([route.path for route in found.routes], found.problems)


def test_the_table_is_plain_data(tmp_path):
    table = scan(project(tmp_path, {"api/users/[id].py": "max_duration = 9\n" + GET}), {}).table()

    row = json.loads(json.dumps(table))["routes"][0]
    assert (
        row["path"], row["file"], row["kind"], row["methods"], row["config"]["max_duration"],
    ) == ("/api/users/[id]", "api/users/[id].py", "methods", ["GET"], 9)  # fmt: skip


def test_settings_are_weighed_by_place(tmp_path):
    """Export, then toml pattern, then vercel.json, then plain keys, then default."""
    files = {
        "api/a.py": "max_duration = 1\n" + GET, "api/b.py": GET, "api/c.py": GET, "api/d.py": GET,
        "streamward.toml": '[functions]\nmax_duration = 4\nmemory_mb = 64\n[functions."api/[ab].py"]\n'
        '[functions."api/{a,b}.py"]\nmax_duration = 2\n',
        "vercel.json": '{"functions": {"api/{a,b,c}.py": {"maxDuration": 3, "memory": 128}}}',
    }  # fmt: skip

    found = scan(project(tmp_path, files), {})

    settings = [(r.config.max_duration, r.config.memory_mb, r.config.workers) for r in found.routes]
    assert settings == [(1, 128, 1), (2, 128, 1), (3, 128, 1), (4, 64, 1)]
    assert [(p.file, p.line, p.code) for p in found.problems] == [("streamward.toml", 4, "UNUSED_FUNCTION")]


CONFIG_PROBLEMS = [
    ({"streamward.toml": "x = \n"}, "streamward.toml", 1, "SYNTAX_ERROR"),
    ({"vercel.json": "{\n,}"}, "vercel.json", 2, "SYNTAX_ERROR"),
    ({"streamward.toml": "[functions]\nmax_duration = 0\n"}, "streamward.toml", 2, "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": "[functions]\n\nspeed = 1\n"}, "streamward.toml", 3, "INVALID_FUNCTION_PROPERTY"),
    ({"streamward.toml": '[functions]\nisolation = "thread"\n'}, "streamward.toml", 2, "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": '[functions]\ntrusted_proxies = ["x"]\n'}, "streamward.toml", 2, "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": '[functions."api/a.py"]\nworkers = 1\nspeed = 1\n'}, "streamward.toml", 3,
     "INVALID_FUNCTION_PROPERTY"),
    ({"streamward.toml": '[functions."api/a.py"]\nworkers = "2"\n'}, "streamward.toml", 2, "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": '[functions."api/z.py"]\nworkers = 1\n'}, "streamward.toml", 1, "UNUSED_FUNCTION"),
    ({"streamward.toml": '[[rewrites]]\nsource = "/x"\ndestination = "/api/a"\nspeed = 1\n'}, "streamward.toml", 1,
     "INVALID_FUNCTION_PROPERTY"),
    ({"streamward.toml": '[[rewrites]]\nsource = "/x"\n'}, "streamward.toml", 1, "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": '[[rewrites]]\nsource = "/:a/:a"\ndestination = "/api"\n'}, "streamward.toml", 1,
     "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": '[[drains]]\nurl = "http://h/"\nspeed = 1\n'}, "streamward.toml", 3, "INVALID_FUNCTION_PROPERTY"),
    ({"streamward.toml": '[[drains]]\nurl = "ftp://h/"\n'}, "streamward.toml", 2, "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": '[[drains]]\nurl = "http://h/"\nsecret = "env:NOPE"\n'}, "streamward.toml", 3,
     "INVALID_CONFIG_VALUE"),
    ({"streamward.toml": '[server]\nport = "x"\n'}, "streamward.toml", 2, "INVALID_CONFIG_VALUE"),
    ({"pyproject.toml": "[tool.streamward.functions]\nspeed = 1\n"}, "pyproject.toml", 2, "INVALID_FUNCTION_PROPERTY"),
    ({"vercel.json": '{"functions": {\n"api/a.py": {"maxDuration": 1801}}}'}, "vercel.json", 2, "INVALID_CONFIG_VALUE"),
    ({"vercel.json": '{"functions": {\n"api/a.py": {"speed": 1}}}'}, "vercel.json", 2, "INVALID_FUNCTION_PROPERTY"),
    ({"vercel.json": '{"functions": {\n"api/z.py": {}}}'}, "vercel.json", 2, "UNUSED_FUNCTION"),
    ({"api/a/index.py": GET}, "api/a/index.py", 1, "CONFLICTING_FILE_PATH"),
    ({"pages/api/a.py": PAGE}, "pages/api/a.py", 1, "CONFLICTING_FILE_PATH"),
    ({"api/[x].py": GET, "api/[y].py": GET}, "api/[y].py", 1, "CONFLICTING_FILE_PATH"),
    ({"api/[x]/[x].py": GET}, "api/[x]/[x].py", 1, "CONFLICTING_PATH_SEGMENT"),
    ({"api/b.py": b"# \xff".decode("latin-1")}, "api/b.py", 1, "NO_ENTRYPOINT"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "file", "line", "code"), CONFIG_PROBLEMS)
def test_each_mistake_has_its_place(tmp_path, files, file, line, code):
    found = scan(project(tmp_path, {"api/a.py": GET, **files}), {})

    assert [(file, line, code)] == [(p.file, p.line, p.code) for p in found.problems]


def test_both_files_of_a_clash_are_broken(tmp_path):
    """Whichever the router meets, the URL answers with the problem."""
    found = scan(project(tmp_path, {"api/[x].py": GET, "api/[y].py": GET}), {})

    assert [route.problem.code for route in found.routes] == ["CONFLICTING_FILE_PATH"] * 2


def test_streamward_toml_hides_pyproject(tmp_path):
    files = {"streamward.toml": "[functions]\nworkers = 2\n", "pyproject.toml": "[tool.streamward.functions]\nworkers = 3\n"}

    found = scan(project(tmp_path, {"api/a.py": GET, **files}), {})

    assert found.routes[0].config.workers == 2


def test_vercel_keys_are_translated(tmp_path):
    entry = '{"maxDuration": "max", "maxConcurrency": 3, "supportsCancellation": false, "runtime": "x"}'
    text = '{"functions": {"api/*.py": ' + entry + "}}"

    found = scan(project(tmp_path, {"api/a.py": GET, "vercel.json": text}), {})

    config = found.routes[0].config
    assert (config.max_duration, config.max_concurrency, config.cancel_on_disconnect, found.problems) == (1800, 3, False, ())


def test_drain_secrets_come_from_the_environment(tmp_path):
    text = '[[drains]]\nurl = "http://h/"\nsecret = "env:S"\nheaders = { "x-team" = "a" }\n'

    found = scan(project(tmp_path, {"streamward.toml": text}), {"S": "hush"})

    assert (found.project.drains[0].secret, found.project.drains[0].headers) == ("hush", {"x-team": "a"})
