"""A beacon checkpoint: `beacon_config.json` and `beacon.safetensors` in one folder, tied to its base model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from activation_beacon.architecture import embeddings
from activation_beacon.config import BeaconConfig
from activation_beacon.errors import CheckpointError, ConfigError
from activation_beacon.files import CONFIG_FILE, WEIGHTS_FILE
from activation_beacon.plugin import Beacon

FORMAT_VERSION = 1


@dataclass(frozen=True)
class BeaconInfo:
    """What `beacon_config.json` holds.

    Attributes:
        config: the method's settings.
        base_name: the base model's name, for messages.
        base_fingerprint: the base model's fingerprint; the beacon belongs to no other.
        rope_scaling: what the beacon was trained with, where the base model's own configuration means something else to
            transformers (the authors' yarn, `docs/FORMAT.md` 7); for `attach`.
    """

    config: BeaconConfig
    base_name: str
    base_fingerprint: str
    rope_scaling: Mapping[str, Any] | None = None


def save_beacon(
    folder: Path,
    beacon: Beacon,
    *,
    base_name: str,
    base_fingerprint: str,
    rope_scaling: Mapping[str, Any] | None = None,
) -> None:
    """Write both files into `folder`, creating it; weights keep their dtype."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in beacon.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    save_info(folder, BeaconInfo(beacon.config, base_name, base_fingerprint, rope_scaling))


def save_info(folder: Path, info: BeaconInfo) -> None:
    """Write `beacon_config.json` into `folder`."""
    document = {
        "format_version": FORMAT_VERSION,
        "base_name": info.base_name,
        "base_fingerprint": info.base_fingerprint,
        "settings": info.config.to_dict(),
    }
    if info.rope_scaling is not None:
        document["rope_scaling"] = dict(info.rope_scaling)
    (folder / CONFIG_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read_info(folder: Path | str) -> BeaconInfo:
    """Read `beacon_config.json`.

    Raises:
        CheckpointError: if it is missing, malformed, of another format version, or has unknown or missing keys.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if not folder.is_dir():
        raise CheckpointError(f"no beacon folder {folder}: give a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no {CONFIG_FILE}: it is not a beacon checkpoint") from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): restore or convert the checkpoint again") from None
    keys = {"format_version", "base_name", "base_fingerprint", "settings"}
    if not isinstance(document, dict) or set(document) - {"rope_scaling"} != keys:
        found = ", ".join(sorted(document)) if isinstance(document, dict) else type(document).__name__
        raise CheckpointError(f"{path} must hold exactly the keys {', '.join(sorted(keys))}; found {found}")
    if document["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {document['format_version']!r}; this tool reads {FORMAT_VERSION}"
        )
    scaling = document.get("rope_scaling")
    if not isinstance(document["settings"], dict) or not isinstance(scaling, dict | None):
        raise CheckpointError(f"{path}: settings and rope_scaling must be mappings")
    try:
        config = BeaconConfig.from_dict(document["settings"])
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return BeaconInfo(config, str(document["base_name"]), str(document["base_fingerprint"]), scaling)


def load_beacon(
    folder: Path | str, model: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Beacon:
    """The beacon of `folder`, fitted to `model` (names and shapes exactly), frozen.

    Args:
        dtype, device: those of the model's embeddings unless given.

    Raises:
        CheckpointError: if its weights are missing, damaged, not finite, or do not fit the model.
    """
    folder, place = Path(folder), embeddings(model).weight
    dtype, device = dtype or place.dtype, device or place.device
    info = read_info(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {WEIGHTS_FILE}: it is not a whole beacon checkpoint")
    with torch.device("meta"):
        beacon = Beacon.like(info.config, model)
    state = {}
    try:
        with safe_open(path, framework="pt") as file:
            _check_shapes(path, beacon, {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})  # noqa: SIM118  not a dict
            for name in file.keys():  # noqa: SIM118  not a dict
                tensor = file.get_tensor(name)
                if not tensor.isfinite().all():
                    raise CheckpointError(
                        f"{path}: {name} holds values that are not finite; download or train the beacon again"
                    )
                # One by one, so that the weights are never held twice; copied, as the file may be replaced.
                state[name] = tensor.to(device, dtype, copy=True)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): download or train the beacon again") from None
    beacon.load_state_dict(state, assign=True)
    return beacon.requires_grad_(False).eval()


def _check_shapes(path: Path, beacon: Beacon, found: Mapping[str, tuple[int, ...]]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in beacon.state_dict().items()}
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{path} does not fit the base model: {len(wrong)} tensors differ, the first is {name} "
            f"(model needs {expected.get(name, 'none')}, checkpoint has {found.get(name, 'none')})"
        )
