"""A projection that treats beacon rows with weights of their own and leaves all other rows to the base layer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from activation_beacon.matmul import linear


class Projection(nn.Linear):
    """A projection whose product is the fast one of `matmul`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class BeaconRows:
    """Which rows of the current pass are beacons; shared by all `BeaconLinear` of a model."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None


@dataclass(frozen=True)
class Staying:
    """The rows of a pass that its last layers go on with, in order.

    Attributes:
        beacons: those of the pass.
    """

    rows: Tensor
    beacons: BeaconRows

    def narrow(self) -> None:
        """From now on, the pass has no other rows."""
        among = self.beacons.rows
        if among is not None:
            self.beacons.rows = torch.searchsorted(self.rows, among[torch.isin(among, self.rows)])


class BeaconLinear(nn.Module):
    """Wraps a projection of whatever kind (4-bit included): beacon rows get `beacon_layer`'s output instead.

    Args:
        base_layer: the projection that the model came with, untouched.
        beacon_layer: the beacons' own projection, of the same shape; may be quantized.
        rows: the rows (of the length axis) that are beacons, as the running pass says.
    """

    def __init__(self, base_layer: nn.Module, beacon_layer: nn.Module, rows: BeaconRows) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.beacon_layer = beacon_layer
        self._rows = rows

    @property
    def rows(self) -> Tensor | None:
        """Which rows of the running pass are beacons; None if none is."""
        return self._rows.rows

    def forward(self, x: Tensor) -> Tensor:
        """(batch, length, in) -> (batch, length, out)."""
        out: Tensor = self.base_layer(x)
        rows = self.rows
        if rows is None:
            return out
        x = x[:, rows]
        weight = self.beacon_layer.weight
        if isinstance(weight, Tensor) and weight.is_floating_point():  # a quantized layer casts by itself
            x = x.to(weight.dtype)
        beacons: Tensor = self.beacon_layer(x).to(out.dtype)
        if torch.is_grad_enabled():
            return out.index_copy(1, rows, beacons)
        return out.index_copy_(1, rows, beacons)
