"""Support: of the answers that are called supported, how many are right; of unanswerable questions, how many are not?

    python -m benchmarks.support DATA runs/support [--model MODEL] [--articles N] [--questions N]

DATA is a folder of question sets with SQuAD as JSON lines. Each article is one document, none of them one that the
default model was trained on; of its questions, as many are asked that it answers as such that only look like it.
Answers go to `answers.jsonl` of the second folder as they come, and a later run goes on there. One is right if its F1
with one of SQuAD's is 0.5 or more.
"""

import argparse
import io
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

import beacon_cli as beacon
from beacon_cli.evaluation.metrics import f1
from beacon_cli.evaluation.report import markdown
from beacon_cli.settings import DEFAULTS

ARTICLES = ("Amazon_rainforest", "Construction", "Harvard_University", "Warsaw", "Nikola_Tesla")
VERDICTS = ("True", "partly", "False", "no answer")

Record = dict[str, Any]


def rows(path: Path) -> list[Record]:
    """The objects of a compressed file of JSON lines."""
    with path.open("rb") as file:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file), encoding="utf-8")
        return [json.loads(line) for line in text]


def asked(data: Path, articles: Sequence[str], count: int) -> Iterator[Record]:
    """Up to `count` questions of each kind about every article, always the same ones."""
    every = rows(data / "squad" / "qa.jsonl.zst")
    for article in articles:
        for answerable in (True, False):
            of_kind = [row for row in every if row["doc_id"] == article and bool(row["answers"]) == answerable]
            yield from random.Random(article).sample(of_kind, min(count, len(of_kind)))


def answered(memory: beacon.Memory, row: Record) -> Record:
    """A question with its answer, and what is said of that."""
    answer = memory.ask(row["question"], max_new_tokens=48)
    verdict = str(answer.supported) if answer.answered else "no answer"
    return row | {"answer": answer.text, "verdict": verdict, "seconds": answer.seconds["answer"]}


def kind(record: Record) -> str:
    """Whether an answer is right, wrong, or to a question without one."""
    if not record["answers"]:
        return "unanswerable"
    return "right" if f1(record["answer"], record["answers"]) >= 0.5 else "wrong"


def table(records: Sequence[Record]) -> str:
    """How many answers of each kind get which verdict."""
    counts = Counter((kind(record), record["verdict"]) for record in records)
    lines = []
    for name in ("right", "wrong", "unanswerable"):
        found = [counts[name, verdict] for verdict in VERDICTS]
        lines.append([name, str(sum(found)), *map(str, found)])
    return markdown(["answers", "number", "supported", "partly", "unsupported", "no answer"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", default=DEFAULTS.model)
    parser.add_argument("--articles", type=int, default=len(ARTICLES))
    parser.add_argument("--questions", type=int, default=20, help="of each kind, of each article")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    chosen.run.mkdir(parents=True, exist_ok=True)
    path, articles = chosen.run / "answers.jsonl", ARTICLES[: chosen.articles]
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    done = {record["id"] for record in records}
    left = [row for row in asked(chosen.data, articles, chosen.questions) if row["id"] not in done]
    texts = {article: list[str]() for article in articles}
    for row in rows(chosen.data / "squad" / "contexts.jsonl.zst"):
        if row["doc_id"] in texts:
            texts[row["doc_id"]].append(row["context"])
    model = beacon.load(chosen.model, threads=chosen.threads)
    for article in articles:
        of_article = [row for row in left if row["doc_id"] == article]
        if of_article:
            memory = model.read_text("\n\n".join(texts[article]), name=article)
            for row in of_article:
                records.append(answered(memory, row))
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(records[-1]) + "\n")
    print(table(records), end="")


if __name__ == "__main__":
    main()
