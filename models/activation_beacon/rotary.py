"""Rotary positions that can be taken off a key, put on elsewhere, or moved (`docs/FORMAT.md` 7).

Rotations compose exactly: a key at position p, rotated by q - p, is the key at q. All arithmetic is float32 and
elementwise, so that a key's bits depend on the key and its positions alone, not on what is rotated with it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from activation_beacon.errors import ConfigError

# The authors' yarn fixes these two, as the original does (rotations at which interpolation begins and ends).
YARN_FAST, YARN_SLOW = 128, 2


class Rotary(nn.Module):
    """The frequencies of a model's rotary embedding; stands in for the decoder's own `rotary_emb`.

    Args:
        inv_freq: (rotary_dim / 2) angular frequencies, in radians a position.
        scaling: factor on cosine and sine, of queries and keys alike.
    """

    def __init__(self, inv_freq: Tensor, scaling: float = 1.0) -> None:
        super().__init__()
        self.inv_freq: Tensor
        self.register_buffer("inv_freq", inv_freq.detach().float().clone(), persistent=False)
        self.scaling = scaling

    grows = False

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # `model.to(bfloat16)` must not round the frequencies: a thousand positions on, the angles would be other ones.
        kept = self.inv_freq
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        self.inv_freq = kept.to(self.inv_freq.device)
        return self

    def prepare(self, length: int) -> bool:
        """Take the frequencies of a sequence of `length` positions; True if others were in use.

        Only those that `grows` ever change: whatever was read before, they depend on `length` alone.
        """
        return False

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine, unscaled, each (*positions, rotary_dim / 2) in float32."""
        angle = positions[..., None].float() * self.inv_freq
        return angle.cos(), angle.sin()

    def forward(self, hidden: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine as decoder layers take them: each (batch, length, rotary_dim) in `hidden`'s dtype."""
        cos, sin = self.angles(position_ids)
        cos, sin = torch.cat((cos, cos), -1) * self.scaling, torch.cat((sin, sin), -1) * self.scaling
        return cos.to(hidden.dtype), sin.to(hidden.dtype)

    def rotate(self, keys: Tensor, positions: Tensor) -> Tensor:
        """Put position-free keys (..., rows, head_dim) at `positions` (rows)."""
        return turn(keys, *self.angles(positions), self.scaling)

    def unrotate(self, keys: Tensor, positions: Tensor) -> Tensor:
        """Take the rotation of `positions` (rows) off keys (..., rows, head_dim)."""
        cos, sin = self.angles(positions)
        return turn(keys, cos, -sin, 1.0 / self.scaling)


def turn(keys: Tensor, cos: Tensor, sin: Tensor, scale: float) -> Tensor:
    """Rotate (..., rows, head_dim) by angles of which `cos` and `sin`, (rows, rotary_dim / 2), are given; scale."""
    half = cos.shape[-1]
    x = keys.float()
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    # Products and sums stay separate operations: a fused multiply-add would round differently in vector and tail lanes.
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    if scale != 1.0:
        turned = turned * scale
    return (torch.cat((turned, rest), -1) if rest.shape[-1] else turned).to(keys.dtype)


class GrowingRotary(Rotary):
    """Frequencies that depend on how long the sequence is, beyond a length up to which they stay.

    Args:
        shortest: that length.
    """

    grows = True

    def __init__(self, inv_freq: Tensor, shortest: int) -> None:
        super().__init__(inv_freq)
        self.shortest = self.length = shortest

    def prepare(self, length: int) -> bool:
        length = max(length, self.shortest)
        if length == self.length:
            return False
        self.length = length
        self._grow(length)
        return True

    def _grow(self, length: int) -> None:
        raise NotImplementedError


class DynamicRotary(GrowingRotary):
    """`dynamic`: the base grows with the sequence."""

    def __init__(self, base: float, dim: int, factor: float, positions: int) -> None:
        super().__init__(_inverse_frequencies(base, dim), positions)
        self.base, self.dim, self.factor, self.positions = base, dim, factor, positions

    def _grow(self, length: int) -> None:
        base = self.base
        if length > self.positions:
            growth = self.factor * length / self.positions - (self.factor - 1)
            base *= growth ** (self.dim / (self.dim - 2))
        self.inv_freq = _inverse_frequencies(base, self.dim).to(self.inv_freq.device)


class AuthorsYarnRotary(GrowingRotary):
    """The authors' `yarn`, which differs from transformers': see the rule for its ramp and for growing factors."""

    def __init__(self, base: float, dim: int, factor: float, positions: int) -> None:
        super().__init__(_inverse_frequencies(base, dim), math.ceil(positions * factor))
        self.base, self.dim, self.positions, self.factor = base, dim, positions, factor
        self._grow(self.shortest)

    def _grow(self, length: int) -> None:
        factor = length / self.positions if length > self.shortest else self.factor
        plain = _inverse_frequencies(self.base, self.dim)
        low = max(math.floor(self._ramp_end(YARN_FAST)), 0)
        high: float = min(math.ceil(self._ramp_end(YARN_SLOW)), self.dim - 1)
        if high == low:
            high += 0.001
        ramp = (torch.arange(self.dim // 2, dtype=torch.float32) - low) / (high - low)
        keep = 1 - ramp.clamp(0, 1)
        inv_freq = keep * plain + (1 - keep) * plain / factor
        self.inv_freq = inv_freq.to(self.inv_freq.device)
        self.scaling = 0.07 * math.log(factor) + 1 if factor > 1 else 1.0

    def _ramp_end(self, rotations: int) -> float:
        return self.dim / 2 * math.log(self.positions / (2 * math.pi * rotations)) / math.log(self.base)


def _inverse_frequencies(base: float, dim: int) -> Tensor:
    return 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))


def _llama3_frequencies(inv_freq: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    """Llama 3.1's piecewise stretching of long wavelengths."""
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    factor, positions = float(scaling["factor"]), int(scaling["original_max_position_embeddings"])
    turns = positions * inv_freq / (2 * math.pi)
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - smooth) * inv_freq / factor + smooth * inv_freq


def scaled_rotary(scaling: Mapping[str, Any] | None, *, base: float, dim: int, positions: int) -> Rotary:
    """The rotary embedding that a checkpoint's `rope_scaling` describes, by the authors' reading of it.

    Args:
        scaling: `{"type": "linear" | "dynamic" | "yarn" | "llama3", "factor": ...}`, or None for plain RoPE.
        base: `rope_theta`.
        dim: rotary dimensions of a head.
        positions: `max_position_embeddings`.

    Raises:
        ConfigError: for an unknown type.
    """
    plain = _inverse_frequencies(base, dim)
    if scaling is None:
        return Rotary(plain)
    kind = scaling.get("type", scaling.get("rope_type"))
    if kind in (None, "default"):
        return Rotary(plain)
    if kind == "linear":
        return Rotary(plain / float(scaling["factor"]))
    if kind == "llama3":
        return Rotary(_llama3_frequencies(plain, scaling))
    if kind == "dynamic":
        return DynamicRotary(base, dim, float(scaling["factor"]), positions)
    if kind == "yarn":
        return AuthorsYarnRotary(base, dim, float(scaling["factor"]), positions)
    raise ConfigError(f"unknown rope_scaling type {kind!r}; known: linear, dynamic, yarn, llama3")


def model_rotary(decoder: nn.Module, config: Any) -> Rotary:
    """The rotary embedding of a stock transformers decoder, as transformers reads its configuration.

    Raises:
        ConfigError: if the decoder has none, or a type whose frequencies depend on the input in a way unknown here.
    """
    own = getattr(decoder, "rotary_emb", None)
    inv_freq = getattr(own, "inv_freq", None)
    if not isinstance(inv_freq, Tensor):
        raise ConfigError(f"{type(decoder).__name__} has no rotary position embedding that a beacon could use")
    kind = getattr(own, "rope_type", "default")
    if kind == "dynamic":
        rope = config.rope_parameters
        dim = inv_freq.shape[-1] * 2
        return DynamicRotary(rope["rope_theta"], dim, rope["factor"], config.max_position_embeddings)
    if kind == "longrope":
        raise ConfigError("rope type 'longrope' is not supported: its keys cannot be moved between positions")
    return Rotary(inv_freq, float(getattr(own, "attention_scaling", 1.0)))


def position_tensor(positions: Sequence[int], device: torch.device) -> Tensor:
    """(rows) int64 positions on `device`."""
    return torch.tensor(positions, dtype=torch.int64, device=device)
