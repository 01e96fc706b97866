"""Looking for the model of a cache among those on this disk."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from beacon_cli.cache.matching import Matcher


def test_looking_on_this_disk_leaves_the_network_to_others(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    Matcher(cache_dir, ("owner/model", None), ("owner/other", None))
    assert constants.HF_HUB_OFFLINE is False
