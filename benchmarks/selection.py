"""What a condensed memory keeps of full attention's answers: questions of SQuAD about many paragraphs at once.

    BEACON_DATA=DATA python -m benchmarks.selection OUT.json [--length 1000] [--documents 8] [--windows 0 256] …

A document is so many tokens of paragraphs, in any order, of the five articles that the default model was not trained
on; every paragraph stands in one document, and two questions about each are asked, or so many. All of the document is
condensed, its last interval too, and nothing is read again. The model is the default one unless one is named. An
interrupted run goes on; OUT.json has every question's outcome. Printed, for each way of condensing, are

- right: answers in which a right one stands, as a share of those of full attention, to the same questions;
- kept: of the questions that full attention answers rightly, the share that still is;
- likelihood: of these, the share kept of what the document adds to the log-likelihood of the shortest right answer.

Windows: 0 is the whole document in one interval. There, it is read and said again once for all ratios.
"""

import argparse
import itertools
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import beacon_cli as beacon
from activation_beacon import Activations, Selection
from activation_beacon.memory import SequenceMemory
from activation_beacon.ragged import RaggedMemory
from activation_beacon.scorer import Scorer, load_scorer
from activation_beacon.selected import select_rows
from activation_beacon.selection import best
from beacon_cli.answering.prompts import question_text
from beacon_cli.checkpoints.default_model import beacon_folder
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.checkpoints.selecting import selection_of
from beacon_cli.evaluation.metrics import found
from beacon_cli.settings import DEFAULTS
from benchmarks.batched import Padded, answers, padded
from recipes.smollm2.base import keep_memory
from recipes.smollm2.sources import Question, load

MOST = 16
FULL, NOTHING = "full attention", "no document"
# A way of condensing, and of each question whether it is answered rightly and the likelihood of the right answer.
Outcome = tuple[str, list[tuple[bool, float]]]


@dataclass(frozen=True)
class Asked:
    """A document, and what is asked about it."""

    text: str
    questions: tuple[Question, ...]


def documents(engine: Engine, data: Path, length: int, questions: int) -> list[Asked]:
    """Of up to `length` tokens each, always the same ones."""
    chance, made = random.Random(7), list[Asked]()
    passages = load(data, "test")["squad"]
    chance.shuffle(passages)
    texts, asked, tokens = list[str](), list[Question](), 0
    for passage in passages:
        answered = [question for question in passage.questions if question.answers]
        size = len(engine.source.tokenizer.encode(f"{passage.text}\n\n"))
        if texts and tokens + size > length:
            made.append(Asked("\n\n".join(texts), tuple(asked)))
            texts, asked, tokens = [], [], 0
        if answered:
            texts, tokens = [*texts, passage.text], tokens + size
            asked += chance.sample(answered, min(questions, len(answered)))
    return made


class Measuring:
    """Condenses a document in every way that is asked for, and asks its questions."""

    def __init__(
        self, engine: Engine, ways: Sequence[str], windows: Sequence[int], ratios: Sequence[int], scorer: Scorer | None
    ) -> None:
        self.engine, self.ways, self.windows, self.ratios, self.scorer = engine, ways, windows, ratios, scorer
        source = engine.source
        self.plain = selection_of(source.tokenizer, source.frame, source.context)

    @torch.inference_mode()
    def outcomes(self, document: Asked) -> Iterator[Outcome]:
        """Of every way; full attention first."""
        source = self.engine.source
        ids = [*source.frame.opening, *source.tokenizer.encode(document.text)]
        whole = replace(self.plain, window=len(ids))
        yield NOTHING, self._ask(self._read(whole, 1, list(source.frame.opening)), document)
        yield FULL, self._ask(self._read(whole, 1, ids), document)
        if "beacon" in self.ways:
            yield from self._by_beacon(ids, document)
        for window in self.windows:
            yield from self._in_one(whole, ids, document) if not window else self._in_many(window, ids, document)

    def _by_beacon(self, ids: list[int], document: Asked) -> Iterator[Outcome]:
        for ratio in self.ratios:
            reader = self.engine.attached.reader(ratio)
            reader.read(ids)
            reader.end_interval()
            yield f"beacon, {ratio}x", self._ask(reader.memory, document)

    def _in_one(self, whole: Selection, ids: list[int], document: Asked) -> Iterator[Outcome]:
        """As one interval, whose rows and scores are had once."""
        seen: list[tuple[Activations, Tensor]] = []
        self._read(whole, 2, ids, seen)
        ((rows, scores),) = seen
        front = self._read(whole, 1, ids[: whole.sink])
        for name in self.ways:
            if name == "beacon":
                continue
            score = self.scorer.scores(rows) if name == "scorer" and self.scorer else scores
            for ratio in self.ratios:
                reader = self.engine.attached.selecting_reader(ratio, whole)
                reader.memory.extend(front, [range(front.places)])
                reader.load(select_rows(rows, best(score, max(1, rows.size // ratio))))
                yield f"{name}, whole, {ratio}x", self._ask(reader.memory, document)

    def _in_many(self, window: int, ids: list[int], document: Asked) -> Iterator[Outcome]:
        for name, ratio in itertools.product(self.ways, self.ratios):
            if name != "beacon":
                scorer = self.scorer if name == "scorer" else None
                memory = self._read(replace(self.plain, window=window, scorer=scorer), ratio, ids)
                yield f"{name}, intervals of {window}, {ratio}x", self._ask(memory, document)

    def _read(
        self, selection: Selection, ratio: int, ids: list[int], seen: list[tuple[Activations, Tensor]] | None = None
    ) -> RaggedMemory:
        reader = self.engine.attached.selecting_reader(ratio, selection)
        if seen is not None:
            reader.observe = lambda rows, scores: seen.append((rows, scores))
        reader.remember(ids)
        reader.end_interval()
        return reader.memory

    def _ask(self, memory: RaggedMemory | SequenceMemory, document: Asked) -> list[tuple[bool, float]]:
        source = self.engine.source
        return ask(self.engine.model, source, padded(memory, source.context - self.plain.window), document)


def ask(model: Any, source: ModelSource, memory: Padded, document: Asked) -> list[tuple[bool, float]]:
    """Of each question about the document: whether it is answered rightly, and the right answer's likelihood."""
    tokenizer = source.tokenizer
    requests = [[*tokenizer.encode(question_text(each.text)), *source.frame.closing] for each in document.questions]
    targets = [tokenizer.encode(each.target) for each in document.questions]
    given = answers(model, memory, requests, targets, tokenizer.eos_ids, MOST)
    return [
        (bool(found(tokenizer.decode(ids), each.answers)), likelihood)
        for each, (ids, likelihood) in zip(document.questions, given, strict=True)
    ]


def table(found: dict[str, list[list[tuple[bool, float]]]]) -> str:
    """In Markdown; of every way, the documents that all ways were asked about."""
    done = min(map(len, found.values()))
    flat = {way: [each for document in asked[:done] for each in document] for way, asked in found.items()}
    full, nothing = flat[FULL], flat[NOTHING]
    known = [number for number, (right, _) in enumerate(full) if right]
    lines = [
        f"{len(full)} questions about {done} documents; full attention answers {len(known)} rightly\n",
        "| what condenses | right | kept | likelihood |\n|---|---|---|---|",
    ]
    added = sum(full[number][1] - nothing[number][1] for number in known)
    for way, asked in flat.items():
        right, kept = sum(each[0] for each in asked), sum(asked[number][0] for number in known)
        share = sum(asked[number][1] - nothing[number][1] for number in known) / added
        lines.append(f"| {way} | {100 * right / len(known):.0f} % | {100 * kept / len(known):.0f} % | {share:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a condensed memory keeps of full attention's answers.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--length", type=int, default=1000)
    parser.add_argument("--documents", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="so many documents are passed over")
    parser.add_argument("--questions", type=int, default=2, help="about a paragraph")
    parser.add_argument("--windows", type=int, nargs="+", default=[0])
    parser.add_argument("--ratios", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--condense", nargs="+", default=["beacon", "scorer", "select"])
    parser.add_argument("--scorer", type=Path, help="the folder of another one than the default model's")
    parser.add_argument("--model", default=DEFAULTS.model)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    keep_memory()
    engine = beacon.load(options.model, condense="beacon" if "beacon" in options.condense else "select").engine
    torch.set_num_threads(options.threads)
    data = Path(os.environ["BEACON_DATA"])
    asked = documents(engine, data, options.length, options.questions)[options.first :][: options.documents]
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    scorer = load_scorer(options.scorer or beacon_folder()) if "scorer" in options.condense else None
    measuring = Measuring(engine, options.condense, options.windows, options.ratios, scorer)
    for document in asked[min(map(len, found.values()), default=0) :]:
        for way, outcomes in measuring.outcomes(document):
            found.setdefault(way, []).append(outcomes)
        options.out.write_text(json.dumps(found))
    print(table(found))


if __name__ == "__main__":
    main()
