"""Memory alone: is more answered from the parts of it that a question is about than from all of it?

    python -m benchmarks.recall DATA runs/recall [--split dev|test] [--ratios 1 4 8] [--recall 0 4] [--documents N]

Documents are SQuAD's articles, the factbook's countries and whole fairy tales (the longest first) that neither
reader nor scorer was trained on: `dev` is what settings are chosen on, `test` what nothing was. Nothing is read again.
At ratio 1 all rows are kept: that is full attention; texts that do not fit are left out there. Answers go to
`answers.jsonl` of the second folder as they come, and a later run goes on there. Cells: exact match / F1 / a right
answer stands in what is said, in per cent.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import beacon_cli as beacon
from beacon_cli.errors import TooLongError
from beacon_cli.evaluation.metrics import exact_match, f1, found
from beacon_cli.evaluation.report import markdown
from recipes.smollm2.sources import Question, load, rows

Record = dict[str, Any]
ANSWERS = "answers.jsonl"


def documents(data: Path, split: str, count: int) -> Iterator[tuple[str, str, str, list[Question]]]:
    """Up to `count` documents of each set: its name, the document's, its text, and the questions that it answers."""
    passages = load(data, split)
    stories = {row["doc_id"]: row["document"] for row in rows(data / "fairytaleqa" / "stories.jsonl.zst")}
    for name, found_in in passages.items():
        asked: dict[str, list[Question]] = {}
        texts: dict[str, str] = {}
        for passage in found_in:
            group = passage.group
            asked.setdefault(group, []).extend(question for question in passage.questions if question.answers)
            texts[group] = stories[group] if name == "fairytaleqa" else f"{texts.get(group, '')}\n\n{passage.text}"
        for group in sorted(texts, key=lambda group: -len(texts[group]))[:count]:
            yield name, group, texts[group].strip(), asked[group]


def ask(options: argparse.Namespace) -> None:
    """Ask what was not asked yet."""
    options.out.mkdir(parents=True, exist_ok=True)
    done = {(each["document"], each["ratio"]) for each in kept(options.out)}
    model = beacon.load(threads=options.threads)
    for name, group, text, questions in documents(options.data, options.split, options.documents):
        chosen = random.Random(group).sample(questions, min(options.questions, len(questions)))
        for ratio in options.ratios:
            if (group, ratio) in done:
                continue
            try:
                memory = model.read_text(text, ratio=ratio, cache=False, whole=True)
            except TooLongError:
                continue
            records = [
                {"set": name, "document": group, "ratio": ratio, "tokens": memory.tokens, "recall": recall}
                | {"question": question.text, "answers": question.answers}
                | {"answer": memory.ask(question.text, passages=0, recall=recall, max_new_tokens=48).text}
                for question in chosen
                for recall in options.recall
            ]
            with (options.out / ANSWERS).open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def kept(folder: Path) -> list[Record]:
    """The answers so far."""
    path = folder / ANSWERS
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def cell(records: Sequence[Record]) -> str:
    """Exact match, F1 and contained, of these answers, if there are any."""
    if not records:
        return ""
    scores = ([metric(each["answer"], each["answers"]) for each in records] for metric in (exact_match, f1, found))
    return " / ".join(f"{100 * sum(each) / len(each):.0f}" for each in scores)


def table(records: Sequence[Record]) -> str:
    """A row for each ratio and recall, a column for each set."""
    sets = list(dict.fromkeys(each["set"] for each in records))
    ways = sorted({(each["ratio"], each["recall"]) for each in records})
    head = ["ratio", "recall", *sets, "all"]
    lines = []
    for ratio, recall in ways:
        mine = [each for each in records if (each["ratio"], each["recall"]) == (ratio, recall)]
        cells = [cell([each for each in mine if each["set"] == name]) for name in sets]
        lines.append([str(ratio), str(recall or "all of it"), *cells, f"{cell(mine)} ({len(mine)})"])
    return markdown(head, lines)


def main() -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--ratios", type=int, nargs="+", default=(1, 4, 8))
    parser.add_argument("--recall", type=int, nargs="+", default=(0, 4))
    parser.add_argument("--documents", type=int, default=5, help="of each set")
    parser.add_argument("--questions", type=int, default=8, help="of each document")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ask(options)
    print(table(kept(options.out)), end="")


if __name__ == "__main__":
    main()
