"""Fits the default model's scorer, as `beacon train --scorer` does, to pieces of what the reader was trained on.

python -m recipes.smollm2.scorer --data DATA --out runs/scorer
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

import beacon_cli as beacon
from activation_beacon.scorer import ScorerFit, save_scorer
from beacon_cli.training.scorer import INTERVALS, read_again
from recipes.smollm2.sources import Passage, books, load

# Of every book so much is looked at, and begun with somewhere in the first half.
CHARACTERS = 200_000


def pieces(
    encode: Callable[[str], list[int]], length: int, passages: Mapping[str, Sequence[Passage]], prose: Sequence[str]
) -> list[list[int]]:
    """Two pieces of SQuAD, one of a book, one of the factbook, each of `length` tokens; always the same ones."""
    chance = random.Random(5)

    def joined(source: str, count: int) -> list[list[int]]:
        every, found = list(passages[source]), list[list[int]]()
        chance.shuffle(every)
        while len(found) < count:
            ids: list[int] = []
            while len(ids) < length:
                ids += encode(every.pop(0).text + "\n\n")
            found.append(ids[:length])
        return found

    squad, factbook = joined("squad", 2), joined("factbook", 1)
    book = chance.sample(prose, 2)[0]
    start = chance.randrange(1000, CHARACTERS // 2)
    return [*squad, encode(book[start : start + 6 * length])[:length], *factbook]


def main() -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    engine = beacon.load(condense="select").engine
    torch.set_num_threads(options.threads)
    source, made = engine.source, ScorerFit()
    length = INTERVALS * source.window
    for ids in pieces(source.tokenizer.encode, length, load(options.data, "train"), books(options.data, CHARACTERS)):
        read_again(engine, ids, made.add)
    save_scorer(options.out, made.scorer(source.name, source.base_fingerprint))


if __name__ == "__main__":
    main()
