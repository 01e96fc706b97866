"""An initialisation that can copy: a previous-token head and two induction heads, imprinted on an untrained Llama.

From random weights a model of this size spends millions of tokens before it finds out how to look back for what
followed the last time: heads of layer 1 that match the present token with the token *before* each position, which a
head of layer 0 has written there. Everything that it is to learn rests on this, and it can be written down. Nothing is
frozen: training changes the imprinted weights like all others.
"""

from __future__ import annotations

import math

import torch
from transformers import LlamaForCausalLM

_SPREAD = 0.06  # standard deviation of the embeddings
_CONSTANT = 0.3  # value of dimension 0 in every embedding, from which the positional head makes its query and key


@torch.no_grad()
def imprint(model: LlamaForCausalLM) -> None:
    """Writes the three heads into layers 0 and 1; needs tied embeddings and as many key heads as query heads.

    Dimensions: 0 is constant, the last `head_dim` are free for the previous token, those between hold the token.
    """
    config = model.config
    width, size = config.hidden_size, config.head_dim
    tokens = width - size
    embedding = model.model.embed_tokens.weight
    embedding.normal_(0.0, _SPREAD)
    embedding[:, 0] = _CONSTANT
    embedding[:, tokens:] = 0.0
    constant = _CONSTANT / math.sqrt((_SPREAD**2 * (tokens - 1) + _CONSTANT**2) / width)  # after the norm
    frequencies = model.model.rotary_emb.inv_freq
    half = size // 2

    first = model.model.layers[0].self_attn
    rows = slice(0, size)
    first.q_proj.weight[rows] = 0.0
    first.k_proj.weight[rows] = 0.0
    strength = math.sqrt(40.0) / constant
    for pair in range(6):  # the fast rotations tell one position from the next
        first.q_proj.weight[pair, 0] = strength
        first.k_proj.weight[pair, 0] = strength * math.cos(frequencies[pair])
        first.k_proj.weight[pair + half, 0] = strength * math.sin(frequencies[pair])
    reading = torch.linalg.qr(torch.randn(tokens - 1, size))[0].T  # (head_dim, tokens - 1), orthonormal rows
    first.v_proj.weight[rows] = 0.0
    first.v_proj.weight[rows, 1:tokens] = reading
    first.o_proj.weight[:, rows] = 0.0
    first.o_proj.weight[tokens:, rows] = _SPREAD * torch.eye(size)

    second = model.model.layers[1].self_attn
    slow = [*range(14, half), *range(half + 14, size)]  # rotations too slow to matter within a short text
    sharpness = 1.6
    for head in range(2):
        start = head * size
        rows = slice(start, start + size)
        chosen = torch.randperm(size)[: len(slow)]
        for weight in (second.q_proj.weight, second.k_proj.weight, second.v_proj.weight):
            weight[rows] = 0.0
        for row, source in zip(slow, chosen.tolist(), strict=True):
            second.q_proj.weight[start + row, 1:tokens] = sharpness * reading[source]
            second.k_proj.weight[start + row, tokens + source] = sharpness
        copied = slice(1 + start, 1 + min(start + size, tokens - 1))
        count = copied.stop - copied.start
        second.v_proj.weight[start : start + count, copied] = torch.eye(count)
        second.o_proj.weight[:, rows] = 0.0
        second.o_proj.weight[copied, start : start + count] = 0.15 * torch.eye(count)
