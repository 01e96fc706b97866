"""What is read and asked: passages with their questions out of the data folder, for training, choosing and testing.

Nothing of an article or a country that is held out is trained on, and no paragraph of another set that shares eight
words in a row with one either. `dev` is what settings are chosen on and `test` what is reported.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon_cli.answering.prompts import REFUSAL

# SQuAD's articles that are not trained on.
DEV_ARTICLES = frozenset({"Geology", "Scottish_Parliament"})
TEST_ARTICLES = frozenset({"Amazon_rainforest", "Construction", "Harvard_University", "Nikola_Tesla", "Warsaw"})
# The factbook's countries that are not trained on: forty, the first four of them to choose by.
DEV_COUNTRIES = frozenset({"africa/gh", "europe/pl", "south-america/uy", "middle-east/jo"})
_TEST_COUNTRIES = {
    "africa": "by cv eg li ma mp rw sl tz zi",
    "australia-oceania": "fm kr nz tn",
    "central-america-n-caribbean": "bb cs jm st",
    "central-asia": "kg tx",
    "east-n-southeast-asia": "cb ja my",
    "europe": "au da ei en hu ic no sz",
    "middle-east": "mu ym",
    "north-america": "ca",
    "south-america": "bl",
    "south-asia": "np",
}
TEST_COUNTRIES = frozenset(f"{region}/{code}" for region, codes in _TEST_COUNTRIES.items() for code in codes.split())
HELD_OUT = {"dev": DEV_ARTICLES | DEV_COUNTRIES, "test": TEST_ARTICLES | TEST_COUNTRIES}

# So many books of prose, the last in order of their names, are not trained on either.
HAYSTACKS = 10

# Answers of more words are neither trained on nor asked for: an answer is to be short.
ANSWER_WORDS = 20
SECTION_WORDS = 150
_OVERLAP = 8


@dataclass(frozen=True)
class Question:
    """A question about a passage; no `answers` if the passage does not say."""

    text: str
    answers: tuple[str, ...]

    @property
    def target(self) -> str:
        """What is to be answered: the shortest right answer, or the refusal."""
        return min(self.answers, key=len) if self.answers else REFUSAL


@dataclass(frozen=True)
class Passage:
    """A paragraph or a section, and what is asked about it.

    Attributes:
        source: the data set.
        group: article, country or story: passages of one group may stand in one document.
    """

    source: str
    group: str
    text: str
    questions: tuple[Question, ...]


def load(data: Path, split: str) -> dict[str, list[Passage]]:
    """The passages of every data set: `train`, `dev` or `test`.

    Raises:
        FileNotFoundError: if a file of the data folder is missing.
    """
    squad, factbook = _squad(data), _factbook(data)
    held = HELD_OUT["dev"] | HELD_OUT["test"]
    if split != "train":
        found = {
            name: [passage for passage in passages if passage.group in HELD_OUT[split]]
            for name, passages in (("squad", squad), ("factbook", factbook))
        }
        stories = _passages(data / "fairytaleqa" / "qa_val.jsonl.zst", "fairytaleqa")
        dev = set(sorted({passage.group for passage in stories})[::6])
        found["fairytaleqa"] = [passage for passage in stories if (passage.group in dev) == (split == "dev")]
        return found
    secret = {words for passage in squad if passage.group in held for words in _runs(passage.text)}
    found = {
        "squad": squad,
        "factbook": factbook,
        "fairytaleqa": _passages(data / "fairytaleqa" / "qa_train.jsonl.zst", "fairytaleqa"),
        "quoref": _passages(data / "quoref" / "quoref.jsonl.zst", "quoref"),
        "adversarialqa": _passages(data / "adversarialqa" / "adversarialqa.jsonl.zst", "adversarialqa"),
        "boolq": _passages(data / "boolq" / "boolq.jsonl.zst", "boolq"),
    }
    return {
        name: [p for p in passages if p.group not in held and not secret.intersection(_runs(p.text))]
        for name, passages in found.items()
    }


def books(data: Path, characters: int) -> list[str]:
    """Of every book of prose its beginning, up to so many characters.

    Raises:
        FileNotFoundError: if the file is missing.
    """
    found = sorted(rows(data / "prose" / "prose.jsonl.zst"), key=lambda row: str(row["id"]))
    return [row["text"][:characters] for row in found[: -HAYSTACKS or None]]


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of compressed JSON lines."""
    import zstandard  # noqa: PLC0415  # the tests make their passages up

    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file)
        yield from map(json.loads, io.TextIOWrapper(stream, encoding="utf-8"))


def _squad(data: Path) -> list[Passage]:
    contexts = {row["context_id"]: row for row in rows(data / "squad" / "contexts.jsonl.zst")}
    asked = defaultdict(list)
    for row in rows(data / "squad" / "qa.jsonl.zst"):
        asked[row["context_id"]].append(row)
    return [
        Passage("squad", row["doc_id"], _spaced(row["context"]), questions)
        for key, row in contexts.items()
        if (questions := _questions(asked[key]))
    ]


def _passages(path: Path, source: str) -> list[Passage]:
    """Rows that carry their context; without a document of their own, a context is its own group."""
    asked = defaultdict(list)
    for row in rows(path):
        asked[row.get("doc_id", row["context"]), row["context"]].append(row)
    return [
        Passage(source, group, _spaced(context), questions)
        for (group, context), found in asked.items()
        if (questions := _questions(found))
    ]


def _questions(found: Iterable[dict[str, Any]]) -> tuple[Question, ...]:
    """Of rows; without the full stops that some sets put behind every answer."""
    questions = []
    for row in found:
        answers = tuple(cut for answer in row["answers"] if (cut := _spaced(answer).strip(" .,;")))
        if not answers and row["answers"]:
            continue
        short = tuple(answer for answer in answers if len(answer.split()) <= ANSWER_WORDS)
        if short or not answers:
            questions.append(Question(_spaced(row["question"]), short))
    return tuple(questions)


def _spaced(text: str) -> str:
    """Lines and runs of spaces as single spaces; paragraphs stay apart."""
    return "\n".join(" ".join(line.split()) for line in re.split(r"\n{2,}", text.strip()))


def _runs(text: str) -> set[tuple[str, ...]]:
    """Every run of `_OVERLAP` words."""
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[start : start + _OVERLAP]) for start in range(len(words) - _OVERLAP + 1)}


def _factbook(data: Path) -> list[Passage]:
    """Sections of countries. A question belongs to the field that most often holds the answers of its wording."""
    countries = {row["doc_id"]: row for row in rows(data / "factbook" / "countries.jsonl.zst")}
    fields = {key: _fields(row["document"]) for key, row in countries.items()}
    asked: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows(data / "factbook" / "qa.jsonl.zst"):
        key = row["doc_id"]
        wording = row["question"].replace(countries[key]["title"], "{}")
        asked[key].append((wording, row))
        votes[wording].update(field for field, text in fields[key] if row["answers"][0] in text)
    best = {wording: counts.most_common(1)[0][0] for wording, counts in votes.items() if counts.total() >= 20}
    passages = []
    for key, row in countries.items():
        for names, text in _sections(row["title"], fields[key]):
            mine = [row for wording, row in asked[key] if best.get(wording) in names and row["answers"][0] in text]
            passages.append(Passage("factbook", key, text, _questions(mine)))
    return passages


def _fields(document: str) -> list[tuple[str, str]]:
    """(`Capital`, `Capital. name: Reykjavik …`) and so on, in order; headings are fields without text behind them."""
    blocks = re.split(r"\n{2,}", document.strip())[1:]
    return [(block.partition(". ")[0] if ". " in block else "", block) for block in blocks]


def _sections(title: str, fields: list[tuple[str, str]]) -> Iterator[tuple[set[str], str]]:
    """A country's fields by up to about `SECTION_WORDS` words, under its name and the heading."""
    heading, names, texts, words = "", set[str](), list[str](), 0
    for name, text in [*fields, ("", "")]:
        length = len(text.split())
        if texts and (not name or words + length > SECTION_WORDS):
            yield names, "\n\n".join([f"{title} › {heading}", *texts])
            names, texts, words = set(), [], 0
        if not name:
            heading = text
        elif length <= 2 * SECTION_WORDS:
            names, texts, words = names | {name}, [*texts, text], words + length


def made_up(seed: int) -> dict[str, list[Passage]]:
    """A few passages of invented people, for the tests: like the real sets, without their files."""
    chance = random.Random(seed)
    names, towns = (
        ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"],
        ["Oslo", "Rome", "Lima", "Bern", "Kyiv", "Cork"],
    )
    passages = []
    for number in range(24):
        who, town, year = chance.choice(names), chance.choice(towns), str(chance.randint(1800, 1999))
        questions = (
            Question(f"Where does {who} live?", (town,)),
            Question(f"When was {who} born?", (year, f"in {year}")),
            Question(f"What does {who} eat?", ()),
        )
        passages.append(
            Passage("squad", f"article {number // 4}", f"{who} lives in {town}, born in {year}.", questions)
        )
    return {"squad": passages}
