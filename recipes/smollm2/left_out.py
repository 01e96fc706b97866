"""A beacon for what selection leaves out, as an experiment: some of a memory's rows are selected, the others beacons.

    python -m recipes.smollm2.left_out --data DATA --out DIR [--steps 250]

trains from the default model's beacon and leaves its checkpoint and `metrics.jsonl` in `--out`; killed, the same
command goes on. `python -m benchmarks.left_out` asks questions. What came of it is in LOG.md.

A document is one interval. The model reads it as it is, without beacons, and the scorer selects rows. A beacon sees, of
the text before it, the sink and what each layer and head does *not* keep; what is asked sees the sink, what is kept
and the beacons, all at their places in the text. So only beacons and what is asked have gradients.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention

from activation_beacon.memory import Activations
from activation_beacon.scorer import Scorer, load_scorer
from activation_beacon.selection import best
from beacon_cli.checkpoints.default_model import beacon_folder
from recipes.smollm2 import base, sources
from recipes.smollm2.batches import Plan
from recipes.smollm2.decoder import PARAM, Beacons, Decoder, after_attention, rotation, turned
from recipes.smollm2.learning import Losses, Training
from recipes.smollm2.lessons import Room, Share, Teacher
from recipes.smollm2.rows import Layout
from recipes.smollm2.training import BOOK_CHARACTERS, SIZES

RATIOS = (8, 16, 32)
PARTS = (2, 4, 6)  # of eight, that are beacons
PLAN = Plan(250, 2, 960, 3e-4)
ROOM = Room(window=PLAN.tokens, intervals=1, rows=0, asked=448)
SHARE = Share(tail=0, spans=(1, 5), read=(1, 1))
LEAST = 8  # rows that stay of a document
Asks = Sequence[tuple[list[int], list[int]]]


@dataclass(frozen=True)
class Text:
    """A document that was read.

    Attributes:
        keys, values: (layers, kv_heads, tokens, head_dim), keys without rotation.
        sink: of the tokens so many, the first, stay in every head.
    """

    keys: Tensor
    values: Tensor
    sink: int

    @property
    def tokens(self) -> int:
        return self.keys.shape[2]

    def kept(self, scorer: Scorer, rows: int) -> Tensor:
        """(layers, kv_heads, tokens) bool: so many rows, on average of a head, that the scorer selects."""
        chosen = torch.zeros(self.keys.shape[:3], dtype=torch.bool)
        if rows:
            others = Activations(self.keys[:, :, self.sink :], self.values[:, :, self.sink :])
            chosen[:, :, self.sink :] = best(scorer.scores(others), rows)
        return chosen

    def share(self, ratio: int, parts: int) -> tuple[int, list[int]]:
        """Rows to select at a ratio, and after how many tokens each beacon stands, if `parts` of eight are beacons."""
        length = self.tokens - self.sink
        rows = max(LEAST, length // ratio)
        count = rows * parts // 8
        return rows - count, [self.sink + math.ceil((n + 1) * length / count) for n in range(count)]


def read(decoder: Decoder, ids: Sequence[int], sink: int, asks: Asks = ()) -> tuple[Text, Tensor]:
    """Read a document as it is, and what is asked of it: the text, and (tokens, hidden) of what is asked."""
    more, positions, owner = _laid(asks, len(ids))
    owner = torch.cat((torch.full((len(ids),), -1), owner))
    places = torch.cat((torch.arange(len(ids)), positions))
    sees = _causal(owner)
    hidden, keys, values = _run(decoder, torch.cat((torch.tensor(ids), more)), places, lambda layer: sees)
    return Text(keys[:, :, : len(ids)], values[:, :, : len(ids)], sink), hidden[len(ids) :]


def recall(
    decoder: Decoder, beacons: Beacons, text: Text, kept: Tensor, after: Sequence[int], asks: Asks = ()
) -> tuple[Tensor, Tensor, Tensor]:
    """What is asked after kept rows and beacons: (tokens, hidden) of it, and the beacons' keys and values.

    Args:
        kept: (layers, kv_heads, tokens) of the text's rows.
        after: how many tokens of the text each beacon comes after.
    """
    ids, positions, owner = _laid(asks, text.tokens)
    count, ends = len(after), torch.tensor(list(after), dtype=torch.long)
    owner = torch.cat((torch.full((count,), -1), owner))
    own, before = _causal(owner), torch.arange(text.tokens) < ends[:, None]
    stays = kept | (torch.arange(text.tokens) < text.sink)
    left_out = ~kept

    def sees(layer: int) -> Tensor:
        by_beacons, by_asked = left_out[layer][:, None] & before, stays[layer][:, None].expand(-1, len(ids), -1)
        of_text = torch.cat((by_beacons, by_asked), 1)
        return torch.cat((of_text, own.expand(len(of_text), -1, -1)), 2)

    places = torch.cat((ends - 1, positions))
    hidden, keys, values = _run(decoder, ids, places, sees, text, beacons if count else None, count)
    return hidden[count:], keys[:, :, :count], values[:, :, :count]


def _laid(asks: Asks, start: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, positions and the question's number of all that is asked; each question follows the document directly."""
    ids = [[*before, *answer] for before, answer in asks]
    positions = [place for each in ids for place in range(start, start + len(each))]
    owner = [number for number, each in enumerate(ids) for _ in each]
    flat = [token for each in ids for token in each]
    ids_of_all, places, owners = (torch.tensor(each, dtype=torch.long) for each in (flat, positions, owner))
    return ids_of_all, places, owners


def _causal(owner: Tensor) -> Tensor:
    """(tokens, tokens) which sees which: those before it that are everybody's, -1, or its own question's."""
    everyone = (owner == -1) | (owner == owner[:, None])
    return everyone.tril()


def _run(
    decoder: Decoder,
    ids: Tensor,
    positions: Tensor,
    sees: Callable[[int], Tensor],
    text: Text | None = None,
    beacons: Beacons | None = None,
    count: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """(rows, hidden) last hidden states of `count` beacons and tokens after them; their keys, unrotated, and values.

    Args:
        sees: of a layer, ([kv_heads,] rows, rows of the text and own rows) what each row sees.
        text: what stands before them.
    """
    shape, x = decoder.shape, decoder.embedding[ids][None]
    if beacons is not None:
        x = torch.cat((beacons.embedding.to(x.dtype).expand(1, count, -1), x), 1)
    layers = None if beacons is None else beacons.layers()
    own, made = rotation(positions[None], shape, x.dtype), list[tuple[Tensor, Tensor]]()
    standing = None if text is None else rotation(torch.arange(text.tokens)[None], shape, x.dtype)
    repeat = shape.heads // shape.kv_heads
    for number in range(decoder.layers):
        weights = {name: weight[number] for name, weight in decoder.weights.items()}
        normed = rms_norm(x, x.shape[-1:], decoder.norms[0][number], shape.eps)
        projected = []
        for name in PARAM:
            out = linear(normed[:, count:], weights[name])
            if layers is not None:
                out = torch.cat((linear(normed[:, :count], layers[number][name].to(x.dtype)), out), 1)
            projected.append(out.unflatten(-1, (-1, shape.head_dim)).transpose(1, 2))
        query, keys, values = projected
        made.append((keys[0], values[0]))
        keys = turned(keys, own)
        if text is not None and standing is not None:
            keys = torch.cat((turned(text.keys[number][None], standing), keys), 2)
            values = torch.cat((text.values[number][None], values), 2)
        mask = sees(number)
        seen = scaled_dot_product_attention(
            turned(query, own),
            keys.repeat_interleave(repeat, 1),
            values.repeat_interleave(repeat, 1),
            attn_mask=mask.repeat_interleave(repeat, 0)[None] if mask.ndim == 3 else mask,
        )
        x = after_attention(x, seen, decoder.norms[1][number], weights, None, shape)
    all_keys, all_values = (torch.stack(each) for each in zip(*made, strict=True))
    return rms_norm(x, x.shape[-1:], decoder.final, shape.eps)[0], all_keys, all_values


def learned(asks: Asks) -> tuple[Tensor, Tensor]:
    """Of all that is asked, where the answers' tokens are predicted from, and these."""
    places, targets, start = list[int](), list[int](), 0
    for before, answer in asks:
        places += range(start + len(before) - 1, start + len(before) + len(answer) - 1)
        targets += answer
        start += len(before) + len(answer)
    return torch.tensor(places), torch.tensor(targets)


def losses(decoder: Decoder, beacons: Beacons, scorer: Scorer, teacher: Teacher, training: Training) -> Losses:
    """Makes the loss of the next documents: cross-entropy and divergence from the model that sees everything."""
    sink = len(teacher.layout.opening)

    def of_step() -> tuple[Tensor, dict[str, Tensor], int]:
        both, used = list[tuple[Tensor, Tensor]](), 0
        for number in range(training.plan.rows):
            chance = random.Random(f"left out/{training.step}/{number}")
            lesson = teacher.lesson(chance, 1)
            places, targets = learned(lesson.asks)
            with torch.no_grad():
                text, hidden = read(decoder, lesson.ids, sink, lesson.asks)
                target = decoder.logits(hidden[places]).log_softmax(-1)
                rows, after = text.share(chance.choice(RATIOS), chance.choice(PARTS))
                kept = text.kept(scorer, rows)
            hidden, _, _ = recall(decoder, beacons, text, kept, after, lesson.asks)
            predicted = decoder.logits(hidden[places]).log_softmax(-1)
            divergence = (target.exp() * (target - predicted)).sum(-1).mean()
            both.append((nn.functional.nll_loss(predicted, targets), divergence))
            used += text.tokens
        entropy, divergence = (torch.stack(each).mean() for each in zip(*both, strict=True))
        return entropy + divergence, {"entropy": entropy.detach(), "divergence": divergence.detach()}, used

    return of_step


def shipped(decoder: Decoder) -> Beacons:
    """The default model's beacon."""
    state = load_file(beacon_folder() / "beacon.safetensors")
    weights = {p: torch.stack([state[f"layers.{n}.{p}.weight"] for n in range(decoder.layers)]) for p in PARAM}
    return Beacons(weights, state["embedding"].flatten())


def default_model() -> tuple[Any, Layout, Decoder, Scorer]:
    """The default model with its reader, in bfloat16."""
    model, tokenizer = base.load_base(base.gguf_file(), beacon_folder().parent)
    decoder = Decoder(model, torch.bfloat16, "cpu", compiled=False)
    return model, Layout(tokenizer), decoder, load_scorer(beacon_folder())


def main() -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=PLAN.steps)
    options = parser.parse_args()
    base.keep_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    _, layout, decoder, scorer = default_model()
    beacons = shipped(decoder)
    training = Training("left_out", beacons, replace(PLAN, steps=options.steps), options.out)
    passages, books = sources.load(options.data, "train"), sources.books(options.data, BOOK_CHARACTERS)
    teacher = Teacher(layout, passages, SIZES["full"].lessons, books, SHARE, ROOM)
    for _ in training.run(losses(decoder, beacons, scorer, teacher, training)):
        pass


if __name__ == "__main__":
    main()
