"""Search: is the passage that holds the answer among the first that a question finds?

    python benchmarks/search.py DATA [--set NAME]
    python benchmarks/search.py DATA --judged --questions 100

DATA is a folder of question sets as JSON lines (`squad`, `factbook`, `fairytaleqa`, `books`). Each SQuAD article, five
of them together, ten countries of the factbook together, each fairy tale and each book is one document; a passage
counts if it holds an answer literally and, where the set says where that stands, lies there. What was chosen by hand
(weights, sizes) was chosen on the articles and countries of odd number, `chosen on` below. With `--judged`, the default
model judges what is found, as `beacon ask` has it do; it was trained on most of SQuAD's articles and countries, but not
on those of `dev`, by which it was chosen how much it judges.
"""

import argparse
import io
import json
import lzma
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

import beacon_cli as beacon
from beacon_cli.answering.judging import judged
from beacon_cli.answering.passages import Passage, split_passages
from beacon_cli.answering.search import SearchIndex
from beacon_cli.cache.pages import PageText
from beacon_cli.documents import open_document
from recipes.smollm2.sources import DEV_ARTICLES, DEV_COUNTRIES


@dataclass(frozen=True)
class Asked:
    """A question about a document; `within`: the part of the text that the answer stands in."""

    question: str
    answers: tuple[str, ...]
    within: str | None = None


Documents = Iterator[tuple[str, list[Asked]]]
Which = slice | frozenset[str]
ODD, EVEN = slice(1, None, 2), slice(0, None, 2)


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a compressed file of JSON lines."""
    with path.open("rb") as file:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file), encoding="utf-8")
        return [json.loads(line) for line in text]


def of(names: list[str], which: Which) -> list[str]:
    """Those of the articles or countries."""
    return names[which] if isinstance(which, slice) else [name for name in names if name in which]


def squad(data: Path, which: Which, together: int) -> Documents:
    """Articles with their answerable questions, so many in one document."""
    contexts = rows(data / "squad" / "contexts.jsonl.zst")
    articles = of(sorted({row["doc_id"] for row in contexts}), which)
    asked = [row for row in rows(data / "squad" / "qa.jsonl.zst") if row["answers"]]
    for first in range(0, len(articles), together):
        chosen = articles[first : first + together]
        texts = {row["context_id"]: row["context"] for row in contexts if row["doc_id"] in chosen}
        questions = [
            Asked(row["question"], tuple(row["answers"]), texts[row["context_id"]])
            for row in asked
            if row["context_id"] in texts
        ]
        yield "\n\n".join(texts.values()), questions


def factbook(data: Path, which: Which) -> Documents:
    """Ten countries in one document."""
    every = {row["doc_id"]: row for row in rows(data / "factbook" / "countries.jsonl.zst")}
    countries = [every[name] for name in of(list(every), which)]
    asked = rows(data / "factbook" / "qa.jsonl.zst")
    for first in range(0, len(countries), 10):
        texts = {row["doc_id"]: row["document"] for row in countries[first : first + 10]}
        questions = [
            Asked(r["question"], tuple(r["answers"]), texts[r["doc_id"]]) for r in asked if r["doc_id"] in texts
        ]
        yield "\f".join(texts.values()), questions


def fairytales(data: Path) -> Documents:
    """Whole tales, with the questions whose answers stand in them literally."""
    asked = rows(data / "fairytaleqa" / "qa_val.jsonl.zst")
    for story in rows(data / "fairytaleqa" / "stories.jsonl.zst"):
        questions = [
            Asked(row["question"], tuple(row["answers"]), row["context"])
            for row in asked
            if row["doc_id"] == story["doc_id"] and any(answer in row["context"] for answer in row["answers"])
        ]
        if questions:
            yield story["document"], questions


def books(data: Path) -> Documents:
    """Whole books; a passage counts if it holds the words that the set names as evidence."""
    asked = [json.loads(line) for line in (data / "books" / "qa.jsonl").read_text(encoding="utf-8").splitlines()]
    for book in json.loads((data / "books" / "index.json").read_text(encoding="utf-8")):
        with lzma.open(data / "books" / book["file"], "rt", encoding="utf-8") as file:
            text = file.read()
        yield text, [Asked(row["question"], (row["evidence"],)) for row in asked if row["doc_id"] == book["doc_id"]]


SETS = {
    "SQuAD articles, chosen on": lambda data: squad(data, ODD, 1),
    "factbook, chosen on": lambda data: factbook(data, ODD),
    "SQuAD articles": lambda data: squad(data, EVEN, 1),
    "SQuAD, five articles together": lambda data: squad(data, EVEN, 5),
    "factbook, ten countries together": lambda data: factbook(data, EVEN),
    "SQuAD, dev": lambda data: squad(data, DEV_ARTICLES, 1),
    "factbook, dev": lambda data: factbook(data, DEV_COUNTRIES),
    "fairy tales": fairytales,
    "books": books,
}


def is_right(passage: Passage, asked: Asked) -> bool:
    """Whether it holds an answer, and stands where that is."""
    text = _plain(passage.text)
    if not any(_plain(answer) in text for answer in asked.answers):
        return False
    # A passage may begin before the part; its last words or its middle stand in it.
    middle = len(text) // 2
    return asked.within is None or text[middle : middle + 30] in _plain(asked.within)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def split(text: str) -> list[Passage]:
    """The passages of a text, as those of a text file would be."""
    with open_document("text", text=text) as document:
        pages = [PageText(page.number, "", page.text, 0, 0, page.section) for page in document.pages()]
    return split_passages(pages, "text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=SETS, action="append")
    parser.add_argument("--questions", type=int, default=600, help="of a set, about")
    parser.add_argument("--judged", action="store_true", help="by the default model")
    chosen = parser.parse_args()
    engine = beacon.load().engine if chosen.judged else None
    print("| set | questions | first two | first five | index | search |\n|---|---|---|---|---|---|")
    for name in chosen.set or SETS:
        documents = list(SETS[name](chosen.data))
        every = max(1, sum(len(questions) for _, questions in documents) // chosen.questions)
        two = five = number = indexing = searching = 0.0
        for text, questions in documents:
            passages = split(text)
            began = time.perf_counter()
            index = SearchIndex(passages)
            indexing += time.perf_counter() - began
            for asked in questions[::every]:
                if not any(is_right(passage, asked) for passage in passages):
                    continue  # the answer is cut in two, or written otherwise
                began = time.perf_counter()
                ranked = judged(engine, index, asked.question).passages if engine else index.find(asked.question, 5)
                found = [is_right(passage, asked) for passage in ranked[:5]]
                searching += time.perf_counter() - began
                number, two, five = number + 1, two + any(found[:2]), five + any(found)
        shares = f"{two / number:.1%} | {five / number:.1%}"
        took = f"{indexing / len(documents):.3f} s | {searching / number * 1e3:.1f} ms"
        print(f"| {name} | {number:.0f} | {shares} | {took} |", flush=True)


if __name__ == "__main__":
    main()
