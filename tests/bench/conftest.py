"""Makes the harness importable: `bench/` is a folder of scripts, not a package that is installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
