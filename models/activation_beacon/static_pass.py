"""A token's pass with static shapes, of which a CUDA device keeps a graph.

Decoding on a GPU waits for Python and for kernels to be launched, one after another, not for the device. A graph,
captured once, launches all of a pass at once; for that, each token is read into and out of the same tensors: it attends
to all of the memory's buffers, and a mask hides the rows that hold nothing. Whatever the shapes, the same is computed,
but for the rounding of sums.
"""

from typing import Any

import torch
from torch import Tensor

from activation_beacon.cache import Cache, CacheLayer
from activation_beacon.installed import Installed
from activation_beacon.memory import SequenceMemory

# Passes before a graph is captured: what is made when it is first needed is then there.
WARM_UP = 2


class _Buffers(CacheLayer):
    """A memory layer's buffers, all of whose rows are attended to.

    Args:
        row: (1) where the new row goes.
    """

    def __init__(self, keys: Tensor, values: Tensor, row: Tensor) -> None:
        super().__init__()
        self.keys, self.values, self._row = keys, values, row
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self._row, key_states)
        self.values.index_copy_(2, self._row, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.keys.shape[2] - 1


class StaticPass:
    """Reads single tokens that see all of a memory; computes anew only what a memory that has grown makes necessary.

    Args:
        captured: whether passes are replayed from a CUDA graph; if not, the same is computed kernel by kernel.
    """

    def __init__(self, attached: Installed, memory: SequenceMemory, *, captured: bool) -> None:
        self._attached, self._memory, self._captured = attached, memory, captured
        self._of: list[Tensor] = []
        # The token's id, its position, and its row.
        self._given = torch.zeros(3, dtype=torch.int64, device=attached.device)
        self._buffers = Cache([])
        self._graph: Any = None
        self._hidden = torch.empty(0)

    def read(self, token: int, position: int) -> Tensor:
        """The last hidden state, (hidden), of one more token, whose row is then the first after the memory's."""
        row, layers = self._memory.size, self._memory.layers
        for layer in layers:
            layer.reserve(row + 1)
        self._given.copy_(torch.tensor([token, position, row]))
        buffers = [each for layer in layers for each in (layer.keys, layer.values)]
        if len(buffers) != len(self._of) or any(a is not b for a, b in zip(buffers, self._of, strict=True)):
            self._of, where = buffers, self._given[2:]
            for each in buffers:
                each[:, :, row:] = 0  # a mask hides what is finite
            self._buffers = Cache([_Buffers(layer.keys, layer.values, where) for layer in layers])
            if self._captured:
                self._capture()
        if self._graph is None:
            return self._computed()
        self._graph.replay()
        return self._hidden.clone()

    def _capture(self) -> None:
        """Passes write the same row each time, so that to repeat one changes nothing."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # untyped in torch
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._computed()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._hidden = self._computed()

    def _computed(self) -> Tensor:
        token, position, row = self._given[0:1], self._given[1:2], self._given[2:3]
        rows = torch.arange(self._of[0].shape[2], device=row.device)
        seen = (rows <= row)[None, None, None]
        return self._attached.run(token[None], position, self._buffers, seen)[0, -1]
