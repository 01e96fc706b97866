"""The command line's default is the scripted model here."""

from pathlib import Path

import pytest

from beacon_cli.console import progress
from tests.stories import FACT as FACT
from tests.stories import story as story


@pytest.fixture(autouse=True)
def _scripted_by_default(scripted_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_MODEL", str(scripted_model))


@pytest.fixture(autouse=True)
def _no_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which come every ten seconds: on a slow machine more of them."""
    monkeypatch.setattr(progress, "EVERY", float("inf"))


@pytest.fixture(scope="session")
def _converted_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def default_model(_scripted_by_default: None, _converted_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is the real one, which is converted once for all tests."""
    monkeypatch.delenv("BEACON_MODEL")
    monkeypatch.setenv("BEACON_MODELS_DIR", str(_converted_models))
