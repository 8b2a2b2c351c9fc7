"""The Python blocks of a documentation page, to run them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def python_blocks(page: str) -> list[str]:
    """In order; *page* is a path below the repository's root."""
    return BLOCK.findall((ROOT / page).read_text("utf-8"))
