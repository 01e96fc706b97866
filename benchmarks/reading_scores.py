"""From the answers of `benchmarks.reading` to figures in per cent; what each column is, that script says."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.evaluation.metrics import exact_match, f1, found, normal
from beacon_cli.evaluation.report import markdown
from benchmarks.reading_sets import SETS

ANSWERS, RUN = "answers.jsonl", "run.json"
KEPT = Path(__file__).with_name("reading.json")
COLUMNS = ("exact", "f1", "contained", "page", "in 2", "in 5", "refused", "declined", "sure")

Record = dict[str, Any]
Score = Callable[[Record], float | None]


def records(folder: Path) -> list[Record]:
    """All answers of a folder."""
    path = folder / ANSWERS
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def summary(folder: Path) -> Record:
    """Of every set the number of questions, seconds a question, and in per cent the columns that it has."""
    asked, sets = records(folder), dict[str, Record]()
    for name in SETS:
        if group := [record for record in asked if record["set"] == name]:
            figures = {column: _share(group, score) for column, score in SCORES.items()}
            seconds = sum(record["seconds"] for record in group) / len(group)
            sets[name] = {"questions": len(group), **figures, "seconds": round(seconds, 2)}
    return {"asked": json.loads((folder / RUN).read_text("utf-8")), "sets": sets}


def kept() -> dict[str, Record]:
    """The summaries that the repository keeps, by the run's name."""
    found: dict[str, Record] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    return found


def keep(runs: Mapping[str, Record]) -> None:
    """Put summaries among those that the repository keeps: for the sets they have, if they are of the same model."""
    known = kept()
    for name, run in runs.items():
        same = name in known and known[name]["asked"] == run["asked"]
        known[name] = {**run, "sets": {**(known[name]["sets"] if same else {}), **run["sets"]}}
    KEPT.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


def table(runs: Mapping[str, Record]) -> str:
    """Summaries in Markdown, a line for each set and run."""
    rows = [
        [name, run, str(figures["questions"]), *(_cell(figures[each]) for each in (*COLUMNS, "seconds"))]
        for name in SETS
        for run, found in runs.items()
        if (figures := found["sets"].get(name))
    ]
    return markdown(["set", "run", "questions", *COLUMNS, "s"], rows)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _share(group: Sequence[Record], score: Score) -> float | None:
    """In per cent, of those that a score says something of; None if of none."""
    values = [value for record in group if (value := score(record)) is not None]
    return round(100 * sum(values) / len(values), 1) if values else None


def _compared(metric: Callable[[str, Sequence[str]], float]) -> Score:
    return lambda record: metric(record["answer"], record["answers"]) if record["answers"] else None


def _right(record: Record) -> float:
    return found(record["answer"], record["answers"]) if record["answers"] else 0.0


def _refused(record: Record) -> float:
    return float(normal(record["answer"]) in ("", normal(REFUSAL)))


def _declined(record: Record) -> float:
    return max(_refused(record), float("supported" in record and not record["supported"]))


def _page(record: Record) -> float | None:
    if not record["pages"] or "cited" not in record:
        return None
    return _right(record) * bool({*record["cited"]} & {*record["pages"]})


def _within(count: int) -> Score:
    def score(record: Record) -> float | None:
        return float((record["rank"] or math.inf) <= count) if record["pages"] and "rank" in record else None

    return score


SCORES: Mapping[str, Score] = {
    "exact": _compared(exact_match),
    "f1": _compared(f1),
    "contained": _compared(found),
    "page": _page,
    "in 2": _within(2),
    "in 5": _within(5),
    "refused": _refused,
    "declined": _declined,
    "sure": lambda record: _right(record) if record.get("supported") is True and not _refused(record) else None,
}
