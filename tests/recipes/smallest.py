"""The recipe at its smallest."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from recipes.smollm2 import sources
from recipes.smollm2.__main__ import main
from recipes.smollm2.conversations import Composer, Mix


def composer(**mix: float) -> Composer:
    return Composer(sources.made_up(0), Mix({"squad": 1.0}, **mix))  # type: ignore[arg-type]  # by name


def run(folder: Path) -> dict[str, Tensor]:
    """What the smallest run leaves as the beacon's checkpoint."""
    main(["--size", "smoke", "--out", str(folder)])
    return load_file(folder / "beacon.checkpoint.safetensors")
