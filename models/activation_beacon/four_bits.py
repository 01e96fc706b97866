"""Products of few rows, with weights that came in four bits, in those four bits: they wait for weights to be read."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# So many inputs share a step; bytes of such a group, and of the levels in it.
GROUP, GROUP_BYTES, LEVEL_BYTES = 32, 20, 16


@dataclass(frozen=True)
class FourBits:
    """A weight (out, in) in four bits, and a change of low rank that it was given since.

    An entry is `middle + (level - 8) * step`, with a level from 0 to 15, and the step and the middle of its group of
    `GROUP` inputs.

    Attributes:
        groups: (out, in / GROUP, GROUP_BYTES) uint8: two levels a byte, the even input's in the low half, then step and
            middle in bfloat16.
        change: (rank, in) and (out, rank), first applied first; None for none.
    """

    groups: Tensor
    change: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, levels: Tensor, steps: Tensor, middles: Tensor) -> "FourBits":
        """Of (out, in) levels, and (out, in / GROUP) steps and middles."""
        pairs = levels.to(torch.uint8).view(*steps.shape, LEVEL_BYTES, 2)
        scales = torch.stack((steps, middles), -1).bfloat16().view(torch.uint8)
        return cls(torch.cat((pairs[..., 0] | pairs[..., 1] << 4, scales), -1))

    @property
    def levels(self) -> Tensor:
        """(out, in) uint8."""
        pairs = self.groups[..., :LEVEL_BYTES].flatten(1)
        return torch.stack((pairs & 15, pairs >> 4), -1).flatten(1)

    @property
    def scales(self) -> Tensor:
        """(out, in / GROUP, 2) bfloat16 steps and middles."""
        return self.groups[..., LEVEL_BYTES:].contiguous().view(torch.bfloat16)

    def weight(self) -> Tensor:
        """(out, in) float32, the change included."""
        steps, middles = self.scales.float().repeat_interleave(GROUP, 1).unbind(-1)
        weight = middles + (self.levels.float() - 8) * steps
        if self.change is not None:
            weight += self.change[1].float() @ self.change[0].float()
        return weight


class FourBitProduct:
    """(…, in) float32 -> (…, all outputs) float32, of weights that have the same inputs."""

    def __init__(self, weights: Sequence[FourBits], bias: Tensor | None) -> None:
        levels = torch.cat([each.levels for each in weights]).int()
        self._levels = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)
        self._scales = torch.cat([each.scales for each in weights]).transpose(0, 1).contiguous()
        self._bias, self._change = bias, _joined(weights)

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        product: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows.bfloat16(), self._levels, GROUP, self._scales
        ).float()
        if self._change is not None:
            first, second = self._change
            product.addmm_(rows.float() @ first, second)
        if self._bias is not None:
            product += self._bias
        return product.view(*x.shape[:-1], -1)


def _joined(weights: Sequence[FourBits]) -> tuple[Tensor, Tensor] | None:
    """(in, all ranks) and (all ranks, all outputs) float32 of the changes of weights; None if none has one."""
    changes = [each.change for each in weights if each.change is not None]
    if not changes:
        return None
    first = torch.cat([first for first, _ in changes]).float().T.contiguous()
    second = first.new_zeros(first.shape[1], sum(len(each.groups) for each in weights))
    rank = out = 0
    for each in weights:
        if each.change is not None:
            part = each.change[1]
            second[rank : rank + part.shape[1], out : out + part.shape[0]] = part.T
            rank += part.shape[1]
        out += len(each.groups)
    return first, second
