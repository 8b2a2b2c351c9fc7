"""The recipe of the toy model, proved in ten seconds: it trains, writes a GGUF, and the engine loads it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from streamward.upstream.local import LocalEngine, engine_available

TRAIN = Path(__file__).parents[2] / "scripts" / "train_tiny" / "train.py"
# torch is no dependency of the project: another interpreter may have it.
PYTHON = os.environ.get("STREAMWARD_TRAIN_PYTHON") or (sys.executable if importlib.util.find_spec("torch") else None)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    PYTHON is None,
    reason="torch is not installed here: set STREAMWARD_TRAIN_PYTHON to a Python with scripts/train_tiny/requirements.txt",
)
@pytest.mark.skipif(not engine_available(), reason="xllamacpp is not installed: pip install 'streamward[local]'")
async def test_ten_seconds_of_training_give_a_loadable_model_that_has_learned(tmp_path: Path):
    out = tmp_path / "proof.gguf"

    run = await asyncio.create_subprocess_exec(
        str(PYTHON), str(TRAIN), "--seconds", "10", "--out", str(out), stdout=asyncio.subprocess.PIPE
    )
    printed = (await run.communicate())[0].decode()
    assert run.returncode == 0
    async with LocalEngine(out) as engine, httpx.AsyncClient(base_url=engine.base_url, timeout=30) as http:
        reply = await http.post(
            "/chat/completions",
            json={"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4},
            headers={"authorization": f"Bearer {engine.api_key}"},
        )

    match = re.search(r"loss ([\d.]+) -> ([\d.]+)", printed)
    assert match, printed
    assert float(match[2]) < 0.8 * float(match[1])
    assert reply.json()["usage"]["completion_tokens"] == 4
