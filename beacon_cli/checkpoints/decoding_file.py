"""The file beside a converted model's weights that has its projections in the four bits that they came in.

A safetensors file: of each projection, by its weight's name, what `FourBits.groups` is; and, if the weights were given
a change of low rank since, `NAME.first` and `NAME.second`. Weights of 16 bits, which are multiplied with many rows, are
what a model is, and this file is nothing without them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from activation_beacon.decoder import Linear
from activation_beacon.four_bits import GROUP, GROUP_BYTES, FourBits
from beacon_cli.errors import ModelError

DECODING = "decoding.safetensors"
FIRST, SECOND = ".first", ".second"


def fill_four_bits(model: torch.nn.Module, folder: Path) -> bool:
    """Give a model's projections what the file in `folder` has; whether there is such a file.

    Raises:
        ModelError: if it is damaged.
    """
    path = folder / DECODING
    if not path.exists():
        return False
    try:
        entries = load_file(path)
        for name, module in model.named_modules():
            if isinstance(module, Linear) and f"{name}.weight" in entries:
                module.four_bits = _four_bits(f"{name}.weight", entries, module.weight.shape)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} cannot be used ({reason}): convert the model again") from error
    return True


def _four_bits(name: str, entries: Mapping[str, Tensor], shape: Any) -> FourBits:
    groups = entries[name]
    out, inputs = shape
    if (groups.shape, groups.dtype) != ((out, inputs // GROUP, GROUP_BYTES), torch.uint8):
        raise ValueError(f"{name} is {tuple(groups.shape)} there, and {tuple(shape)} in the weights")
    change = None
    if f"{name}{FIRST}" in entries:
        change = first, second = entries[f"{name}{FIRST}"], entries[f"{name}{SECOND}"]
        if first.shape[1:] != (inputs,) or second.shape != (out, len(first)):
            raise ValueError(f"the change of {name} does not fit it")
    return FourBits(groups, change)
