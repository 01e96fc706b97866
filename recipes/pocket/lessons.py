"""Write what `beacon train` reads, and questions to validate it on and to ask it afterwards, as JSON lines.

    python -m recipes.pocket.lessons --data DATA --tokenizer runs/pocket/tokenizer --out runs/pocket/lessons

`train.jsonl`: conversations, each about a document with several questions, of all sources and lengths that the language
model was trained on and longer ones; pages of books among them. `questions.jsonl`: a question each about invented names
and values that no training shows, hidden in books that no training shows, as `beacon train --eval-data` and `beacon
eval qa` read it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from recipes.pocket.compose import Composer, Plan

QUESTIONS_EACH = 4
ROOM = 72  # tokens of a question and its answer


def plan(length: int) -> Plan:
    """Fewer facts than the language model was trained on: what is learned here is to find one in a long text."""
    return Plan(facts=(2, 4 + length // 64), passages=0.1, summary=0.04, keys=0.1)


def conversation(composer: Composer, length: int, least: int) -> dict[str, Any]:
    """A chat of at most `length` tokens whose first answer stands behind at least `least`."""
    while True:
        sample = composer.sample(length, plan(length))
        if sample.answer.index(True) >= least:
            break
    pairs = [(("user", turn), ("assistant", reply)) for turn, reply in sample.turns]
    return {"messages": [{"role": role, "content": text} for pair in pairs for role, text in pair]}


def page(composer: Composer, length: int, least: int) -> dict[str, Any]:
    """Some of a book: more than `least` and at most about `length` tokens."""
    while True:
        text = "".join(f"{piece} " if piece.strip() else piece for piece in composer.filler(int(0.9 * length))).strip()
        if least < len(composer.encode(text)):
            return {"text": text}


def questions(composer: Composer, length: int, least: int) -> Iterator[dict[str, Any]]:
    """Questions about one document of at least `least` tokens, which with question and answer are at most `length`."""
    while True:
        blocks = composer.generator.blocks(QUESTIONS_EACH)
        document = composer.hide(blocks, composer.filler(int(0.85 * length) - 60))
        if least <= len(composer.encode(document)) <= length - ROOM:
            break
    for fact in [fact for block in blocks for fact in block.facts][:QUESTIONS_EACH]:
        yield {"document": document, "question": fact.question, "answer": fact.answer, "answers": [fact.answer]}


def write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=Path("runs/pocket/tokenizer"))
    parser.add_argument("--out", type=Path, default=Path("runs/pocket/lessons"))
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096], help="tokens, in turn")
    parser.add_argument("--pages", type=float, default=0.15, help="share of the texts that ask nothing")
    parser.add_argument("--least", type=int, default=160, help="tokens that stand before the first answer")
    parser.add_argument("--documents", type=int, default=24, help=f"of {QUESTIONS_EACH} questions each")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(options.tokenizer / "tokenizer.json"))
    composer = Composer(options.data, tokenizer, options.seed)

    def texts() -> Iterator[dict[str, Any]]:
        for number in range(options.texts):
            make: Callable[..., dict[str, Any]] = page if composer.rng.random() < options.pages else conversation
            yield make(composer, options.lengths[number % len(options.lengths)], options.least)

    write(options.out / "train.jsonl", texts())
    others = Composer(options.data, tokenizer, options.seed, held_out=True, wording="held")
    lengths = [options.lengths[number % len(options.lengths)] for number in range(options.documents)]
    write(
        options.out / "questions.jsonl", (row for length in lengths for row in questions(others, length, options.least))
    )


if __name__ == "__main__":
    main()
