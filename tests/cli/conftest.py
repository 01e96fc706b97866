"""The command line's default is the scripted model here."""

from pathlib import Path

import pytest

from tests.stories import FACT as FACT
from tests.stories import story as story


@pytest.fixture(autouse=True)
def _scripted_by_default(scripted_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_MODEL", str(scripted_model))


@pytest.fixture
def built_in_model(_scripted_by_default: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is the real one."""
    monkeypatch.delenv("BEACON_MODEL")
