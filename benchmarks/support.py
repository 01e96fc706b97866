"""Support: of the answers that are called supported, how many are right; of unanswerable questions, how many are not?

    python benchmarks/support.py DATA [--model MODEL] [--articles N] [--questions N]

DATA is a folder of question sets with SQuAD as JSON lines. Each article is one document; of its questions, as many are
asked that it answers as such that only look like it. An answer is right if its F1 with one of SQuAD's is 0.5 or more.
"""

import argparse
import io
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import zstandard

import beacon_cli as beacon
from beacon_cli.answering.support import support
from beacon_cli.evaluation.metrics import f1
from beacon_cli.settings import DEFAULTS

ARTICLES = ("Amazon_rainforest", "Construction", "Harvard_University", "Nikola_Tesla", "Warsaw")


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a compressed file of JSON lines."""
    with path.open("rb") as file:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file), encoding="utf-8")
        return [json.loads(line) for line in text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=DEFAULTS.model)
    parser.add_argument("--articles", type=int, default=len(ARTICLES))
    parser.add_argument("--questions", type=int, default=20, help="of each kind, of each article")
    parser.add_argument("--out", type=Path, help="write every answer there, as JSON lines")
    chosen = parser.parse_args()
    contexts = rows(chosen.data / "squad" / "contexts.jsonl.zst")
    asked = rows(chosen.data / "squad" / "qa.jsonl.zst")
    counts: Counter[tuple[str, str]] = Counter()
    lines = []
    with tempfile.TemporaryDirectory() as cache:
        model = beacon.load(chosen.model, cache_dir=cache)
        for article in ARTICLES[: chosen.articles]:
            text = "\n\n".join(row["context"] for row in contexts if row["doc_id"] == article)
            memory = model.read_text(text, name=article)
            for row in asked:
                if row["doc_id"] == article and row["answers"]:
                    own = support(memory.texts.index, row["question"], row["answers"][0])
                    counts["SQuAD's own", str(own.supported)] += 1
            for answerable in (True, False):
                of_kind = [row for row in asked if row["doc_id"] == article and bool(row["answers"]) == answerable]
                for row in random.Random(article).sample(of_kind, min(chosen.questions, len(of_kind))):
                    answer = memory.ask(row["question"], max_new_tokens=48)
                    right = answerable and f1(answer.text, row["answers"]) >= 0.5
                    kind = "right" if right else "wrong" if answerable else "unanswerable"
                    verdict = str(answer.supported) if answer.answered else "no answer"
                    counts[kind, verdict] += 1
                    lines.append({**row, "answer": answer.text, "kind": kind, "verdict": verdict})
    if chosen.out:
        chosen.out.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    verdicts = ("True", "partly", "False", "no answer")
    print("| answers | number | supported | partly | unsupported | no answer |\n|---|---|---|---|---|---|")
    for kind in ("SQuAD's own", "right", "wrong", "unanswerable"):
        found = [counts[kind, verdict] for verdict in verdicts]
        print(f"| {kind} | {sum(found)} | " + " | ".join(map(str, found)) + " |")
    supported = sum(counts[kind, "True"] for kind in ("right", "wrong"))
    print(
        f"of {supported} answers to answerable questions that are called supported, {counts['right', 'True']} are right"
    )


if __name__ == "__main__":
    main()
