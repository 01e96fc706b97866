"""Products of few rows: they wait for the weights to be read, so these are packed into few bits."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.linear import BeaconLinear

# (…, in) -> (…, out), in a type of its own.
Product = Callable[[Tensor], Tensor]
# Makes one of a weight (out, in) and a bias (out).
Pack = Callable[[Tensor, Tensor | None], Product]


class Packed:
    """Projections of the same rows as one product, and their beacons' as another, for the rows that are beacons."""

    def __init__(self, projections: tuple[nn.Module, ...], pack: Pack) -> None:
        self.projections = projections
        self._beacon_linear = next((each for each in projections if isinstance(each, BeaconLinear)), None)
        self._base = _packed([getattr(each, "base_layer", each) for each in projections], pack)
        self._pack = pack
        self._beacon: Product | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, rows, in) -> (batch, rows, all outputs)."""
        out = self._base(x)
        beacons = None if self._beacon_linear is None else self._beacon_linear.rows
        if beacons is not None:
            if self._beacon is None:
                self._beacon = _packed([getattr(each, "beacon_layer", each) for each in self.projections], self._pack)
            out[:, beacons] = self._beacon(x[:, beacons])
        return out


def _packed(layers: Sequence[Any], pack: Pack) -> Product:
    weight = torch.cat([layer.weight.float() for layer in layers])
    if all(layer.bias is None for layer in layers):
        return pack(weight, None)
    return pack(weight, torch.cat([_bias(layer) for layer in layers]))


def _bias(layer: Any) -> Tensor:
    bias: Tensor = layer.weight.new_zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias
    return bias.float()


def eight_bit_weights(weight: Tensor, bias: Tensor | None) -> Product:
    """Weights in 8 bits, each output with its own scale; inputs and outputs in bfloat16."""
    scales = (weight.abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    levels, scales = (weight / scales[:, None]).round_().to(torch.int8), scales.bfloat16()

    def product(x: Tensor) -> Tensor:
        out = torch._weight_int8pack_mm(x.bfloat16().view(-1, x.shape[-1]), levels, scales).view(*x.shape[:-1], -1)
        return out if bias is None else out + bias

    return product
