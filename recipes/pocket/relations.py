"""The relation table of the generator: what can be said about an invented thing, in which words, and how it is asked.

`relations.tsv` has a row per relation: name, subject kind, value kind, statements, questions and record labels, the
alternatives of the last three divided by " / ". `{e}` is the entity, `{v}` the value. The last statement and the last
question of a row are never used in training where the row has more than two; the rows named in `HELD_OUT` are never
used in training at all. Both are what `evaluate.py` asks about.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Relation:
    name: str
    subject: str
    value: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    labels: tuple[str, ...]


HELD_OUT = frozenset(
    {
        "godmother",
        "cargo",
        "altitude",
        "first_mayor",
        "tailor",
        "licence",
        "garden",
        "medicine",
        "rival",
        "opening_hour",
    }
)


def _read() -> tuple[Relation, ...]:
    with (Path(__file__).parent / "relations.tsv").open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(reader)
        return tuple(
            Relation(name, subject, value, *(tuple(cell.split(" / ")) for cell in cells))
            for name, subject, value, *cells in reader
        )


RELATIONS = _read()
