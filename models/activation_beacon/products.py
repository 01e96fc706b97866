"""Products of few rows: they wait for the weights to be read, so these are packed into few bits."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.four_bits import FourBitProduct
from activation_beacon.linear import BeaconLinear

# (…, in) -> (…, out), in a type of its own.
Product = Callable[[Tensor], Tensor]
# Makes one of a weight (out, in), of any type, and a bias (out).
Pack = Callable[[Tensor, Tensor | None], Product]
# In 16 bits, of an output and of the root mean square of all: the largest of thousands of errors is two fifths of this.
ROUNDING = 0.06
# Of a weight, packed at a time: they stay in the processor's cache.
OUTPUTS = 512


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
            out[:, beacons] = self._beacon(x[:, beacons]).to(out.dtype)
        return out


def _packed(layers: Sequence[Any], pack: Pack) -> Product:
    """As `pack` does it, or in the four bits that all of the weights came in."""
    bias = None if all(layer.bias is None for layer in layers) else torch.cat([_bias(layer) for layer in layers])
    came = [layer.four_bits for layer in layers if getattr(layer, "four_bits", None) is not None]
    if len(came) == len(layers) and _same(product := FourBitProduct(came, bias), layers):
        return product
    return pack(torch.cat([layer.weight for layer in layers]), bias)


def _same(product: Product, layers: Sequence[Any]) -> bool:
    """Whether it gives what the layers do, but for rounding: what is on disk beside their weights may be damaged."""
    x = torch.randn(1, layers[0].weight.shape[1], generator=torch.Generator().manual_seed(0))
    expected = torch.cat([layer(x).float() for layer in layers], -1)
    near = ROUNDING * (expected.abs() + expected.square().mean().sqrt())
    return bool(((product(x) - expected).abs() < near).all())


def _bias(layer: Any) -> Tensor:
    bias: Tensor = layer.weight.new_zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias
    return bias.float()


def eight_bit_weights(weight: Tensor, bias: Tensor | None) -> Product:
    """Weights in 8 bits, each output with its own scale; inputs and outputs in bfloat16."""
    levels = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(weight.shape[0], dtype=torch.bfloat16, device=weight.device)
    least = torch.finfo(torch.float32).tiny
    for first in range(0, weight.shape[0], OUTPUTS):
        part = slice(first, first + OUTPUTS)
        exact = weight[part].float()
        steps = (exact.abs().amax(1) / 127).clamp_min(least)
        levels[part], scales[part] = (exact / steps[:, None]).round_(), steps

    def product(x: Tensor) -> Tensor:
        out = torch._weight_int8pack_mm(x.bfloat16().view(-1, x.shape[-1]), levels, scales).view(*x.shape[:-1], -1)
        return out if bias is None else out + bias

    return product
