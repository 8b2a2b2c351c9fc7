"""pytest fixtures, there once streamward is installed: ``streamward_server`` and ``scripted_model``.

Loaded at every start of pytest: nothing is imported before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from streamward.testing.scripted import ScriptedModel
    from streamward.testing.server import RunningServer


@pytest.fixture(scope="session")
def streamward_server() -> Iterator[RunningServer]:
    """A real gateway with the demo models on a free port, for the whole session."""
    from streamward.testing.server import running_server

    with running_server() as server:
        yield server


@pytest.fixture
def scripted_model() -> Iterator[Callable[..., ScriptedModel]]:
    """Makes scripted models; at the end of the test each must have played all of its steps."""
    from streamward.testing.scripted import ScriptedModel

    made: list[ScriptedModel] = []

    def make(*steps: Any, **options: Any) -> ScriptedModel:
        model = ScriptedModel(*steps, **options)
        made.append(model)
        return model

    yield make
    for model in made:
        model.assert_done()
