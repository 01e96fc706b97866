"""What GGUF files store in four bits, in those four bits: levels, and a step and a middle for each group of 32.

Layout of the blocks: ggml-common.h of https://github.com/ggml-org/ggml.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from activation_beacon.four_bits import FourBits
from beacon_cli.checkpoints.gguf.file import GgufTensor

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
# (blocks, bytes) -> (blocks, groups, 32) levels, and (blocks, groups) steps and middles.
Split = Callable[[Bytes], tuple[Bytes, Floats, Floats]]


def in_four_bits(tensor: GgufTensor) -> bool:
    """Whether a matrix is stored in four bits that can be taken as they are."""
    return tensor.kind.name in _SPLIT and len(tensor.shape) == 2 and not tensor.shape[0] % _ROWS


def four_bits(tensor: GgufTensor) -> FourBits:
    """The matrix, rows as transformers has them.

    Raises:
        ModelError: if they cannot be read.
    """
    out, (size, split) = tensor.shape[0], _SPLIT[tensor.kind.name]
    parts = split(tensor.content().reshape(-1, size))
    return FourBits.of(*(tensor.in_order(torch.from_numpy(np.ascontiguousarray(each)).view(out, -1)) for each in parts))


def _q4_0(blocks: Bytes) -> tuple[Bytes, Floats, Floats]:
    steps = _half(blocks[:, :2])
    return _halves(blocks[:, None, 2:]), steps, np.zeros_like(steps)


def _q4_1(blocks: Bytes) -> tuple[Bytes, Floats, Floats]:
    steps, least = _half(blocks[:, :2]), _half(blocks[:, 2:4])
    return _halves(blocks[:, None, 4:]), steps, least + 8 * steps


def _q4_k(blocks: Bytes) -> tuple[Bytes, Floats, Floats]:
    """Eight groups a block, whose steps and least values are six bits of the block's own."""
    first, second, third = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    steps = _half(blocks[:, :2]) * np.hstack((first & 63, third & 15 | first >> 2 & 48))
    least = -_half(blocks[:, 2:4]) * np.hstack((second & 63, third >> 4 | second >> 2 & 48))
    return _halves(blocks[:, 16:].reshape(len(blocks), 4, 32)).reshape(len(blocks), 8, 32), steps, least + 8 * steps


def _half(content: Bytes) -> Floats:
    return np.ascontiguousarray(content).view(np.float16).astype(np.float32)


def _halves(content: Bytes) -> Bytes:
    """(…, bytes) -> (…, 2 * bytes): the low halves of all, then the high halves."""
    return np.concatenate((content & 15, content >> 4), -1)


# By the kind's name: bytes of a block, and what takes it apart.
_SPLIT: dict[str, tuple[int, Split]] = {"Q4_0": (18, _q4_0), "Q4_1": (20, _q4_1), "Q4_K": (144, _q4_k)}
# torch's kernel takes outputs in multiples of these.
_ROWS = 16
