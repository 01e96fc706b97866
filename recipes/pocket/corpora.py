"""Reading the shared corpora: books, country reports, and questions with literal answers. `root` is the data folder."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from recipes.pocket import lists

_HELD_OUT = lists.read("held_out.txt")  # ten books as haystacks, forty countries
_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Reading:
    """A text with questions whose answers stand in it literally; an empty answer means that the text does not say."""

    text: str
    questions: tuple[tuple[str, str], ...]
    title: str = ""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a zstd-compressed JSON-lines file."""
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file)
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            yield json.loads(line)


def books(root: Path, haystacks: bool = False) -> list[str]:
    """Texts of the prose books: those for training, or the ten haystacks."""
    return [
        row["text"]
        for row in rows(root / "prose" / "prose.jsonl.zst")
        if (row["id"] in _HELD_OUT["books"]) == haystacks
    ]


def countries(root: Path, held_out: bool = False) -> list[Reading]:
    """Country reports with their template questions."""
    asked: dict[str, list[tuple[str, str]]] = {}
    for row in rows(root / "factbook" / "qa.jsonl.zst"):
        asked.setdefault(row["doc_id"], []).append((row["question"], row["answers"][0]))
    return [
        Reading(row["document"], tuple(asked.get(row["doc_id"], ())), row["title"])
        for row in rows(root / "factbook" / "countries.jsonl.zst")
        if (row["doc_id"] in _HELD_OUT["countries"]) == held_out
    ]


def _literal(answers: list[str], text: str) -> str | None:
    fitting = [a.strip().rstrip(".") for a in answers if a.strip() and a.strip().rstrip(".") in text]
    return min(fitting, key=len, default=None)


def paragraphs(root: Path, held_out: bool = False) -> list[Reading]:
    """SQuAD, Quoref, AdversarialQA and FairytaleQA (train) paragraphs; one row in 25 is held out, by context."""
    contexts = {row["context_id"]: row["context"] for row in rows(root / "squad" / "contexts.jsonl.zst")}
    found: dict[str, list[tuple[str, str]]] = {}
    for name, path in (
        ("squad", "squad/qa"),
        ("quoref", "quoref/quoref"),
        ("adversarialqa", "adversarialqa/adversarialqa"),
        ("fairytaleqa", "fairytaleqa/qa_train"),
    ):
        for row in rows(root / f"{path}.jsonl.zst"):
            text = _SPACES.sub(" ", contexts[row["context_id"]] if name == "squad" else row["context"]).strip()
            if name == "squad" and not row["answers"]:
                found.setdefault(text, []).append((row["question"], ""))
                continue
            answer = _literal(row["answers"], text)
            if answer is not None and len(answer) <= 80:
                found.setdefault(text, []).append((row["question"], answer))
    ordered = sorted(found)
    return [Reading(text, tuple(found[text])) for i, text in enumerate(ordered) if (i % 25 == 0) == held_out]


def textbook(root: Path) -> list[str]:
    """Sections of the OpenStax textbooks."""
    return [row["document"] for row in rows(root / "openstax" / "modules.jsonl.zst")]


def summaries(root: Path) -> list[tuple[str, str]]:
    """Textbook sections and whole stories (SQuALITY, train), each with the first sentences of a summary."""
    stories = {row["doc_id"]: row["document"] for row in rows(root / "squality" / "stories.jsonl.zst")}
    plots = [row for row in rows(root / "squality" / "qa_train.jsonl.zst") if "plot" in row["question"].lower()]
    told = [(stories[row["doc_id"]], min(row["answers"], key=len)) for row in plots]
    told += [(row["document"], row["summary"]) for row in rows(root / "openstax" / "modules.jsonl.zst")]
    return [(text, beginning(summary, 400)) for text, summary in told if summary]


def beginning(text: str, chars: int) -> str:
    """The first sentences, of at most so many characters together; at least a piece of the first."""
    text = text.strip()
    return text if len(text) <= chars else (text[:chars].rpartition(". ")[0] or text[: chars - 1]) + "."


def names(root: Path) -> list[str]:
    """Capitalised words of the books and reports, each once: what the name maker's character model is made from."""
    pattern = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,10}\b")
    found: set[str] = set()
    for text in books(root)[::4]:
        found.update(pattern.findall(text[:100_000]))
    for country in countries(root):
        found.update(pattern.findall(country.text))
    return sorted(found)
