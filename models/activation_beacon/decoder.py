"""Llama, Mistral, Qwen2 and Qwen3 on one page: what transformers computes for them, for reading and answering only.

Modules have the names that they have there, so that checkpoints and beacons fit. Transformers itself takes seconds to
import and half of the time of a pass over a single row. Hidden states are float32, whatever type the weights have.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import embedding, rms_norm, scaled_dot_product_attention, silu

from activation_beacon.attention import added, attend, attend_one
from activation_beacon.cache import Cache
from activation_beacon.four_bits import FourBits
from activation_beacon.linear import Staying
from activation_beacon.matmul import linear
from activation_beacon.products import Pack, Packed, Product
from activation_beacon.stand_in import MaskStandIn

QKV, KV, OUT = ("q_proj", "k_proj", "v_proj"), ("k_proj", "v_proj"), ("o_proj",)
GATE_UP, DOWN = ("gate_proj", "up_proj"), ("down_proj",)
# Of queries or keys, (batch, heads, rows, head_dim).
Rotation = Callable[[Tensor], Tensor]
# Passes of more rows attend in the type of their products; those of fewer, whose weights may have 8 bits, in float32.
MANY_ROWS = 16


@dataclass(frozen=True)
class DecoderConfig:
    """What makes one decoder another; names and units are those of `config.json`."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_parameters: Mapping[str, Any]
    tie_word_embeddings: bool


class Linear(nn.Linear):
    """A projection whose products, and their result, are in the type of its weights: 32 or 16 bits.

    Attributes:
        four_bits: what its weights came as, for packing; None if that is not known.
    """

    four_bits: FourBits | None = None

    def reset_parameters(self) -> None:
        """Weights come from files: to draw some first, on the device "meta", would import torch's compiler (2 s)."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x.to(self.weight.dtype), self.weight, self.bias)


class Embedding(nn.Embedding):
    """(…) ids -> (…, hidden) in float32."""

    def reset_parameters(self) -> None:
        """See `Linear`."""

    def forward(self, ids: Tensor) -> Tensor:
        return embedding(ids, self.weight).float()


class RMSNorm(nn.Module):
    """Root mean square normalization of the last dimension."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.shape[0]
        if x.numel() == size and x.device.type == "cpu":  # of one row, torch's own takes three times as long
            length = float(vector_norm(x))
            return (x * self.weight).mul_((length * length / size + self.eps) ** -0.5)
        return rms_norm(x, self.weight.shape, self.weight, self.eps)


class RotaryFrequencies(nn.Module):
    """The model's own rotary frequencies; `attach` puts a `Rotary` that turns by them in its place."""

    def __init__(self, config: DecoderConfig, inv_freq: Tensor) -> None:
        super().__init__()
        self.rope_type, self.attention_scaling = config.rope_parameters.get("rope_type", "default"), 1.0
        self.inv_freq: Tensor
        self.register_buffer("inv_freq", inv_freq, persistent=False)


class Turn:
    """A rotation of (batch, heads, rows, head_dim), given (batch, rows, head_dim) cosine and sine of its angles."""

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self.half = cos.shape[-1] // 2
        self.cos, self.sin = (
            cos.unsqueeze(1),
            torch.cat((-sin[..., : self.half], sin[..., self.half :]), -1).unsqueeze(1),
        )

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.cos + x.roll(self.half, -1) * self.sin


def unturned(x: Tensor) -> Tensor:
    """The rotation by 0."""
    return x


class Attention(nn.Module):
    def __init__(self, config: DecoderConfig, biases: Mapping[str, bool], norms: bool) -> None:
        super().__init__()
        hidden, self.head_dim, self.scale = config.hidden_size, config.head_dim, config.head_dim**-0.5
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        widths = {"q_proj": self.heads, "k_proj": self.kv_heads, "v_proj": self.kv_heads}
        for name, heads in widths.items():
            self.add_module(name, Linear(hidden, heads * self.head_dim, bias=biases[name]))
        self.o_proj = Linear(self.heads * self.head_dim, hidden, bias=biases["o_proj"])
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if norms else None
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if norms else None

    def forward(
        self,
        projected: Tensor,
        turn: Rotation,
        mask: Tensor | None,
        memory: Cache | None,
        index: int,
        only: Tensor | None = None,
    ) -> Tensor:
        """(batch, rows, all heads * head_dim) -> what they, or `only` some, see, (batch, rows, heads * head_dim)."""
        heads = projected.float().view(*projected.shape[:2], -1, self.head_dim).transpose(1, 2)
        turning, value = torch.split(heads, [self.heads + self.kv_heads, self.kv_heads], 1)
        if self.q_norm is not None and self.k_norm is not None:
            query, key = torch.split(turning, [self.heads, self.kv_heads], 1)
            turning = torch.cat((self.q_norm(query), self.k_norm(key)), 1)
        query, key = torch.split(turn(turning), [self.heads, self.kv_heads], 1)
        if query.shape[2] > MANY_ROWS:
            query = query.to(projected.dtype)
        if memory is not None:
            key, value = memory.update(key, value, index)
        if only is not None:
            query, mask = query[:, :, only], _mask_of(only, query.shape[2], mask)
        return self._attend(query, key, value, mask)

    def store(
        self, projected: Tensor, turn: Rotation, memory: Cache, index: int, rows: int, only: Tensor | None
    ) -> None:
        """Hand the memory the keys and values, (batch, only, 2 * kv_heads * head_dim), of a pass of so many rows."""
        heads = projected.float().view(*projected.shape[:2], -1, self.head_dim).transpose(1, 2)
        if only is not None:
            heads = heads.new_zeros(*heads.shape[:2], rows, self.head_dim).index_copy_(2, only, heads)
        key, value = heads.chunk(2, 1)
        memory.update(turn(key if self.k_norm is None else self.k_norm(key)), value, index)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, heads, rows, head_dim) over (batch, kv_heads, keys, head_dim) -> (batch, rows, heads * head_dim)."""
        batch, _, rows, _ = query.shape
        if isinstance(mask, MaskStandIn):
            seen = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale)
            return seen.transpose(1, 2).reshape(batch, rows, -1)
        if rows == 1 and mask is None:
            asking = query.reshape(batch, self.kv_heads, -1, self.head_dim) * self.scale
            return attend_one(asking, key, value).view(batch, 1, -1)
        asking = query.reshape(batch * self.kv_heads, -1, rows, self.head_dim)
        heads = zip(asking, key.flatten(0, 1), value.flatten(0, 1), strict=True)
        seen = torch.stack([attend(*each, self.scale, mask) for each in heads])
        return seen.view(batch, self.heads, rows, -1).transpose(1, 2).reshape(batch, rows, -1)


def _mask_of(only: Tensor, rows: int, mask: Tensor | None) -> Tensor:
    """(only, last) what `added` makes of some of a pass's `rows`, each of which sees all before it without a mask."""
    if mask is not None:
        return mask[only]
    later = torch.arange(rows, device=only.device) > only[:, None]
    return torch.zeros(later.shape, device=only.device).masked_fill_(later, float("-inf"))


class MLP(nn.Module):
    def __init__(self, config: DecoderConfig, biases: Mapping[str, bool]) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = Linear(hidden, inner, bias=biases["gate_proj"])
        self.up_proj = Linear(hidden, inner, bias=biases["up_proj"])
        self.down_proj = Linear(inner, hidden, bias=biases["down_proj"])


class Layer(nn.Module):
    """One layer. `pack` makes of projections one product for passes of at most `few` rows; None packs nothing."""

    def __init__(self, config: DecoderConfig, biases: Mapping[str, bool], norms: bool) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(config, biases, norms), MLP(config, biases)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.pack: Pack | None = None
        self.few = 0
        self._packed: dict[tuple[str, ...], Packed] = {}

    def forward(
        self,
        hidden: Tensor,
        turn: Rotation,
        mask: Tensor | None,
        memory: Cache | None,
        index: int,
        only: Staying | None = None,
    ) -> Tensor:
        """(batch, rows, hidden) -> the same, or of `only` some rows, with which the pass goes on."""
        attention, mlp = self.self_attn, self.mlp
        projected = self._products(attention, QKV, self.input_layernorm(hidden))
        joint = projected[0] if len(projected) == 1 else torch.cat(projected, -1)
        seen = attention(joint, turn, mask, memory, index, None if only is None else only.rows)
        if only is not None:
            only.narrow()
            hidden = hidden[:, only.rows]
        hidden = hidden + self._products(attention, OUT, seen)[0]
        inner = self._products(mlp, GATE_UP, self.post_attention_layernorm(hidden))
        gate, up = inner if len(inner) == 2 else inner[0].chunk(2, -1)
        return hidden + self._products(mlp, DOWN, silu(gate).mul_(up))[0]

    def store(self, hidden: Tensor, turn: Rotation, memory: Cache, index: int, rows: int, only: Tensor | None) -> None:
        """Hand the memory the keys and values of (batch, only, hidden) of a pass of so many rows: nothing else."""
        projected = self._products(self.self_attn, KV, self.input_layernorm(hidden))
        self.self_attn.store(torch.cat(projected, -1), turn, memory, index, rows, only)

    def _products(self, owner: nn.Module, names: tuple[str, ...], x: Tensor) -> list[Tensor]:
        """(batch, rows, in) -> the outputs of these projections of `owner`, each (batch, rows, out), or all in one."""
        # By attribute, a module takes torch a microsecond to find.
        modules: Any = owner._modules
        projections = tuple(map(modules.__getitem__, names))
        if self.pack is None or x.shape[0] * x.shape[1] > self.few:
            x = x.to(self.mlp.down_proj.weight.dtype)  # once for all of them
            return [projection(x) for projection in projections]
        packed = self._packed.get(names)
        if packed is None or packed.projections != projections:  # a beacon has come or gone
            packed = self._packed[names] = Packed(projections, self.pack)
        return [packed(x)]


def apply_rotary_pos_emb(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Both turned; it is by this that `architecture` tells how a model rotates."""
    turn = Turn(cos, sin)
    return turn(query), turn(key)


@contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Compute with so many threads at most; None for as many as there are."""
    before = torch.get_num_threads()
    if threads is None or threads >= before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Decoder(nn.Module):
    """Embeddings, layers and the last norm.

    Attributes:
        few: passes of at most so many rows are computed by at most so many `threads`, if that is not None.
    """

    def __init__(self, config: DecoderConfig, inv_freq: Tensor, biases: Mapping[str, bool], norms: bool) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, biases, norms) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb: nn.Module = RotaryFrequencies(config, inv_freq)
        self.few = 0
        self.threads: int | None = None

    def forward(
        self,
        *,
        inputs_embeds: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool = False,
        staying: Staying | None = None,
    ) -> SimpleNamespace:
        """As transformers' decoders are called, or, where no hidden states are wanted, told which rows stay.

        `Installed.run` says what with.
        """
        stand_in, hidden = isinstance(attention_mask, MaskStandIn), inputs_embeds
        # A memory that turns keys by itself has them at position 0.
        cos, sin = self.rotary_emb(hidden, position_ids)
        turn = unturned if stand_in and bool((cos == 1).all() and (sin == 0).all()) else Turn(cos, sin)
        if attention_mask is not None and not stand_in:
            attention_mask = added(attention_mask, hidden.dtype)
        layers: Any = self.layers
        if staying is None or past_key_values is None:
            with at_most(self.threads if hidden.shape[1] <= self.few else None):
                for index, layer in enumerate(layers):
                    hidden = layer(hidden, turn, attention_mask, past_key_values, index)
            return SimpleNamespace(last_hidden_state=self.norm(hidden))
        # What the last layer remembers needs of the one before nothing but these rows, and nobody needs what it says.
        rows, last = hidden.shape[1], len(layers) - 1
        only = staying if last > 0 and staying.rows.shape[0] < rows else None
        for index, layer in enumerate(layers[:last]):
            part = only if index == last - 1 else None
            hidden = layer(hidden, turn, attention_mask, past_key_values, index, part)
        layers[last].store(hidden, turn, past_key_values, last, rows, None if only is None else only.rows)
        return SimpleNamespace(last_hidden_state=hidden[:, :0])


class Head(Linear):
    """What makes logits (…, vocabulary) of last hidden states (…, hidden); packed as a layer's projections are."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config.hidden_size, config.vocab_size, bias=False)
        self.pack: Pack | None = None
        self.few = 0
        self._packed: Product | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.pack is None or x.numel() > self.few * x.shape[-1]:
            return super().forward(x)
        if self._packed is None:
            self._packed = self.pack(self.weight, None)
        return self._packed(x)


class LanguageModel(nn.Module):
    """A decoder with the head that makes logits.

    Args:
        inv_freq: (head_dim / 2) the model's rotary frequencies.
        biases: which projections have one.
        norms: whether queries and keys are normalized.
    """

    def __init__(self, config: DecoderConfig, inv_freq: Tensor, biases: Mapping[str, bool], norms: bool) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config, inv_freq, biases, norms)
        self.lm_head = Head(config)

    def pack(self, pack: Pack, few: int, threads: int | None = None) -> None:
        """Multiply passes of at most `few` rows with weights that `pack` packs, each when it is first needed.

        Args:
            threads: that compute the layers then, at most: to wake more can take longer than what they would do.
        """
        self.model.few, self.model.threads = few, threads
        for each in (*self.model.layers, self.lm_head):
            each.pack, each.few = pack, few

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head
