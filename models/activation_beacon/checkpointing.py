"""Activation checkpointing of decoder layers: the backward pass computes a layer again instead of keeping it.

transformers' own drops the cache object, which is what carries the memory here, and knows nothing of beacon rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from activation_beacon.architecture import layers_of
from activation_beacon.installed import Installed
from activation_beacon.linear import BeaconRows


@contextmanager
def checkpointed(attached: Installed) -> Iterator[None]:
    """Within the block, what runs through the layers keeps their inputs only; the backward pass may come after it."""
    layers: list[nn.Module] = layers_of(attached.decoder)
    # An instance may have a forward of its own already, where another library has hooked it.
    before = [layer.__dict__.get("forward") for layer in layers]
    for layer in layers:
        layer.forward = _computed_again(layer.forward, attached.rows)
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            if own is None:
                del layer.forward
            else:
                layer.forward = own


def _computed_again(forward: Callable[..., Any], rows: BeaconRows) -> Callable[..., Any]:
    def run(*arguments: Any, **keywords: Any) -> Any:
        beacons = rows.rows

        def with_beacons(*arguments: Any, **keywords: Any) -> Any:
            # When the backward pass comes here, the pass that said which rows are beacons is over.
            kept, rows.rows = rows.rows, beacons
            try:
                return forward(*arguments, **keywords)
            finally:
                rows.rows = kept

        return checkpoint(with_beacons, *arguments, use_reentrant=False, preserve_rng_state=False, **keywords)

    return run
