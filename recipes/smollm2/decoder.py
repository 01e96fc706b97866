"""A Llama decoder for training: many rows a pass, each token seeing what a mask of integers lets it see.

It computes what transformers' Llama with the beacon of `activation_beacon` computes (a test compares the two), with
what those cannot have together: rows of different layouts in one batch, attention that leaves out what a mask hides
(FlexAttention on a GPU, `parts` on a CPU) and compiled layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

from recipes.smollm2.parts import attend, parts_of
from recipes.smollm2.sheets import Sheets

PARAM = ("q", "k", "v")


class Lora(nn.Module):
    """The reader: a low-rank change of every projection, in float32: a step is too small for bfloat16 to hold.

    `peft` computes it in float32 beside a bfloat16 base; here its products have the base's type.
    """

    def __init__(self, shapes: dict[str, tuple[int, int]], layers: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.a = nn.ParameterDict()
        self.b = nn.ParameterDict()
        for name, (out, inner) in shapes.items():
            # As a fresh `nn.Linear`: uniform within 1 / sqrt(inputs).
            self.a[name] = nn.Parameter(torch.empty(layers, rank, inner).uniform_(-(inner**-0.5), inner**-0.5))
            self.b[name] = nn.Parameter(torch.zeros(layers, out, rank))

    def layers(self) -> list[dict[str, tuple[Tensor, Tensor]]]:
        """For each layer (A, scaled B) of every projection."""
        a = {name: weight.unbind(0) for name, weight in self.a.items()}
        b = {name: (weight * self.scale).unbind(0) for name, weight in self.b.items()}
        return [{name: (a[name][n], b[name][n]) for name in a} for n in range(len(a["q"]))]


class Beacons(nn.Module):
    """The beacon: an embedding, and projections of its own in every layer, in float32."""

    def __init__(self, weights: dict[str, Tensor], embedding: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Parameter(embedding.detach().float().clone())
        self.weights = nn.ParameterDict({p: nn.Parameter(weights[p].detach().float().clone()) for p in PARAM})

    def layers(self) -> list[dict[str, Tensor]]:
        """The projections of each layer."""
        parts = {p: weight.unbind(0) for p, weight in self.weights.items()}
        return [{p: parts[p][n] for p in PARAM} for n in range(len(parts["q"]))]


@dataclass(frozen=True)
class Shape:
    """What of a Llama's configuration the arithmetic needs."""

    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    theta: float


PLACES = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}  # fmt: skip


class Decoder(nn.Module):
    """The frozen weights of a Llama of transformers, stacked by layer.

    Args:
        model: where they come from; no biases.
        dtype, device: of the arithmetic.
        compiled: whether the layers are, and on a GPU attention.
    """

    def __init__(self, model: Any, dtype: torch.dtype, device: str, compiled: bool) -> None:
        super().__init__()
        config = model.config
        self.shape = Shape(
            config.num_attention_heads,
            config.num_key_value_heads,
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            config.rms_norm_eps,
            float(config.rope_parameters["rope_theta"]),
        )
        layers = model.model.layers

        def stacked(name: str) -> Tensor:
            found = torch.stack([layer.get_submodule(name).weight.detach() for layer in layers])
            return found.to(device, dtype)

        self.weights = {short: stacked(name) for short, name in PLACES.items()}
        self.norms = [stacked("input_layernorm"), stacked("post_attention_layernorm")]
        self.final = model.model.norm.weight.detach().to(device, dtype)
        self.embedding = model.model.embed_tokens.weight.detach().to(device, dtype)
        self.head = model.lm_head.weight.detach().to(device, dtype)
        self.layers = len(layers)
        self.flex = compiled and device == "cuda"
        self._before: Callable[..., Any] = torch.compile(_before, dynamic=False) if compiled else _before
        self._after: Callable[..., Any] = torch.compile(after_attention, dynamic=False) if compiled else after_attention
        self._flex: Callable[..., Any] = torch.compile(flex_attention, dynamic=False) if self.flex else flex_attention
        self._blocks: Callable[..., Any] = torch.compile(create_block_mask) if self.flex else create_block_mask
        self._rotation: Callable[..., Any] = torch.compile(rotation, dynamic=False) if compiled else rotation

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(out, in) of every projection."""
        return {name: (weight.shape[1], weight.shape[2]) for name, weight in self.weights.items()}

    def forward(self, sheets: Sheets, lora: Lora | None = None, beacons: Beacons | None = None) -> Tensor:
        """The last hidden states, (batch, tokens, hidden), normed."""
        x = self.embedding[sheets.ids]
        if beacons is not None:
            x = torch.where(sheets.beacon[..., None], beacons.embedding.to(x.dtype), x)
        own = self._rotation(sheets.positions, self.shape, x.dtype)
        moved = self._rotation(sheets.memory_positions, self.shape, x.dtype) if beacons is not None else None
        seeing = self._attention(sheets, beacons is not None)
        changes = lora.layers() if lora is not None else [None] * self.layers
        beacon_layers = beacons.layers() if beacons is not None else [None] * self.layers
        for number, (change, beacon) in enumerate(zip(changes, beacon_layers, strict=True)):
            weights = {name: weight[number] for name, weight in self.weights.items()}
            q, k, v = self._before(
                x, self.norms[0][number], weights, change, beacon, sheets.beacon, sheets.memory, own, moved, self.shape
            )
            x = self._after(x, seeing(q, k, v), self.norms[1][number], weights, change, self.shape)
        return rms_norm(x, x.shape[-1:], self.final, self.shape.eps)

    def _attention(self, sheets: Sheets, condensed: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Attention in which each row's tokens see what they may: the memory first, then the row itself."""
        if not (self.flex or condensed):
            return partial(attend, parts=parts_of(sheets, self.embedding.dtype))
        sees = visibility(sheets, condensed)
        batch, tokens = sheets.ids.shape
        keys = tokens + (sheets.memory.shape[1] if condensed else 0)
        if self.flex:
            blocks = self._blocks(sees, batch, None, tokens, keys, device=sheets.ids.device)
            return partial(self._flex, block_mask=blocks)
        rows = [torch.arange(size, device=sheets.ids.device) for size in (batch, tokens, keys)]
        b, q, k = rows[0][:, None, None], rows[1][None, :, None], rows[2][None, None, :]
        return partial(scaled_dot_product_attention, attn_mask=sees(b, b, q, k)[:, None])

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, hidden) -> (…, vocabulary), in float32."""
        return (hidden @ self.head.T).float()


def visibility(sheets: Sheets, condensed: bool) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """A mask function: (batch, head, query, key) indices -> whether the query sees the key.

    A token sees the earlier tokens of its own interval, unless they are another question's, and the memory of the
    earlier intervals of its conversation.
    """
    group, owner, interval = sheets.group, sheets.owner, sheets.interval
    if not condensed:

        def plain(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            same = (group[b, q] == group[b, k]) & ((owner[b, k] == -1) | (owner[b, k] == owner[b, q]))
            return same & (k <= q)

        return plain
    rows = sheets.memory.shape[1]
    key_group = torch.cat((sheets.memory_group, group), 1)
    key_interval = torch.cat((sheets.memory_interval, interval), 1)
    key_owner = torch.cat((torch.full_like(sheets.memory_group, -1), owner), 1)

    def with_memory(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        same = (group[b, q] == key_group[b, k]) & ((key_owner[b, k] == -1) | (key_owner[b, k] == owner[b, q]))
        earlier = (k < rows) & (key_interval[b, k] < interval[b, q])
        within = (k >= rows) & (k - rows <= q) & (key_interval[b, k] == interval[b, q])
        return same & (earlier | within)

    return with_memory


def rotation(positions: Tensor, shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine, (batch, 1, tokens, head_dim)."""
    steps = torch.arange(0, shape.head_dim, 2, dtype=torch.float32, device=positions.device) / shape.head_dim
    angles = positions[:, None, :, None].float() / shape.theta**steps
    both = torch.cat((angles, angles), -1)
    return both.cos().to(dtype), both.sin().to(dtype)


def turned(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * angles[0] + torch.cat((-second, first), -1) * angles[1]


def _project(
    x: Tensor, name: str, weights: dict[str, Tensor], change: dict[str, tuple[Tensor, Tensor]] | None
) -> Tensor:
    out = linear(x, weights[name])
    if change is not None:
        a, b = change[name]
        out = out + linear(linear(x, a.to(x.dtype)), b.to(x.dtype))
    return out


def _before(
    x: Tensor,
    norm: Tensor,
    weights: dict[str, Tensor],
    change: dict[str, tuple[Tensor, Tensor]] | None,
    beacon: dict[str, Tensor] | None,
    is_beacon: Tensor,
    memory: Tensor,
    own: tuple[Tensor, Tensor],
    moved: tuple[Tensor, Tensor] | None,
    shape: Shape,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (batch, heads, tokens, head_dim), keys and values (batch, heads, memory + tokens, head_dim)."""
    x = rms_norm(x, x.shape[-1:], norm, shape.eps)
    made = []
    for name in PARAM:
        out = _project(x, name, weights, change)
        if beacon is not None:
            out = torch.where(is_beacon[..., None], linear(x, beacon[name].to(x.dtype)), out)
        made.append(out.unflatten(-1, (-1, shape.head_dim)).transpose(1, 2))
    q, k, v = made
    keys = turned(k, own)
    if moved is not None:
        # A beacon's key enters a second time, where it stands in the memory.
        index = memory[:, None, :, None].expand(-1, shape.kv_heads, -1, shape.head_dim)
        keys = torch.cat((turned(k.gather(2, index), moved), keys), 2)
        v = torch.cat((v.gather(2, index), v), 2)
    repeat = shape.heads // shape.kv_heads
    return turned(q, own), keys.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)


def after_attention(
    x: Tensor,
    seen: Tensor,
    norm: Tensor,
    weights: dict[str, Tensor],
    change: dict[str, tuple[Tensor, Tensor]] | None,
    shape: Shape,
) -> Tensor:
    x = x + _project(seen.transpose(1, 2).flatten(2), "o", weights, change)
    inner = rms_norm(x, x.shape[-1:], norm, shape.eps)
    gated = silu(_project(inner, "gate", weights, change)) * _project(inner, "up", weights, change)
    return x + _project(gated, "down", weights, change)
