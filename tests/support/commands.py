"""A command of ours, run to its end in a process of its own."""

import os
import subprocess
from pathlib import Path

from support.gateway_server import COMMAND

CLEAN = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_BASE_URL", "_TOKEN"))}


def streamward_run(
    *arguments: str, cwd: Path, stdin: str | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, input=stdin or "", capture_output=True, text=True, timeout=30,
                          check=False, env={**CLEAN, "COLUMNS": "120", **(environ or {})})  # fmt: skip
