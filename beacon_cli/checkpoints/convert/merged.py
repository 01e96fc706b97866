"""A merged checkpoint, as the authors publish them: base and beacon weights together, under one configuration.

Everything that can be known without reading a weight is checked here: before a conversion begins, and as far as the
configuration goes, before a download does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from activation_beacon.authors import ULTRAGIST, authors_config, base_config, beacon_name
from activation_beacon.config import BeaconConfig
from activation_beacon.plugin import Beacon
from beacon_cli.checkpoints.convert.skeleton import compare, meta_model, tied_head
from beacon_cli.checkpoints.convert.tensor_files import StoredTensor, read_header
from beacon_cli.checkpoints.local.model_folder import (
    INDEX,
    SINGLE,
    check_model_folder,
    is_merged,
    read_index,
    read_settings,
)
from beacon_cli.errors import BeaconError, CheckpointError, ConfigError, ModelError

Generation = Literal["v1", "between", "ultragist", "v2"]
# A buffer that old versions of transformers stored; it follows from the configuration.
_COMPUTED = ".rotary_emb.inv_freq"


@dataclass(frozen=True)
class Merged:
    """A merged checkpoint that is whole, as far as can be told without reading its weights.

    Attributes:
        config: the beacon's settings.
        stock: the base model's configuration as stock transformers reads it.
        model: the base model on the meta device.
        generation: which of the authors' releases wrote it.
        base: the base model's tensors, by name; tied ones once.
        duplicate: a stored copy of the tied embeddings, which must be equal to them.
        beacon: the beacon's tensors, by their names in `plugin.Beacon`.
    """

    folder: Path
    config: BeaconConfig
    stock: dict[str, Any]
    model: nn.Module
    generation: Generation
    base: dict[str, StoredTensor]
    duplicate: StoredTensor | None
    beacon: dict[str, StoredTensor]

    @property
    def rope_scaling(self) -> Mapping[str, Any] | None:
        """What transformers reads otherwise than the authors do: their yarn."""
        scaling = self.stock.get("rope_scaling")
        kind = scaling.get("type", scaling.get("rope_type")) if isinstance(scaling, dict) else None
        return scaling if kind == "yarn" else None

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in (*self.base.values(), *self.beacon.values()))


def check_config(folder: Path) -> None:
    """Check that the configuration in `folder` is that of a merged checkpoint that can be converted.

    Raises:
        ModelError: if it is not.
    """
    _read_config(folder)


def check_if_merged(folder: Path) -> None:
    """The same, but a folder without a beacon passes."""
    if is_merged(folder):
        _read_config(folder)


def open_merged(folder: Path) -> Merged:
    """Check the checkpoint in `folder`: its configuration, its shards, and each tensor's name, shape and type.

    Raises:
        ModelError: naming the first thing that is wrong.
    """
    config, stock, generation = _read_config(folder)
    check_model_folder(folder)
    stored = _tensors(folder)
    layers = stock.get("num_hidden_layers")
    if type(layers) is int and layers > len(stored):
        raise ModelError(
            f"{folder} lacks tensors: config.json has {layers} layers, and the weights {len(stored)} tensors"
        )
    try:
        model = meta_model(stock)
        with torch.device("meta"):
            expected = Beacon.like(config, model).state_dict()
        names = {name: beacon_name(name) for name in stored}
    except (ConfigError, CheckpointError) as error:
        raise _refusal(folder, error) from error
    base = {name: tensor for name, tensor in stored.items() if names[name] is None and not name.endswith(_COMPUTED)}
    beacon = {ours: stored[name] for name, ours in names.items() if ours is not None}
    if len(beacon) < len(stored) - sum(ours is None for ours in names.values()):
        raise ModelError(f"{folder} holds a beacon under beacon_ and under ultragist_ names: use another checkpoint")
    tied = tied_head(model)
    duplicate = base.pop(tied) if tied in base else None
    state = model.state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items() if name != tied}
    compare(folder, wanted, base)
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    compare(folder, {**shapes, "embedding": (1, *shapes["embedding"])}, beacon)
    if duplicate is not None and duplicate.shape != tuple(state[tied].shape):
        raise ModelError(
            f"{folder}: {tied} is {duplicate.shape}, and config.json ties it to {tuple(state[tied].shape)}"
        )
    return Merged(folder, config, stock, model, generation, base, duplicate, beacon)


def _read_config(folder: Path) -> tuple[BeaconConfig, dict[str, Any], Generation]:
    settings = read_settings(folder)
    if not is_merged(folder):
        raise ModelError(
            f"{folder} holds no beacon: its config.json has no beacon_* keys; convert an Activation Beacon checkpoint, "
            "or use a plain model as it is, with --model and --beacon"
        )
    generation: Generation = "v2" if "beacon_pos" in settings else "between"
    if any(key.startswith(ULTRAGIST) for key in settings):
        generation = "ultragist"
    if isinstance(settings.get("beacon_stride"), list) or "beacon_attend_previous" in settings:
        generation = "v1"
    try:
        return authors_config(settings), base_config(settings), generation
    except ConfigError as error:
        raise _refusal(folder, error) from error


def _refusal(folder: Path, error: BeaconError) -> ModelError:
    return ModelError(f"{folder} cannot be converted ({error}): use another checkpoint")


def _tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of the checkpoint; the index, if there is one, must agree with its shards."""
    single = folder / SINGLE
    if single.is_file():
        return read_header(single)
    if not (folder / INDEX).is_file():
        raise ModelError(f"{folder} has its weights in shards, but no {INDEX}: download it again")
    index = read_index(folder)
    stored: dict[str, StoredTensor] = {}
    for shard in sorted(set(index.values())):
        for name, tensor in read_header(folder / shard).items():
            if name in stored:
                raise ModelError(
                    f"{folder} holds {name} twice, in {stored[name].path.name} and {shard}: download it again"
                )
            stored[name] = tensor
    for name, shard in index.items():
        if name not in stored or stored[name].path.name != shard:
            raise ModelError(f"{folder / shard} does not hold {name}, which {INDEX} finds there: download both again")
    if left := sorted(stored.keys() - index.keys()):
        raise ModelError(f"{stored[left[0]].path} holds {left[0]}, which {INDEX} does not list: download both again")
    return stored
