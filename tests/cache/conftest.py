from pathlib import Path

import pytest

from beacon_cli.cache import builder
from beacon_cli.cache.store import Store
from tests.cache import synthetic_cache


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "SHARD_BYTES", synthetic_cache.SHARD_BYTES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")
