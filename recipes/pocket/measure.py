"""What the finished model can do, measured through the tool's own path; writes JSON.

    python -m recipes.pocket.measure --data DATA --model models/beacon_pocket/model --out measured.json

Every document is condensed into a cache and read back for each question, as `beacon ask` does. Sets, none of them seen
in training: `invented`, facts about invented names and values hidden in ten held-out books, at several lengths;
`factbook`, forty held-out country reports with answers of at most 25 tokens; `books`, hand-made questions on eight
whole books. Reported for each: exact match and F1 (in lower case, without punctuation and articles), and the share of
right answers that come with a page. `full` reads everything with ordinary full attention, where it fits; `8x` answers
from the memory condensed at 8 alone; `ask` is the tool's default: ratio auto, passages read again.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
import string
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer

from beacon_cli.checkpoints.model_source import find_model
from beacon_cli.condensing import budget
from beacon_cli.condensing.condense import Request, condense
from beacon_cli.documents import open_document
from beacon_cli.engine import Engine, load_engine
from beacon_cli.events import Answered, Event
from beacon_cli.prompts import Frame, chat_frame
from beacon_cli.store import Store
from beacon_cli.workflows import Options, answer
from recipes.pocket import corpora
from recipes.pocket.compose import Composer

Returned = TypeVar("Returned")
MAX_NEW_TOKENS = 48
ROOM = 1024
ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Mode:
    """A way of answering: condensing ratio (0 is full attention, None is auto) and passages read again."""

    name: str
    ratio: int | None
    passages: int


MODES = [
    Mode("full", 0, 0),
    Mode("4x", 4, 0),
    Mode("8x", 8, 0),
    Mode("16x", 16, 0),
    Mode("ask", None, Options("").passages),
]
# Whole reports and books take long to condense: not in every mode.
MODES_OF = {"factbook": [MODES[0], MODES[2], MODES[4]], "books": [MODES[4]]}


@dataclass
class Score:
    questions: int = 0
    exact: float = 0.0
    f1: float = 0.0
    cited: int = 0

    def add(self, result: Answered, gold: Sequence[str]) -> None:
        self.questions += 1
        right = max(float(normal(result.text) == normal(each)) for each in gold)
        self.exact += right
        self.f1 += max(f1(result.text, each) for each in gold)
        self.cited += bool(right and result.citations)

    def shares(self) -> dict[str, float]:
        count = max(self.questions, 1)
        return {
            "questions": self.questions,
            "exact": round(self.exact / count, 3),
            "f1": round(self.f1 / count, 3),
            "cited": round(self.cited / max(self.exact, 1), 3),
        }


def normal(text: str) -> str:
    bare = "".join(" " if c in string.punctuation else c for c in text.lower())
    return " ".join(ARTICLES.sub(" ", bare).split())


def f1(found: str, gold: str) -> float:
    one, other = normal(found).split(), normal(gold).split()
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other)) if shared else 0.0


def returned(events: Generator[Event, None, Returned]) -> Returned:
    """Run a workflow to its end; what it returns."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            value: Returned = stop.value
            return value


def score(
    engine: Engine, frame: Frame, store: Store, folder: Path, text: str, pairs: Sequence[tuple[str, Sequence[str]]],
    totals: dict[str, Score], modes: Sequence[Mode],
) -> None:  # fmt: skip
    """Ask all questions about one document in all modes."""
    path = folder / "document.txt"
    path.write_text(text, encoding="utf-8")
    length = len(engine.source.tokenizer.encode(text))
    for mode in modes:
        fits = (
            budget.smallest_ratio(engine.source, length + 64, ROOM) is not None
            if mode.ratio is None
            else budget.fits(engine.source, length + 64, mode.ratio, ROOM)
        )
        if not fits:
            continue
        options = replace(Options("", max_new_tokens=MAX_NEW_TOKENS), passages=mode.passages)
        for question, gold in pairs:
            with open_document(str(path)) as document:
                memory = returned(condense(engine, frame, document, store, Request(mode.ratio, ROOM)))
            (result,) = [e for e in answer(engine, frame, memory, question, options, {}) if isinstance(e, Answered)]
            totals.setdefault(mode.name, Score()).add(result, gold)
    for summary in store.entries():
        store.remove(summary.entry)


def invented(
    composer: Composer, length: int, documents: int, facts: int
) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    for _ in range(documents):
        blocks = composer.generator.blocks(facts)
        text = composer.hide(blocks, composer.filler(length))
        yield text, [(fact.question, [fact.answer]) for block in blocks for fact in block.facts]


def factbook(
    data: Path, engine: Engine, rng: random.Random, each: int
) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    for country in corpora.countries(data, held_out=True):
        short = [(q, [a]) for q, a in country.questions if len(engine.source.tokenizer.encode(a)) <= 25]
        yield country.text, rng.sample(short, min(each, len(short)))


def books(data: Path) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    folder = data / "books"
    asked: dict[str, list[tuple[str, list[str]]]] = {}
    for line in (folder / "qa.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        asked.setdefault(row["doc_id"], []).append((row["question"], row["answers"]))
    for book in json.loads((folder / "index.json").read_text(encoding="utf-8")):
        with lzma.open(folder / book["file"], "rt", encoding="utf-8") as file:
            yield file.read(), asked.get(book["doc_id"], [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[500, 2000, 6000, 30000])
    parser.add_argument("--documents", type=int, default=8, help="for each length and wording")
    parser.add_argument("--each", type=int, default=4, help="questions about each country")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sets", nargs="+", default=["invented", "factbook", "books"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = load_engine(find_model(str(options.model), None, folder), "cpu")
        frame, store = chat_frame(engine.source.tokenizer), Store(folder / "cache")
        reader = Tokenizer.from_file(str(options.model / "tokenizer.json"))
        sets: dict[str, Any] = {}
        if "factbook" in options.sets:
            sets["factbook"] = factbook(options.data, engine, random.Random(5), options.each)
        if "books" in options.sets:
            sets["books"] = books(options.data)
        if "invented" in options.sets:
            for wording in ("known", "held"):
                composer = Composer(options.data, reader, 77_001, held_out=True, wording=wording)
                for length in options.lengths:
                    sets[f"invented, {wording} wordings, {length} tokens"] = invented(
                        composer, length, options.documents, 6
                    )
        for title, documents in sets.items():
            began, totals = time.perf_counter(), dict[str, Score]()
            for text, pairs in documents:
                score(engine, frame, store, folder, text, pairs, totals, MODES_OF.get(title, MODES))
            results[title] = {mode: total.shares() for mode, total in totals.items()}
            print(title, json.dumps(results[title]), f"{time.perf_counter() - began:.0f} s", flush=True)
            options.out.write_text(json.dumps({"modes": [asdict(mode) for mode in MODES]} | results, indent=1) + "\n")


if __name__ == "__main__":
    main()
