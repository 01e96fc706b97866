"""Loading a beacon whose projections are in 4 bits, or are to be."""

from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from activation_beacon.checkpoint import load_beacon, read_info
from activation_beacon.files import WEIGHTS_FILE
from activation_beacon.plugin import Beacon
from beacon_cli.checkpoints.convert.four_bit import dequantize, four_bit_linear, quantize, stored_shape
from beacon_cli.checkpoints.local.model_folder import MARK
from beacon_cli.errors import CheckpointError

# What is quantized has this type before, wherever that happens.
_SOURCE_DTYPE = torch.bfloat16


def stored_bits(folder: Path) -> int:
    """4 if the beacon in `folder` is stored in 4 bits, else 16.

    Raises:
        CheckpointError: if its weights cannot be read.
    """
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="pt") as file:
            return 4 if any(name.endswith(MARK) for name in file.keys()) else 16  # noqa: SIM118  not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): download, convert or train the beacon again") from None


def load_adapter(
    folder: Path, model: nn.Module, *, bits: int, packed: bool, dtype: torch.dtype, device: torch.device
) -> Beacon:
    """The beacon of `folder`, fitted to `model`, frozen.

    Args:
        bits: 16 loads it as it is stored; 4 quantizes projections that are not stored so.
        packed: whether 4-bit projections stay packed, or are dequantized once.
        dtype: to compute in.

    Raises:
        CheckpointError: if its weights are missing, damaged, not finite, or do not fit the model.
    """
    if stored_bits(folder) == 4:
        entries = _read(folder / WEIGHTS_FILE, device)
        with torch.device("meta"):
            beacon = Beacon.like(read_info(folder).config, model)
        _check(folder / WEIGHTS_FILE, beacon, entries)
    elif bits == 4:
        beacon, entries = load_beacon(folder, model, dtype=_SOURCE_DTYPE, device=device), {}
        for name, tensor in beacon.state_dict().items():
            entries |= quantize(name, tensor) if name.endswith(".weight") else {name: tensor}
    else:
        return load_beacon(folder, model, dtype=dtype, device=device)
    beacon.embedding = nn.Parameter(entries["embedding"].to(dtype), requires_grad=False)
    for index, layer in enumerate(beacon.layers):
        projections = cast(nn.ModuleDict, layer)
        for p in projections:
            projections[p] = _layer(f"layers.{index}.{p}", entries, packed, dtype)
    return beacon.requires_grad_(False).eval()


def _layer(name: str, entries: dict[str, Tensor], packed: bool, dtype: torch.dtype) -> nn.Module:
    bias = entries[f"{name}.bias"].to(dtype) if f"{name}.bias" in entries else None
    if packed:
        return four_bit_linear(f"{name}.weight", entries, bias, dtype)
    weight = dequantize(f"{name}.weight", entries).to(dtype)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


def _read(path: Path, device: torch.device) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            # Copied, as the file may be replaced.
            return {name: file.get_tensor(name).to(device, copy=True) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): convert the model again") from None


def _check(path: Path, beacon: Beacon, entries: dict[str, Tensor]) -> None:
    """Whether the entries are those of that beacon, with its shapes, and finite."""
    for name, expected in beacon.state_dict().items():
        shape: tuple[int, ...] | None = None
        if f"{name}{MARK}" in entries:
            shape = stored_shape(name, entries)
        elif name in entries:
            shape = tuple(entries[name].shape)
        if shape != tuple(expected.shape):
            raise CheckpointError(
                f"{path} does not fit the base model: {name} is {shape or 'missing'}, and the model needs "
                f"{tuple(expected.shape)}; convert the model again"
            )
    broken = next((name for name, t in entries.items() if t.is_floating_point() and not t.isfinite().all()), None)
    if broken:
        raise CheckpointError(f"{path}: {broken} holds values that are not finite; convert the model again")
