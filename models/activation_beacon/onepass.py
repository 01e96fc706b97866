"""All intervals of a text in one forward pass, exactly, and differentiably.

A layer's beacon keys depend on that layer's input alone, and no interval needs a later one. So the beacons' keys
enter attention twice: at their window position, seen inside their own interval, and moved to their memory position,
seen by the later intervals. With stride < window, so do the tokens that open the next interval. Frequencies that
grow with the length read (`dynamic`, the authors' yarn) are for all intervals those of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from activation_beacon.cache import Cache, CacheLayer
from activation_beacon.installed import Installed
from activation_beacon.interval_mask import IntervalMask, IntervalRows
from activation_beacon.masks import whole_mask
from activation_beacon.memory import Activations
from activation_beacon.planner import Pass, Slot
from activation_beacon.rotary import Rotary, position_tensor


@dataclass(frozen=True)
class Layout:
    """Where everything of a text stands in one pass; all sequences of a batch share it.

    A *source* is a key that the pass has: those carried over from the interval before, then its own rows.

    Attributes:
        carried: how many sources are carried over.
        raw: rows of the ordinary tokens.
        beacons: rows of the beacons.
        positions: of every source.
        moved: sources whose keys enter a second time, at another position: first all that become memory, in memory
            order, then what an interval leaves to the next (stride < window). After those, what the last leaves.
        moved_to: where those that enter stand then.
        memorized: how many of them become memory.
        order: of all that entered and all sources, what attention takes: the memory, then the keys of each interval in
            turn. None if that is how they stand.
        mask: what the rows of each interval attend to.
    """

    carried: int
    raw: Tensor
    beacons: Tensor
    positions: Tensor
    moved: Tensor
    moved_to: Tensor
    memorized: int
    order: Tensor | None
    mask: IntervalMask


def lay_out(plans: Sequence[Pass], device: torch.device) -> Layout:
    """Combine consecutive passes of a text into one."""
    prefix, carried = plans[0].memory, len(plans[0].cached)
    entries: list[Slot] = [*plans[0].cached]
    # Sources: all that become memory; what is copied for the next interval; those of the running interval.
    memorized: list[int] = []
    copied: list[int] = []
    copied_to: list[int] = []
    window = [*range(carried)]
    seen: list[int] = []  # the keys of each interval in turn
    for plan in plans:
        # A negative key is a copy: the first is -1. Their column is known when all of the memory is.
        keys = []
        for source, entry in zip(window, plan.cached, strict=True):
            if entries[source].position == entry.position:
                keys.append(source)
            else:
                copied.append(source)
                copied_to.append(entry.position)
                keys.append(-len(copied))
        new = range(len(entries), len(entries) + len(plan.entries))
        seen += [*keys, *new]
        entries += plan.entries
        window += new
        if plan.full:
            memorized += [window[index] for index in (*plan.sink, *plan.condensed)]
            window = [window[index] for index in plan.kept]
    rows = entries[carried:]
    entering = len(memorized) + len(copied)
    order = [*range(len(memorized)), *(entering + key if key >= 0 else len(memorized) - 1 - key for key in seen)]
    return Layout(
        carried=carried,
        raw=position_tensor([row for row, entry in enumerate(rows) if not entry.is_beacon], device),
        beacons=position_tensor([row for row, entry in enumerate(rows) if entry.is_beacon], device),
        positions=position_tensor([entry.position for entry in entries], device),
        moved=position_tensor([*memorized, *copied, *window], device),
        moved_to=position_tensor([*range(prefix, prefix + len(memorized)), *copied_to], device),
        memorized=len(memorized),
        order=None if order == [*range(len(order))] else position_tensor(order, device),
        mask=IntervalMask.of([IntervalRows(plan.memory, whole_mask(plan, device)) for plan in plans]),
    )


class _OnePassLayer(CacheLayer):
    def __init__(
        self,
        layout: Layout,
        rotary: Rotary,
        prefix: tuple[Tensor, Tensor] | None,
        carried: tuple[Tensor, Tensor] | None,
    ) -> None:
        super().__init__()
        self._layout, self._rotary, self._prefix, self._carried = layout, rotary, prefix, carried

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """(batch, kv_heads, rows, head_dim) -> what attention takes, the prefix first; see `Layout.order`."""
        layout, rotary = self._layout, self._rotary
        if self._carried is not None:
            key_states = _after(self._carried[0], key_states)
            value_states = _after(self._carried[1], value_states)
        free = rotary.unrotate(key_states[:, :, layout.moved], layout.positions[layout.moved])
        moved = value_states[:, :, layout.moved]
        entering = layout.moved_to.shape[0]
        # Kept so that what became memory, and what is left over, can be read off; the tensors exist anyway.
        self.keys, self.values = free[:, :, : layout.memorized], moved[:, :, : layout.memorized]
        self.left = free[:, :, entering:], moved[:, :, entering:]
        keys = torch.cat((rotary.rotate(free[:, :, :entering], layout.moved_to), key_states), 2)
        values = torch.cat((moved[:, :, :entering], value_states), 2)
        if layout.order is not None:
            keys, values = keys[:, :, layout.order], values[:, :, layout.order]
        if self._prefix is not None:
            keys, values = _after(self._prefix[0], keys), _after(self._prefix[1], values)
        return keys, values

    def get_seq_length(self) -> int:
        return 0


def _after(first: Tensor, rows: Tensor) -> Tensor:
    """(1, kv_heads, n, head_dim) before each of (batch, kv_heads, rows, head_dim)."""
    return torch.cat((first.expand(rows.shape[0], -1, -1, -1), rows), 2)


class _OnePassMemory(Cache):
    def __init__(
        self, layers: int, layout: Layout, rotary: Rotary, prefix: Activations | None, carried: Activations | None
    ) -> None:
        before = prefix.size if prefix is not None else 0
        prefixes = _placed(prefix, rotary, torch.arange(before, device=layout.positions.device), layers)
        carries = _placed(carried, rotary, layout.positions[: layout.carried], layers)
        super().__init__(layers=[_OnePassLayer(layout, rotary, *each) for each in zip(prefixes, carries, strict=True)])


def _placed(
    activations: Activations | None, rotary: Rotary, positions: Tensor, layers: int
) -> Sequence[tuple[Tensor, Tensor] | None]:
    """For each layer, keys at `positions` and values, both (1, kv_heads, rows, head_dim)."""
    if activations is None:
        return [None] * layers
    keys = rotary.rotate(activations.keys, positions)
    return [(keys[index, None], activations.values[index, None]) for index in range(layers)]


@dataclass(frozen=True)
class OnePass:
    """What came of it.

    Attributes:
        hidden: (batch, tokens, hidden) last hidden states of the ordinary tokens, in order.
        keys, values: (batch, layers, kv_heads, rows, head_dim) of what became memory; keys position-free.
        left: the same two of what is left over of the last interval, for a further pass to carry on.
    """

    hidden: Tensor
    keys: Tensor
    values: Tensor
    left: tuple[Tensor, Tensor]


def read_in_one_pass(
    attached: Installed,
    plans: Sequence[Pass],
    ids: Tensor,
    prefix: Activations | None = None,
    carried: Activations | None = None,
    *,
    length: int | None = None,
) -> OnePass:
    """Read whole texts at once; equals `Reader`, interval by interval, up to rounding.

    Args:
        plans: a planner's passes over the text's length, from its beginning, or after `prefix`.
        ids: (batch, tokens).
        prefix: memory before the text, the same for the whole batch.
        carried: what the pass before has left over, if the first of `plans` goes on with it.
        length: of the sequence, in positions, for frequencies that grow with it; None takes that of `plans`.
    """
    layout = lay_out(plans, ids.device)
    tokens = ids.new_zeros(ids.shape[0], layout.positions.shape[0] - layout.carried)
    tokens[:, layout.raw] = ids
    attached.rotary.prepare(length or max(plan.length for plan in plans))
    memory = _OnePassMemory(attached.layers, layout, attached.rotary, prefix, carried)
    hidden = attached.run(
        tokens,
        layout.positions[layout.carried :],
        memory,
        layout.mask,
        layout.beacons if layout.beacons.numel() else None,
    )
    return OnePass(
        hidden=hidden[:, layout.raw],
        keys=torch.stack([layer.keys for layer in memory.layers], 1),
        values=torch.stack([layer.values for layer in memory.layers], 1),
        left=(
            torch.stack([layer.left[0] for layer in memory.layers], 1),
            torch.stack([layer.left[1] for layer in memory.layers], 1),
        ),
    )
