"""Attention of a row that is read uncondensed, part by part: nothing is computed that the mask would hide.

A row holds several conversations, and each question sees its document and itself only: of all pairs of tokens in a row
of 2,048, that is a tenth. On a CPU, where no kernel skips blocks of a mask, products of the parts do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from recipes.smollm2.sheets import PADDING, Sheets

# Queries of a part; of whole questions as many as fit.
QUERIES = 192


@dataclass(frozen=True)
class Part:
    """Queries that see the same stretches of keys.

    Attributes:
        row: of the batch; `first`, `end`: the queries in it.
        seen: stretches (first, end) of keys, one after the other.
        mask: (queries, keys), added to the scores: 0 or minus infinity.
    """

    row: int
    first: int
    end: int
    seen: tuple[tuple[int, int], ...]
    mask: Tensor

    def keys(self, x: Tensor) -> Tensor:
        """(heads, keys, head_dim) of (batch, heads, tokens, head_dim)."""
        return torch.cat([x[self.row, :, first:end] for first, end in self.seen], 1)

    def add(self, into: Tensor, gradient: Tensor) -> None:
        """Add what is learned of the keys, (heads, keys, head_dim), to (batch, heads, tokens, head_dim)."""
        sizes = [end - first for first, end in self.seen]
        for (first, end), stretch in zip(self.seen, gradient.split(sizes, 1), strict=True):
            into[self.row, :, first:end] += stretch


def parts_of(sheets: Sheets, dtype: torch.dtype) -> list[Part]:
    """The parts of all rows, padding left out."""
    parts = list[Part]()
    for row, (groups, owners) in enumerate(zip(sheets.group.tolist(), sheets.owner.tolist(), strict=True)):
        first = 0
        for group, same in groupby(groups):
            end = first + len(list(same))
            if group != PADDING:
                parts += _conversation(row, first, owners[first:end], dtype)
            first = end
    return parts


def _conversation(row: int, start: int, owners: list[int], dtype: torch.dtype) -> list[Part]:
    """What all may see, which may be all there is, in pieces; then what is asked, in whole questions."""
    shared = next((place for place, owner in enumerate(owners) if owner != -1), len(owners))
    parts = list[Part]()
    for first in range(0, shared, QUERIES):
        end = min(shared, first + QUERIES)
        sees = torch.arange(end) <= torch.arange(first, end)[:, None]
        parts.append(Part(row, start + first, start + end, ((start, start + end),), _added(sees, dtype)))
    first = shared
    while first < len(owners):
        end = first
        for _, question in groupby(owners[first:]):
            length = len(list(question))
            if end > first and end + length - first > QUERIES:
                break
            end += length
        owner, place = torch.tensor(owners[first:end]), torch.arange(end - first)
        own = (owner == owner[:, None]) & (place <= place[:, None])
        sees = torch.cat((own.new_ones(end - first, shared), own), 1)
        seen = ((start, start + shared), (start + first, start + end))
        parts.append(Part(row, start + first, start + end, seen, _added(sees, dtype)))
        first = end
    return parts


def _added(sees: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(sees.shape, dtype=dtype).masked_fill_(~sees, -math.inf)


def attend(query: Tensor, key: Tensor, value: Tensor, parts: list[Part]) -> Tensor:
    """What (batch, heads, tokens, head_dim) see of as many keys; zeros for tokens of no part."""
    seen: Tensor = _Attend.apply(query, key, value, parts)  # type: ignore[no-untyped-call]  # untyped in torch
    return seen


class _Attend(torch.autograd.Function):
    """By hand: as slices of tensors that are learned from, every part would make gradients of whole rows."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: list[Part]) -> Tensor:
        out, shares, scale = torch.zeros_like(query), list[Tensor](), query.shape[-1] ** -0.5
        for part in parts:
            asking, keys = query[part.row, :, part.first : part.end], part.keys(key)
            scores = torch.baddbmm(part.mask.expand(len(asking), -1, -1), asking, keys.mT, alpha=scale)
            shares.append(scores.softmax(-1))
            out[part.row, :, part.first : part.end] = shares[-1] @ part.keys(value)
        ctx.save_for_backward(query, key, value, *shares)
        ctx.parts = parts
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, *shares = ctx.saved_tensors
        scale = query.shape[-1] ** -0.5
        of_query = torch.zeros_like(query)
        # Sums over many parts, in 32 bits.
        of_key, of_value = (torch.zeros(each.shape, dtype=torch.float32) for each in (key, value))
        for part, share in zip(ctx.parts, shares, strict=True):
            queries = slice(part.first, part.end)
            asking, seen = query[part.row, :, queries], gradient[part.row, :, queries]
            part.add(of_value, share.mT @ seen)
            of_share = seen @ part.keys(value).mT
            of_scores = torch._softmax_backward_data(of_share, share, -1, share.dtype) * scale
            of_query[part.row, :, queries] = of_scores @ part.keys(key)
            part.add(of_key, of_scores.mT @ asking)
        return of_query, of_key.to(key.dtype), of_value.to(value.dtype), None
