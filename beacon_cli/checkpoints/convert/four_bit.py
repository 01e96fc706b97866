"""4-bit weights as bitsandbytes has them: NF4 in blocks of 64, their scales quantized once more."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.errors import CheckpointError
from beacon_cli.checkpoints.local.model_folder import MARK


def settings(dtype: torch.dtype) -> Any:
    """What tells transformers so, for products in `dtype`: a `BitsAndBytesConfig`."""
    from transformers import BitsAndBytesConfig  # noqa: PLC0415  takes seconds, which most commands can do without

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def quantize(name: str, weight: Tensor) -> dict[str, Tensor]:
    """The entries of a state dict that hold `weight` in 4 bits, as stock transformers loads them.

    Args:
        name: the weight's, ending in `.weight`.
        weight: (out, in) of a 16- or 32-bit type, which is what it is dequantized to.
    """
    packed, state = _library().functional.quantize_4bit(
        weight, blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    return {name: packed, **{f"{name}.{part}": value for part, value in state.as_dict(packed=True).items()}}


def dequantize(name: str, entries: Mapping[str, Tensor]) -> Tensor:
    """The weight that `quantize` was given, as it came out of it: to the bit what bitsandbytes makes of the entries.

    That library takes longer to import than a small model to load.

    Raises:
        CheckpointError: if entries are missing or malformed.
    """
    with _intact(name):
        state = _state(name, entries)
        scales, levels = (entries[f"{name}.{part}"] for part in ("absmax", "quant_map"))
        if f"{name}.nested_absmax" in entries:  # they are quantized too
            coarse = entries[f"{name}.nested_absmax"].repeat_interleave(state["nested_blocksize"])[: scales.numel()]
            scales = entries[f"{name}.nested_quant_map"][scales.int()] * coarse + state["nested_offset"]
        size, packed = math.prod(state["shape"]), entries[name].flatten()
        codes = torch.stack((packed >> 4, packed & 15), -1).flatten()[:size].int()
        weight = levels[codes] * scales.repeat_interleave(state["blocksize"])[:size]
        return weight.view(state["shape"]).to(getattr(torch, state["dtype"]))


def stored_shape(name: str, entries: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape of the weight that `quantize` was given.

    Raises:
        CheckpointError: if entries are missing or malformed.
    """
    with _intact(name):
        return tuple(_state(name, entries)["shape"])


def four_bit_linear(name: str, entries: Mapping[str, Tensor], bias: Tensor | None, dtype: torch.dtype) -> nn.Module:
    """A linear layer that keeps the weight `name` in 4 bits, on the device of its entries, and computes in `dtype`.

    Raises:
        CheckpointError: if entries are missing or malformed.
    """
    out_features, in_features = stored_shape(name, entries)
    parts = {entry.removeprefix(f"{name}."): value for entry, value in entries.items() if entry.startswith(f"{name}.")}
    library = _library().nn
    layer: nn.Module = library.Linear4bit(
        in_features, out_features, bias is not None, dtype, quant_type="nf4", device="meta"
    )
    with _intact(name):
        layer.weight = library.Params4bit.from_prequantized(
            entries[name], parts, device=entries[name].device, module=layer
        )
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def matrix(layer: nn.Module) -> Tensor:
    """The weight (out, in) of a linear layer, dequantized if it is in 4 bits."""
    weight: Any = layer.weight
    state = getattr(weight, "quant_state", None)
    dense: Tensor = weight if state is None else _library().functional.dequantize_4bit(weight.data, state)
    return dense


def _state(name: str, entries: Mapping[str, Tensor]) -> Any:
    """What bitsandbytes wrote beside the numbers of a weight: its shape, its type, the sizes of its blocks."""
    return json.loads(bytes(entries[f"{name}{MARK}"].tolist()))


@contextmanager
def _intact(name: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError) as error:
        raise CheckpointError(f"the 4-bit weight {name} is damaged ({error!r}): convert the model again") from error


def _library() -> Any:
    """bitsandbytes, which tells of kernels that it does not find while it is imported."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import bitsandbytes  # noqa: PLC0415  imports torch

    return bitsandbytes
