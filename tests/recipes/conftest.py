"""A tiny model, and what the smallest run of the recipe leaves."""

from pathlib import Path
from typing import Any

import pytest

from recipes.smollm2 import base
from recipes.smollm2.rows import Layout
from tests.recipes.smallest import run


@pytest.fixture(scope="module")
def model() -> Any:
    return base.tiny_base()[0]


@pytest.fixture
def layout() -> Layout:
    return Layout(base.tiny_base()[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the smallest run leaves."""
    folder = tmp_path_factory.mktemp("made")
    run(folder)
    return folder
