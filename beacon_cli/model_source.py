"""Which model: finding a base LLM, its beacon and its tokenizer that belong together; loads no weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import beacon_pocket
from activation_beacon.checkpoint import BeaconInfo, read_info
from beacon_cli.errors import ModelError, SettingsError
from beacon_cli.fingerprint import beacon_fingerprint, model_fingerprint
from beacon_cli.hub import check_model_folder, resolve_model
from beacon_cli.tokenizer import Tokenizer

POCKET = "beacon-pocket"


@dataclass(frozen=True)
class ModelSource:
    """A base model and a beacon on this disk.

    Attributes:
        name: what the user calls it.
        folder: the base model's checkpoint folder.
        beacon_folder: the beacon's checkpoint folder.
        info: the beacon's settings.
        tokenizer: the base model's.
        context: positions that the base model was made for.
        base_fingerprint, beacon_fingerprint: hashes of what the weights are.
        note: what its user should know before trusting it with a summary; empty if nothing.
    """

    name: str
    folder: Path
    beacon_folder: Path
    info: BeaconInfo
    tokenizer: Tokenizer
    context: int
    base_fingerprint: str
    beacon_fingerprint: str
    note: str = ""

    @property
    def ratios(self) -> tuple[int, ...]:
        """The ratios that the beacon was trained for, ascending."""
        return tuple(sorted(self.info.config.usable_ratios))

    def check_ratio(self, ratio: int) -> int:
        """`ratio`, if the beacon was trained for it.

        Raises:
            SettingsError: if it was not.
        """
        if ratio not in self.ratios:
            known = ", ".join(map(str, self.ratios))
            raise SettingsError(f"{self.name} was not trained for ratio {ratio}; choose one of {known}, or auto")
        return ratio


def find_model(model: str, beacon: str | None, cache: Path) -> ModelSource:
    """Resolve the names given for a model and its beacon.

    Args:
        model: a checkpoint folder, a hub id, or `beacon-pocket`, the embedded default.
        beacon: the same for the beacon; by default a folder `beacon` inside the model's.
        cache: where fingerprints are remembered.

    Raises:
        ModelError: if either is missing or unusable, or the beacon belongs to another base model.
    """
    folder = beacon_pocket.FOLDER if model == POCKET else resolve_model(model, kind="model")
    check_model_folder(folder)
    beacon_folder = resolve_model(beacon, kind="beacon") if beacon else folder / "beacon"
    if not beacon and not beacon_folder.is_dir():
        raise ModelError(f"{model} brings no beacon: name one with --beacon DIR or a hub id")
    info = read_info(beacon_folder)
    base = model_fingerprint(folder, cache)
    if info.base_fingerprint != base:
        raise ModelError(
            f"the beacon {beacon or beacon_folder} belongs to another base model: "
            f"it was trained for {info.base_name} ({info.base_fingerprint[:12]}), "
            f"but {model} is {base[:12]}; give the model it was trained for with --model"
        )
    if info.config.stride != info.config.window:
        raise ModelError(
            f"the beacon {beacon or beacon_folder} condenses {info.config.stride} of {info.config.window} tokens at a "
            "time, and the cache cannot keep the others yet; use one whose stride is its window"
        )
    return ModelSource(
        name=model,
        folder=folder,
        beacon_folder=beacon_folder,
        info=info,
        tokenizer=Tokenizer.from_folder(folder),
        context=_context(folder),
        base_fingerprint=base,
        beacon_fingerprint=beacon_fingerprint(beacon_folder, cache),
        note=beacon_pocket.SUMMARY_NOTE if model == POCKET else "",
    )


def _context(folder: Path) -> int:
    """`max_position_embeddings` of a checkpoint."""
    path = folder / "config.json"
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
        context = config["max_position_embeddings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be used ({error!r}): restore or download the model again") from None
    if type(context) is not int or context < 1:
        raise ModelError(f"{path}: max_position_embeddings is {context!r}, not a number of positions")
    return context
