"""What GGUF files store in four bits, in those four bits: levels, and a step and a middle for each group of 32.

Layout of the blocks: ggml-common.h of https://github.com/ggml-org/ggml.
"""

from collections.abc import Callable

import gguf
import numpy as np
import torch
from gguf.quants import Q4_K
from numpy.typing import NDArray

from activation_beacon.four_bits import FourBits
from beacon_cli.checkpoints.gguf.file import GgufTensor

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
# (blocks, bytes) -> (blocks, groups, 32) levels, and (blocks, groups) steps and middles.
Split = Callable[[Bytes], tuple[Bytes, Floats, Floats]]


def in_four_bits(tensor: GgufTensor) -> bool:
    """Whether a matrix is stored in four bits that can be taken as they are."""
    return tensor.kind in _SPLIT and len(tensor.shape) == 2 and not tensor.shape[0] % _ROWS


def four_bits(tensor: GgufTensor) -> FourBits:
    """The matrix, rows as transformers has them.

    Raises:
        ModelError: if they cannot be read.
    """
    blocks = tensor.content().reshape(-1, gguf.GGML_QUANT_SIZES[tensor.kind][1])
    out = tensor.shape[0]
    parts = _SPLIT[tensor.kind](blocks)
    return FourBits.of(*(tensor.in_order(torch.from_numpy(np.ascontiguousarray(each)).view(out, -1)) for each in parts))


def _q4_0(blocks: Bytes) -> tuple[Bytes, Floats, Floats]:
    steps = _half(blocks[:, :2])
    return _halves(blocks[:, None, 2:]), steps, np.zeros_like(steps)


def _q4_1(blocks: Bytes) -> tuple[Bytes, Floats, Floats]:
    steps, least = _half(blocks[:, :2]), _half(blocks[:, 2:4])
    return _halves(blocks[:, None, 4:]), steps, least + 8 * steps


def _q4_k(blocks: Bytes) -> tuple[Bytes, Floats, Floats]:
    """Eight groups a block, whose steps and least values are six bits of the block's own."""
    step_bits, least_bits = Q4_K.get_scale_min(blocks[:, 4:16])
    steps, least = _half(blocks[:, :2]) * step_bits, -_half(blocks[:, 2:4]) * least_bits
    return _halves(blocks[:, 16:].reshape(len(blocks), 4, 32)).reshape(len(blocks), 8, 32), steps, least + 8 * steps


def _half(content: Bytes) -> Floats:
    return np.ascontiguousarray(content).view(np.float16).astype(np.float32)


def _halves(content: Bytes) -> Bytes:
    """(…, bytes) -> (…, 2 * bytes): the low halves of all, then the high halves."""
    return np.concatenate((content & 15, content >> 4), -1)


_KINDS = gguf.GGMLQuantizationType
_SPLIT: dict[gguf.GGMLQuantizationType, Split] = {_KINDS.Q4_0: _q4_0, _KINDS.Q4_1: _q4_1, _KINDS.Q4_K: _q4_k}
# torch's kernel takes outputs in multiples of these.
_ROWS = 16
