"""pytest fixtures: ``pytest_plugins = ["streamward.testing.plugin"]`` in a conftest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamward.testing.scripted import ScriptedModel
from streamward.testing.server import RunningServer, running_server


@pytest.fixture(scope="session")
def streamward_server() -> Iterator[RunningServer]:
    """A real gateway with the demo models on a free port, for the whole session."""
    with running_server() as server:
        yield server


@pytest.fixture
def scripted_model() -> Iterator[Callable[..., ScriptedModel]]:
    """Makes scripted models; at the end of the test each must have played all of its steps."""
    made: list[ScriptedModel] = []

    def make(*steps: Any, **options: Any) -> ScriptedModel:
        model = ScriptedModel(*steps, **options)
        made.append(model)
        return model

    yield make
    for model in made:
        model.assert_done()
