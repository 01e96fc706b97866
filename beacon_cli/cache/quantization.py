"""Activations in 16, 8 or 4 bits: every row by itself, 8 and 4 in groups of channels that share a scale.

16 bits are float16, whatever type was computed in: its error is an eighth of bfloat16's (0.02 % of the default model's
numbers), and in its range it holds all of bfloat16's but tiny ones (below 6e-5). What is beyond is refused.

With 8 and 4, a group's largest magnitude becomes the largest code (127 or 7), so scales are its ratio to that, in
float16. Symmetric codes leave one bit pattern unused, and need no zero point. A row's codes depend on nothing but the
row: rounding an interval at once, or row by row, or again after loading, gives the same numbers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from beacon_cli.errors import CacheError

GROUP = 32
_SMALLEST, _LARGEST = 2.0**-24, 65504.0  # of the positive float16 numbers


@dataclass(frozen=True)
class Quantized:
    """Rounded rows.

    Attributes:
        codes: (…, channels) int8; or (…, channels / 2) uint8, two codes a byte, the even channel's in its low half.
        scales: (…, groups) float16.
    """

    codes: Tensor
    scales: Tensor


def quantize(rows: Tensor, bits: int) -> Quantized:
    """Round (…, channels) of any float type to `bits` (8 or 4) a number.

    Raises:
        ValueError: for an odd number of channels in 4 bits.
    """
    channels = rows.shape[-1]
    largest = 2 ** (bits - 1) - 1
    groups = rows.float().reshape(*rows.shape[:-1], -1, math.gcd(channels, GROUP))  # (…, groups, group)
    scales = (groups.abs().amax(-1) / largest).clamp(_SMALLEST, _LARGEST).half()
    codes = (groups / scales.float()[..., None]).round().clamp(-largest, largest).flatten(-2).to(torch.int8)
    if bits == 8:
        return Quantized(codes, scales)
    if channels % 2:
        raise ValueError(f"{channels} channels do not go in pairs into bytes")
    pairs = codes.view(torch.uint8) & 0xF
    return Quantized(pairs[..., ::2] | (pairs[..., 1::2] << 4), scales)


def dequantize(quantized: Quantized, bits: int) -> Tensor:
    """What `quantize` rounded to, (…, channels) in float32."""
    codes = quantized.codes
    if bits == 4:
        pairs = torch.stack([codes & 0xF, codes >> 4], -1).flatten(-2)
        codes = (pairs ^ 8).to(torch.int8) - 8  # the sign of four bits
    groups = codes.float().reshape(*quantized.scales.shape, -1)
    return (groups * quantized.scales.float()[..., None]).flatten(-2)


def half(rows: Tensor) -> Tensor:
    """`rows` in float16.

    Raises:
        CacheError: if a number is beyond that.
    """
    made = rows.half()
    if made.isinf().any():
        raise CacheError(
            f"an activation is beyond the {_LARGEST:,.0f} that 16 bits hold; 8 bits scale each row: `--cache-bits 8`, "
            "with a cache"
        )
    return made


def rounded(rows: Tensor, bits: int) -> Tensor:
    """`rows` as they will be when they have been on disk, in their own type.

    Raises:
        CacheError: see `half`.
    """
    if bits == 16:
        return half(rows).to(rows.dtype)
    return dequantize(quantize(rows, bits), bits).to(rows.dtype)
