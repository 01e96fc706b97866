"""Many questions asked of one memory at once, as each would be asked alone: for measuring, as fast as the CPU allows.

Only for models that are built as Llama is; `tests/benchmarks/test_batched.py` compares with asking one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from activation_beacon.memory import SequenceMemory
from activation_beacon.ragged import RaggedMemory

HIDDEN = float("-inf")
Own = list[tuple[Tensor, Tensor] | None]


@dataclass(frozen=True)
class Padded:
    """A memory of any kind, its heads padded to one length.

    Attributes:
        keys, values: of each layer, (kv_heads, rows, head_dim), keys rotated.
        hidden: of each layer, (kv_heads, rows) float32: 0, or minus infinity where a head has no row.
        position: at which what is asked stands.
    """

    keys: list[Tensor]
    values: list[Tensor]
    hidden: list[Tensor]
    position: int


def padded(memory: RaggedMemory | SequenceMemory, end: int) -> Padded:
    """Of a memory that is to end at position `end` or before."""
    if isinstance(memory, SequenceMemory):
        rows = [(layer.keys[0, :, : memory.size], layer.values[0, :, : memory.size]) for layer in memory.layers]
        keys, values = map(list, zip(*rows, strict=True))
        return Padded(keys, values, [torch.zeros(each.shape[:2]) for each in keys], memory.size)
    found = Padded([], [], [], memory.stand(end))
    for layer in memory.layers:
        longest = max(head.count for head in layer.heads)
        some = layer.heads[0].keys
        keys, values = (some.new_zeros(len(layer.heads), longest, some.shape[-1]) for _ in range(2))
        hidden = torch.full((len(layer.heads), longest), HIDDEN)
        for number, head in enumerate(layer.heads):
            keys[number, : head.count], values[number, : head.count] = (
                head.keys[: head.count],
                head.values[: head.count],
            )
            hidden[number, : head.count] = 0
        for each, made in ((found.keys, keys), (found.values, values), (found.hidden, hidden)):
            each.append(made)
    return found


@torch.inference_mode()
def answers(
    model: Any,
    memory: Padded,
    requests: Sequence[list[int]],
    targets: Sequence[list[int]],
    ends: frozenset[int],
    most: int,
) -> list[tuple[list[int], float]]:
    """To every request, the token ids of the answer, decoded greedily, and the log-likelihood of its target.

    Args:
        ends: the tokens that end an answer.
        most: tokens of an answer.
    """
    count, length = len(requests), max(len(a) + len(b) for a, b in zip(requests, targets, strict=True))
    rows = [[*a, *b, *[0] * (length - len(a) - len(b))] for a, b in zip(requests, targets, strict=True)]
    own: Own = [None] * len(model.model.layers)
    seen = torch.ones(length, length, dtype=torch.bool).tril().expand(count, -1, -1)
    positions = memory.position + torch.arange(length).expand(count, -1)
    hidden = _run(model, memory, torch.tensor(rows), positions, own, seen)
    likely, given, read = list[float](), list[list[int]](), list[int]()
    for each, request, target in zip(hidden, requests, targets, strict=True):
        scores = model.lm_head(each[len(request) - 1 : len(request) + len(target)]).float().log_softmax(-1)
        likely.append(float(scores[range(len(target)), target].sum()))
        best = scores.argmax(-1).tolist()
        # As far as the answer is the target, it has been read.
        same = next((n for n, (a, b) in enumerate(zip(best, target, strict=False)) if a != b), len(target))
        given.append([*target[:same], best[same]])
        read.append(len(request) + same)
    _go_on(model, memory, own, given, read, ends, most)
    return [(ids[:-1] if ids[-1] in ends else ids, each) for ids, each in zip(given, likely, strict=True)]


def _go_on(
    model: Any, memory: Padded, own: Own, given: list[list[int]], read: list[int], ends: frozenset[int], most: int
) -> None:
    """Decode on where the last token is none of `ends`; of every request's own rows the first `read` are its own."""
    live = list(range(len(given)))
    valid = torch.arange(own[0][0].shape[2]) < torch.tensor(read)[:, None]  # type: ignore[index]  # has been run
    for step in range(most):
        stay = [n for n, each in enumerate(live) if given[each][-1] not in ends]
        live = [live[n] for n in stay]
        if not live:
            return
        own[:] = [(each[0][stay], each[1][stay]) for each in own if each is not None]
        valid = torch.cat((valid[stay], torch.ones(len(live), 1, dtype=torch.bool)), 1)
        ids = torch.tensor([[given[each][-1]] for each in live])
        positions = torch.tensor([[memory.position + read[each] + step] for each in live])
        hidden = _run(model, memory, ids, positions, own, valid[:, None])
        for each, token in zip(live, model.lm_head(hidden[:, -1]).argmax(-1).tolist(), strict=True):
            given[each].append(token)


def _run(model: Any, memory: Padded, ids: Tensor, positions: Tensor, own: Own, seen: Tensor) -> Tensor:
    """(batch, new, hidden) last hidden states of (batch, new) ids; `own` gets their keys and values.

    Args:
        own: of each layer, keys and values (batch, kv_heads, rows, head_dim) of what was read after the memory.
        seen: (batch, new, rows + new) who sees what of these.
    """
    hidden = model.model.embed_tokens(ids)
    rotary = model.model.rotary_emb(hidden, positions)
    batch, new = ids.shape
    for number, layer in enumerate(model.model.layers):
        own[number], shown = _attended(layer, hidden, rotary, memory, number, own[number], seen)
        hidden = hidden + layer.self_attn.o_proj(shown.transpose(1, 2).reshape(batch, new, -1))
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    last: Tensor = model.model.norm(hidden)
    return last


def _attended(
    layer: Any,
    hidden: Tensor,
    rotary: Any,
    memory: Padded,
    number: int,
    own: tuple[Tensor, Tensor] | None,
    seen: Tensor,
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The layer's own keys and values, the new ones included, and (batch, heads, new, head_dim) what is seen."""
    attention, normed = layer.self_attn, layer.input_layernorm(hidden)
    (batch, new), size = hidden.shape[:2], attention.head_dim
    query, keys, values = (
        getattr(attention, f"{name}_proj")(normed).view(batch, new, -1, size).transpose(1, 2) for name in "qkv"
    )
    query, keys = apply_rotary_pos_emb(query, keys, *rotary)
    if own is not None:
        keys, values = torch.cat((own[0], keys), 2), torch.cat((own[1], values), 2)
    heads, rows = memory.hidden[number].shape
    asking = query.reshape(batch, heads, -1, size)
    before = asking.transpose(0, 1).reshape(heads, -1, size) @ memory.keys[number].transpose(1, 2)
    before = before.float() * attention.scaling + memory.hidden[number][:, None]
    mine = ((asking @ keys.transpose(2, 3)).float() * attention.scaling).view(batch, heads, -1, new, keys.shape[2])
    mine = mine.masked_fill(~seen[:, None, None], HIDDEN)
    scores = torch.cat((before.view(heads, batch, -1, new, rows).transpose(0, 1), mine), -1)
    given = scores.softmax(-1).to(hidden.dtype)
    shown = given[..., rows:].reshape(batch, heads, -1, keys.shape[2]) @ values
    of_memory = given[..., :rows].transpose(0, 1).reshape(heads, -1, rows) @ memory.values[number]
    shown = shown + of_memory.view(heads, batch, -1, size).transpose(0, 1)
    return (keys, values), shown.reshape(batch, -1, new, size)
