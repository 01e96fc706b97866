"""No test touches the user's own cache, configuration or network."""

import os
from pathlib import Path

import pytest

# Before torch is imported: threads that wait by spinning slow down each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("BEACON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BEACON_CACHE_DIR", str(home / "cache"))
    monkeypatch.setenv("BEACON_MODELS_DIR", str(home / "models"))
    (home / "config.toml").touch()
    monkeypatch.setenv("BEACON_CONFIG", str(home / "config.toml"))
    (home / "config.toml").touch()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def cache_dir() -> Path:
    return Path(os.environ["BEACON_CACHE_DIR"])


@pytest.fixture
def models_dir() -> Path:
    return Path(os.environ["BEACON_MODELS_DIR"])
