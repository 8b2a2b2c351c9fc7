"""The configuration in the routing guide and the models page is one the gateway takes."""

import re
from pathlib import Path

import pytest

from streamward.gateway.config import parse
from streamward.upstream.providers import PROVIDERS

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (page, block)
    for page in ("how-to/routing.md", "reference/models.md")
    for block in BLOCK.findall((DOCS / page).read_text())
]


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_every_block_is_a_configuration(page: str, block: str):
    config = parse(block, page, {})

    assert config.models or config.prices


def test_there_are_blocks():
    assert len(BLOCKS) >= 3


def test_who_goes_on_generating_is_said_as_it_is_known():
    page = (DOCS / "reference/models.md").read_text().rpartition("Not so")[2].lower().replace(" ", "").replace("\n", "")
    silent = {name for name, row in PROVIDERS.items() if not row.profile.cancels_on_close}

    assert {name for name in silent if name not in page} == set()
