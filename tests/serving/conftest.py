"""A shelf of three documents, and a server on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from beacon_cli.serving.http import Limits
from tests.serving.running import HOSTS, Running
from tests.stories import story

if TYPE_CHECKING:
    from tests.scripted import Script


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "a.txt").write_text(story(5, fact_at=2))
    (folder / "b.txt").write_text(story(4))
    (folder / "c.txt").write_text("The ferry leaves at nine.\n")
    return folder


@pytest.fixture
def server(shelf: Path, scripted_model: Path, says: "Script") -> Iterator[Running]:
    with Running(shelf, scripted_model, Limits(60, None, HOSTS)) as running:
        yield running
