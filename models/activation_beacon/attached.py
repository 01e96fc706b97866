"""Where everything begins: a model made ready to condense, with a beacon or by selection, and what reads with it."""

from collections.abc import Mapping
from typing import Any, Self

from torch import nn

from activation_beacon.architecture import attention_modules, decoder_of, embeddings
from activation_beacon.installed import Installed
from activation_beacon.onepass import read_in_one_pass
from activation_beacon.planner import Planner
from activation_beacon.plugin import Beacon
from activation_beacon.ratios import Fixed
from activation_beacon.reader import Reader
from activation_beacon.rotary import Rotary, model_rotary, scaled_rotary
from activation_beacon.selection import SelectingReader, Selection


class Attached(Installed):
    """A model, with a beacon or without; leaving the `with` block, or `detach`, gives it back exactly as it was."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.detach()

    def reader(self, ratio: int | Planner, *, static: bool = False) -> Reader:
        """A reader of a new sequence whose beacons condense every interval at `ratio`, or as a planner says.

        Args:
            static: whether tokens that are read one by one are read with static shapes, on a CUDA device from a graph:
                there most of the time that decoding takes is that of launching kernels (`StaticPass`).

        Raises:
            ConfigError: if there is no beacon; for static shapes with rotary frequencies that grow.
        """
        planner = ratio if isinstance(ratio, Planner) else Planner(self.beacon.config, Fixed(ratio))
        return Reader(self, planner, static=static)

    def selecting_reader(self, ratio: int, selection: Selection) -> SelectingReader:
        """A reader of a new sequence that keeps, of each interval, one row in `ratio`; it needs no beacon."""
        return SelectingReader(self, selection, ratio)

    read_in_one_pass = read_in_one_pass


def attach(model: nn.Module, beacon: Beacon | None, *, rope_scaling: Mapping[str, Any] | None = None) -> Attached:
    """Put a beacon's projections, and a rotary embedding that memories can be moved with, into a model.

    Args:
        model: a transformers causal LM in eval mode, loaded with `attn_implementation="sdpa"` (the usual).
        beacon: must fit it; None for a model that is to select only.
        rope_scaling: what the beacon was trained with (`BeaconInfo.rope_scaling`), where transformers would read the
            model's configuration otherwise.

    Raises:
        ConfigError: if the beacon does not fit the model, one is attached already, or the model's attention or rotary
            embedding cannot carry one. The model is then as it was.
    """
    attention_modules(model)
    rotary = _rotary(model, rope_scaling)
    return Attached(model, beacon, rotary.to(embeddings(model).weight.device))


def _rotary(model: nn.Module, rope_scaling: Mapping[str, Any] | None) -> Rotary:
    config: Any = model.config
    rotary = model_rotary(decoder_of(model), config)
    if rope_scaling is None:
        return rotary
    return scaled_rotary(
        rope_scaling,
        base=config.rope_parameters["rope_theta"],
        dim=2 * rotary.inv_freq.shape[-1],
        positions=config.max_position_embeddings,
    )
