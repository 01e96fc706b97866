"""What a decoder layer's keys and values go to: a transformers `Cache` to whoever calls it, without importing that."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class CacheLayer:
    """One layer's part of a `Cache`.

    Attributes:
        keys, values: what it holds, once it `is_initialized`.
    """

    is_sliding = False
    is_compileable = False
    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        self.is_initialized = False

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Take a pass's (batch, kv_heads, rows, head_dim); return what its rows may attend to."""
        raise NotImplementedError

    def get_seq_length(self) -> int:
        """Rows before those of the running pass."""
        raise NotImplementedError


class Cache:
    """The layers of a memory, as decoders address them: `past_key_values`, of transformers' models and of ours."""

    is_compileable = False

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers: list[Any] = list(layers)

    @property
    def is_sliding(self) -> list[bool]:
        return [layer.is_sliding for layer in self.layers]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """See `CacheLayer.update`."""
        rows: tuple[Tensor, Tensor] = self.layers[layer_idx].update(key_states, value_states)
        return rows

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """See `CacheLayer.get_seq_length`."""
        return int(self.layers[layer_idx].get_seq_length())

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """The index of a pass's first row among the keys."""
        return self.get_seq_length(layer_idx)

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Keys that a pass of so many rows attends to, and the first one's index."""
        return self.get_seq_length(layer_idx) + query_length, 0
