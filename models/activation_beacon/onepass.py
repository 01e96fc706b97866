"""All intervals of a text in one forward pass, exactly, and differentiably.

A layer's beacon keys depend on that layer's input alone, and no interval needs a later one. So the beacons' keys
enter attention twice: at their window position, seen inside their own interval, and moved to their memory position,
seen by the later intervals. With stride < window, so do the tokens that open the next interval. A mask says who sees
what. Frequencies that change with the length read (`dynamic`, a growing yarn) are taken as the rotary has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, CacheLayerMixin

from activation_beacon.architecture import decoder_of
from activation_beacon.linear import BeaconRows
from activation_beacon.masks import sees_memory, window_mask
from activation_beacon.memory import Activations
from activation_beacon.planner import Entry, Pass
from activation_beacon.plugin import Beacon, embed
from activation_beacon.rotary import Rotary, position_tensor


@dataclass(frozen=True)
class Layout:
    """Where everything of a text stands in one pass; all sequences of a batch share it.

    Attributes:
        raw: rows of the ordinary tokens.
        beacons: rows of the beacons.
        positions: of every row.
        moved: rows whose keys enter a second time, at another position: first all that become memory, in memory order,
            then what an interval leaves to the next (stride < window).
        moved_to: where those stand then.
        memorized: how many of them become memory.
        mask: (rows, prefix + moved + rows), True where a row may attend.
    """

    raw: Tensor
    beacons: Tensor
    positions: Tensor
    moved: Tensor
    moved_to: Tensor
    memorized: int
    mask: Tensor


def lay_out(plans: Sequence[Pass], device: torch.device) -> Layout:
    """Combine the passes of a text into one."""
    prefix = plans[0].memory
    entries: list[Entry] = []
    # Rows of the pass: all that become memory; what is copied for the next interval; those of the running interval.
    memorized: list[int] = []
    copied: list[int] = []
    copied_to: list[int] = []
    window: list[int] = []
    seen: list[tuple[int, list[int]]] = []  # of each plan: its first row, and the keys of its interval so far
    for plan in plans:
        # A negative key is a copy: the first is -1. Their column is known when all of the memory is.
        keys = []
        for row, entry in zip(window, plan.cached, strict=True):
            if entries[row].position == entry.position:
                keys.append(row)
            else:
                copied.append(row)
                copied_to.append(entry.position)
                keys.append(-len(copied))
        new = range(len(entries), len(entries) + len(plan.entries))
        seen.append((len(entries), [*keys, *new]))
        entries += plan.entries
        window += new
        if plan.full:
            memorized += [window[index] for index in (*plan.sink, *plan.condensed)]
            window = [window[index] for index in plan.kept]
    before = prefix + len(memorized)
    mask = torch.zeros(len(entries), before + len(copied) + len(entries), dtype=torch.bool, device=device)
    for plan, (start, keys) in zip(plans, seen, strict=True):
        own = slice(start, start + len(plan.entries))
        columns = [before + len(copied) + key if key >= 0 else before - 1 - key for key in keys]
        mask[own, : plan.memory] = sees_memory(plan, device)
        mask[own, position_tensor(columns, device)] = window_mask(plan, device)
    return Layout(
        raw=position_tensor([row for row, entry in enumerate(entries) if not entry.is_beacon], device),
        beacons=position_tensor([row for row, entry in enumerate(entries) if entry.is_beacon], device),
        positions=position_tensor([entry.position for entry in entries], device),
        moved=position_tensor([*memorized, *copied], device),
        moved_to=position_tensor([*range(prefix, before), *copied_to], device),
        memorized=len(memorized),
        mask=mask,
    )


class _OnePassLayer(CacheLayerMixin):
    is_sliding = False

    def __init__(self, owner: "_OnePassMemory", prefix: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self._owner, self._prefix = owner, prefix

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """(batch, kv_heads, rows, head_dim) -> the same, preceded by the prefix and the moved rows."""
        layout, rotary = self._owner.layout, self._owner.rotary
        free = rotary.unrotate(key_states[:, :, layout.moved], layout.positions[layout.moved])
        keys = [rotary.rotate(free, layout.moved_to), key_states]
        values = [value_states[:, :, layout.moved], value_states]
        if self._prefix is not None:
            batch = key_states.shape[0]
            keys.insert(0, self._prefix[0].expand(batch, -1, -1, -1))
            values.insert(0, self._prefix[1].expand(batch, -1, -1, -1))
        # Kept so that what became memory can be read off; the tensors exist anyway.
        self.keys, self.values = free[:, :, : layout.memorized], values[-2][:, :, : layout.memorized]
        return torch.cat(keys, 2), torch.cat(values, 2)

    def get_seq_length(self) -> int:
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length


class _OnePassMemory(Cache):
    def __init__(self, layers: int, layout: Layout, rotary: Rotary, prefix: Activations | None) -> None:
        self.layout, self.rotary = layout, rotary
        prefixes: list[tuple[Tensor, Tensor] | None] = [None] * layers
        if prefix is not None:
            positions = torch.arange(prefix.rows, device=prefix.keys.device)
            keys = rotary.rotate(prefix.keys, positions)
            prefixes = [(keys[index, None], prefix.values[index, None]) for index in range(layers)]
        super().__init__(layers=[_OnePassLayer(self, each) for each in prefixes])


@dataclass(frozen=True)
class OnePass:
    """What came of it.

    Attributes:
        hidden: (batch, tokens, hidden) last hidden states of the ordinary tokens, in order.
        keys, values: (batch, layers, kv_heads, rows, head_dim) of what became memory; keys position-free.
    """

    hidden: Tensor
    keys: Tensor
    values: Tensor


def read_in_one_pass(
    model: nn.Module,
    beacon: Beacon,
    rows: BeaconRows,
    rotary: Rotary,
    plans: Sequence[Pass],
    ids: Tensor,
    prefix: Activations | None = None,
) -> OnePass:
    """Read whole texts at once; equals `Reader`, interval by interval, up to rounding.

    Args:
        plans: a planner's passes over the text's length, from its beginning, or behind `prefix`.
        ids: (batch, tokens).
        prefix: memory before the text, the same for the whole batch; gets no gradient.
    """
    layout = lay_out(plans, ids.device)
    decoder = decoder_of(model)
    tokens = ids.new_zeros(ids.shape[0], layout.positions.shape[0])
    tokens[:, layout.raw] = ids
    beacons = layout.beacons if layout.beacons.numel() else None
    memory = _OnePassMemory(len(decoder.layers), layout, rotary, prefix)  # type: ignore[arg-type]
    rows.rows = beacons
    try:
        output = decoder(
            inputs_embeds=embed(model, beacon, tokens, beacons),
            position_ids=layout.positions[None],
            attention_mask=layout.mask[None, None],
            past_key_values=memory,
            use_cache=True,
        )
    finally:
        rows.rows = None
    return OnePass(
        hidden=output.last_hidden_state[:, layout.raw],
        keys=torch.stack([layer.keys for layer in memory.layers], 1),
        values=torch.stack([layer.values for layer in memory.layers], 1),
    )
