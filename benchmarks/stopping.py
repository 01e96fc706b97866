"""Stopping: which limits of a loop and of babble catch answers that are lost, and which would stop right ones?

    python -m benchmarks.stopping DATA runs/stopping [--questions N]

DATA is a folder of question sets with SQuAD as JSON lines. Questions about articles that the default model was not
trained on are answered to the end, whatever comes, in five ways: by the default model (`reader`) and SmolLM2 as it
comes (`bare`), which have the paragraph, the latter at temperature 1 (`warm`) and 1.5 (`hot`) too, and by the default
model from the memory of fifteen paragraphs at ratio 32 (`memory`), which keeps next to nothing. Every token's
probability is kept in `answers.jsonl` of the second folder; what stands there is answered no more. Then limits are
tried on all of it.

An answer is `right` if a right answer stands in it, else `wrong`. One is neither that reached the longest answer and
`loops`: of the runs of four tokens in its second half, less than half are different; or `babbles`: of the words in its
second half, less than a quarter stand in those paragraphs.
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

import beacon_cli as beacon
from activation_beacon import SequenceReader
from beacon_cli.answering.decoding import babbles, belief, loops, pick
from beacon_cli.answering.prompts import question_text
from beacon_cli.answering.terms import words
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.evaluation.metrics import found
from beacon_cli.evaluation.report import markdown
from recipes.smollm2 import base, sources

LONGEST, RUN, KNOWN = 96, 4, 0.25  # tokens, tokens, share of words
PARAGRAPHS = 15  # of an article
# Temperatures.
WAYS = {"reader": 0.0, "bare": 0.0, "warm": 1.0, "hot": 1.5, "memory": 0.0}
KINDS = ("right", "wrong", "loops", "babbles")
LOOPS = tuple(product((2, 3, 4), (12, 24, 48)))
BABBLE = tuple(product((12, 24, 48), (0.05, 0.1, 0.2, 0.3)))

Record = dict[str, Any]
Limit = tuple[float, ...]
# Whether an answer is lost after its first so many tokens, by a limit.
Lost = Callable[..., bool]


def answers(data: Path, count: int) -> Iterator[Record]:
    """What is answered to about `count` questions, in every way."""
    engines = {"reader": beacon.load().engine, "bare": beacon.load(str(base.gguf_file())).engine}
    engines |= {"memory": engines["reader"], "warm": engines["bare"], "hot": engines["bare"]}
    passages = sources.load(data, "dev")["squad"]
    articles = sorted({passage.group for passage in passages})
    for article in articles:
        own = [passage for passage in passages if passage.group == article][:PARAGRAPHS]
        vocabulary = {word.lower() for passage in own for word in words(passage.text)}
        memory = _read(engines["memory"], "\n\n".join(passage.text for passage in own), 32)
        mark = memory.mark()
        every = [(passage, q) for passage in own for q in passage.questions if q.answers]
        asked = random.Random(article).sample(every, count // len(articles))
        for (passage, question), way in product(asked, WAYS):
            memory.rewind(mark)
            reader = memory if way == "memory" else _read(engines[way], passage.text, 0)
            said = _said(engines[way], reader, question.text, WAYS[way])
            ids, believed = [token for token, _ in said], [round(each, 3) for _, each in said]
            decode = engines[way].source.tokenizer.decode
            last = [word.lower() for word in words(decode(ids[len(ids) // 2 :]))]
            record: Record = {"way": way, "question": question.text, "answers": question.answers}
            record |= {"known": sum(word in vocabulary for word in last) / max(1, len(last))}
            yield record | {"answer": decode(ids), "ids": ids, "believed": believed}


def _read(engine: Engine, text: str, ratio: int) -> SequenceReader:
    """A reader that has read a text, condensed at `ratio` (0: as it is)."""
    reader = engine.reader(ratio)
    reader.read([*engine.source.frame.opening, *engine.source.tokenizer.encode(text)])
    if ratio:
        reader.end_interval()
    return reader


def _said(engine: Engine, reader: SequenceReader, question: str, temperature: float) -> list[tuple[int, float]]:
    """The tokens of an answer, and what the model believes in each."""
    source, said = engine.source, list[tuple[int, float]]()
    reader.condense_at(0)
    logits = reader.read([*source.tokenizer.encode(question_text(question)), *source.frame.closing])
    while len(said) < LONGEST and (token := pick(logits, temperature)) not in source.tokenizer.eos_ids:
        said.append((token, belief(logits)))
        logits = reader.read([token])
    return said


def kind(record: Record) -> str:
    """Which of `KINDS` an answer is."""
    last = record["ids"][LONGEST // 2 :]
    runs = [tuple(last[first : first + RUN]) for first in range(len(last) - RUN + 1)]
    if len(record["ids"]) == LONGEST and 2 * len(set(runs)) < len(runs):
        return "loops"
    if len(record["ids"]) == LONGEST and record["known"] < KNOWN:
        return "babbles"
    return "right" if found(record["answer"], record["answers"]) else "wrong"


def stopped(record: Record, lost: Lost, limit: Limit) -> int | None:
    """After how many tokens an answer is stopped by a limit; None if it is not."""
    return next((end for end in range(1, 1 + len(record["ids"])) if lost(record, end, *limit)), None)


def table(records: Sequence[Record], limits: Sequence[Limit], lost: Lost) -> str:
    """For each of some limits, how many answers of every kind are stopped, and those that are neither after how many
    tokens.
    """
    lines = []
    for limit in limits:
        ends: dict[str, list[int | None]] = {name: [] for name in KINDS}
        for record in records:
            ends[kind(record)].append(stopped(record, lost, limit))
        caught = [end for name in ("loops", "babbles") for end in ends[name] if end is not None]
        counts = [f"{sum(end is not None for end in each)} of {len(each)}" for each in ends.values()]
        lines.append([*map(str, limit), *counts, f"{sum(caught) / len(caught):.0f}" if caught else ""])
    return markdown(["limit", "", *KINDS, "after tokens"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--questions", type=int, default=22, help="about")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = chosen.run / "answers.jsonl"
    if not path.exists():
        chosen.run.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", buffering=1) as file:
            file.writelines(f"{json.dumps(record)}\n" for record in answers(chosen.data, chosen.questions))
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    print(table(records, LOOPS, lambda r, end, times, tokens: loops(r["ids"][:end], times, tokens)))
    print(table(records, BABBLE, lambda r, end, tokens, floor: babbles(r["believed"][:end], tokens, math.log(floor))))


if __name__ == "__main__":
    main()
