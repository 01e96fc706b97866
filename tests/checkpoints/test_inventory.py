"""What models are here, while others come and go."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.checkpoints.catalogue import llms
from beacon_cli.checkpoints.inventory import known_model

MERGED = "namespace-Pt/beacon-qwen-2-7b-instruct"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, with ten bytes of each of two models that another process is downloading."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for repository in (MERGED, llms()["smollm2-360m"].source.rpartition("/")[0]):
        folder = tmp_path / f"models--{repository.replace('/', '--')}" / "blobs"
        folder.mkdir(parents=True)
        (folder / "a.partial").write_bytes(bytes(10))
    return tmp_path


@pytest.mark.parametrize("name", [MERGED, "smollm2-360m"])
def test_what_goes_while_sizes_are_looked_for_is_left_out(
    name: str, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in hub.iterdir():
        (folder / "tried").mkdir()  # as the hub's client does for a moment, to see whether it can make links
        (folder / "blobs" / "b.partial").write_bytes(bytes(5))

    def going(look: Callable[..., Any]) -> Callable[..., Any]:
        def gone(path: Path | str, **options: Any) -> Any:
            if Path(path).name == "tried":
                Path(path).rmdir()
            if Path(path).name == "b.partial":
                Path(path).unlink(missing_ok=True)
            return look(path, **options)

        return gone

    for look in ("scandir", "stat", "lstat"):
        monkeypatch.setattr(os, look, going(getattr(os, look)))
    assert (known_model(name).state, known_model(name).download) == ("incomplete", 10)
