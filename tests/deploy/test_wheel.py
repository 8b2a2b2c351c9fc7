"""The wheel that the image installs: built, put into a fresh environment, and run from there."""

import os
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from support.gateway_server import greeting

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("uv is not here: `make setup` installs it")
    done = subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--out-dir", out, ROOT], capture_output=True, text=True, check=False
    )
    if done.returncode and ("fetch" in done.stderr or "dns" in done.stderr.lower()):
        pytest.skip("the build backend (hatchling) cannot be fetched here")
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_its_data(wheel: Path):
    """Types, models, migrations; and nothing of the tests."""
    names = zipfile.ZipFile(wheel).namelist()
    shipped = [path for path in (ROOT / "src/streamward").rglob("*") if path.suffix in {".py", ".sql", ".typed", ".gguf"}]

    assert [path for path in shipped if str(path.relative_to(ROOT / "src")) not in names] == []
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"streamward"}


def test_it_serves_from_a_fresh_environment(wheel: Path, tmp_path: Path):
    """The code comes from the wheel; only its dependencies are borrowed from this environment."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    site = next(home.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # PYTHONPATH instead of a .pth file: ours holds an editable install of the checkout, which must not be found.
    env = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "PORT": "0"}
    run = [str(home / "bin/python"), "-c"]
    ask = "import streamward; print(streamward.__file__)"
    where = subprocess.run([*run, ask], env=env, capture_output=True, text=True, check=True)
    (tmp_path / "streamward.toml").write_text("[auth]\nrequired = false\n")
    process = subprocess.Popen(
        [*run, "from streamward.cli.main import main; main()", "serve", str(tmp_path)],
        env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = greeting(process)[-1].split()[-1]
        body = b'{"model":"demo/echo","messages":[{"role":"user","content":"hello there"}],"stream":true}'
        call = urllib.request.Request(f"{url}/v1/chat/completions", body, {"content-type": "application/json"})
        with urllib.request.urlopen(call, timeout=15) as answer:
            text = answer.read().decode()
        process.send_signal(signal.SIGTERM)
        code = process.wait(15)
    finally:
        process.kill()
        process.communicate()

    assert where.stdout.startswith(str(site))
    assert "hello" in text
    assert text.endswith("data: [DONE]\n\n")
    assert code == 0
