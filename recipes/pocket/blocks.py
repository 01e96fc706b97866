"""A small decoder with a beacon as a function of both their weights, interval by interval, in shapes that repeat.

What `activation_beacon.onepass` computes, for the one scheme that the pocket model has (interleaved beacons, full
coverage, stride = window): every interval is a block of `window + slots` rows, padded behind its beacons, so that a
batch of texts is a handful of products whose shapes do not depend on the ratios drawn, which is what
`torch.compile` wants. Here the language model's weights have gradients too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from activation_beacon.plugin import Beacon


@dataclass(frozen=True)
class Shape:
    """Intervals of `window` tokens with room for `slots` beacons each, behind `prefix` rows of older memory."""

    intervals: int
    window: int
    slots: int
    prefix: int = 0

    @property
    def tokens(self) -> int:
        return self.intervals * self.window

    @property
    def rows(self) -> int:
        return self.window + self.slots


class Layout(NamedTuple):
    """Integers of one batch, equal for all its texts.

    Attributes:
        source: (intervals, rows) the token of its interval that stands in a row; `window` for a beacon or padding.
        raw: (tokens) rows, counted over all intervals, of the tokens.
        beacons: (intervals * slots) rows of the beacons; of a slot that stays empty, a row of padding.
        positions: (intervals * rows).
        moved_to: (intervals * slots) positions of the beacons in memory.
        sees: (intervals, prefix + intervals * slots) whether an interval attends to a row of the memory.
    """

    source: Tensor
    raw: Tensor
    beacons: Tensor
    positions: Tensor
    moved_to: Tensor
    sees: Tensor


def lay_out(shape: Shape, ratios: Sequence[int], offset: int = 0) -> Layout:
    """`ratios` of all intervals but the last, which is raw; the memory's first row is at position `offset`."""
    window, rows, slots = shape.window, shape.rows, shape.slots
    source = torch.full((shape.intervals, rows), window)
    positions = torch.zeros(shape.intervals, rows, dtype=torch.long)
    beacons = torch.full((shape.intervals, slots), rows - 1)
    moved_to = torch.zeros(shape.intervals, slots, dtype=torch.long)
    sees = torch.zeros(shape.intervals, shape.prefix + shape.intervals * slots, dtype=torch.bool)
    sees[:, : shape.prefix] = True
    raw = []
    memory = offset + shape.prefix
    for index, ratio in enumerate([*ratios, 0]):
        token = torch.arange(window)
        row = token + (token // ratio if ratio else 0)
        source[index, row] = token
        raw.append(index * rows + row)
        positions[index] = memory + torch.arange(rows)
        if ratio:
            count = window // ratio
            beacons[index, :count] = torch.arange(count) * (ratio + 1) + ratio
            moved_to[index, :count] = memory + torch.arange(count)
            start = shape.prefix + index * slots
            sees[index + 1 :, start : start + count] = True
            memory += count
    every = torch.arange(shape.intervals)[:, None] * rows
    return Layout(source, torch.cat(raw), (beacons + every).flatten(), positions.flatten(), moved_to.flatten(), sees)


def _rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = states.chunk(2, -1)
    return states * cosine + torch.cat((-second, first), -1) * sine


def read(
    model: LlamaForCausalLM, beacon: Beacon, ids: Tensor, layout: Layout, prefix: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Read a batch of texts.

    Args:
        ids: (batch, intervals, window).
        prefix: older memory: keys not yet rotated, and values, (layers, heads, prefix, head_dim).

    Returns:
        Last hidden states (batch, tokens, width); what every layer put out, (layers, batch, tokens, width); keys, not
        rotated, and values of the beacon rows, (layers, batch, heads, intervals * slots, head_dim).
    """
    decoder, config = model.model, model.config
    batch, intervals, _ = ids.shape
    rows = layout.source.shape[1]
    heads, size = config.num_attention_heads, config.head_dim
    frequencies = decoder.rotary_emb.inv_freq

    def rotation(positions: Tensor) -> tuple[Tensor, Tensor]:
        angles = positions[:, None].float() * frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()

    own, moved = rotation(layout.positions), rotation(layout.moved_to)
    seen = torch.where(layout.sees, 0.0, -1e9)[:, None]
    causal = torch.full((rows, rows), -1e9, device=ids.device).triu(1)
    older = None
    if prefix is not None:
        older = rotation(layout.positions[0] - prefix[0].shape[2] + torch.arange(prefix[0].shape[2], device=ids.device))
    embedded = decoder.embed_tokens(ids)
    extra = beacon.embedding.expand(batch, intervals, 1, -1)
    index = layout.source[None, :, :, None].expand(batch, -1, -1, embedded.shape[-1])
    hidden = torch.cat((embedded, extra), 2).gather(2, index).flatten(1, 2)  # (batch, intervals * rows, width)
    outputs, kept_keys, kept_values = [], [], []
    projections: Any = beacon.layers
    for number, (layer, own_projections) in enumerate(zip(decoder.layers, projections, strict=True)):
        normed = layer.input_layernorm(hidden)
        at_beacons = normed[:, layout.beacons]
        states = {}
        for name in "qkv":
            projected = getattr(layer.self_attn, f"{name}_proj")(normed)
            projected = projected.index_copy(1, layout.beacons, own_projections[name](at_beacons).to(projected.dtype))
            states[name] = projected.view(batch, -1, heads, size).transpose(1, 2)  # (batch, heads, all rows, size)
        free, values = states["k"][:, :, layout.beacons], states["v"][:, :, layout.beacons]
        kept_keys.append(free.detach())
        kept_values.append(values.detach())
        queries = _rotate(states["q"], *own).to(states["v"].dtype)
        keys = _rotate(states["k"], *own).to(states["v"].dtype)
        memory, memory_values = _rotate(free, *moved).to(values.dtype), values
        if prefix is not None and older is not None:
            before = _rotate(prefix[0][number], *older).to(values.dtype).expand(batch, -1, -1, -1)
            memory = torch.cat((before, memory), 2)
            memory_values = torch.cat((prefix[1][number].to(values.dtype).expand(batch, -1, -1, -1), values), 2)
        by_interval = (batch, heads, intervals, rows, -1)
        within = queries.view(by_interval) @ keys.view(by_interval).transpose(-1, -2)
        own_values = states["v"].reshape(by_interval)
        scores = within.float() * size**-0.5 + causal
        if memory.shape[2] and (intervals > 1 or prefix is not None):
            behind = (queries @ memory.transpose(-1, -2)).view(by_interval)
            scores = torch.cat((behind.float() * size**-0.5 + seen, scores), -1)
            weights = scores.softmax(-1).to(values.dtype)
            to_memory, to_own = weights[..., : memory.shape[2]], weights[..., memory.shape[2] :]
            mixed = (to_memory.flatten(2, 3) @ memory_values).view(by_interval)
            mixed = mixed + to_own @ own_values
        else:
            mixed = scores.softmax(-1).to(values.dtype) @ own_values
        mixed = mixed.flatten(2, 3).transpose(1, 2).flatten(2)
        hidden = hidden + layer.self_attn.o_proj(mixed)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        outputs.append(hidden[:, layout.raw])
    return decoder.norm(outputs[-1]), torch.stack(outputs), torch.stack(kept_keys), torch.stack(kept_values)


def check_scheme(beacon: Beacon, model: LlamaForCausalLM) -> None:
    """Raises ValueError for a beacon or a model that `read` does not compute."""
    config = beacon.config
    if (config.pos, config.attn, config.stride) != ("interleave", "full-coverage", config.window):
        raise ValueError("only interleaved beacons with full coverage and stride = window are read in blocks")
    if model.config.num_attention_heads != model.config.num_key_value_heads:
        raise ValueError("only models with as many key as query heads are read in blocks")
