"""Write the questions that the pocket model is evaluated on, as `beacon eval qa` reads them.

    python -m recipes.pocket.questions --data DATA --out runs/pocket/questions

None of the documents was trained on: eight whole books with hand-made questions, forty country reports that are kept
out (four questions each, with answers of at most 100 characters), the stories of FairytaleQA's validation part, and
facts about invented names, half of them in wordings that were not trained on, hidden in texts of 500 to 6,000 tokens.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

import beacon_pocket
from recipes.pocket import corpora
from recipes.pocket.compose import Composer

# Questions about a document, and documents of each length and wording.
EACH = 4
INVENTED = (500, 2000, 6000)
DOCUMENTS = 12


def books(data: Path, out: Path) -> Iterator[dict[str, Any]]:
    """The books themselves are written beside the questions."""
    folder = data / "books"
    names = {book["doc_id"]: book["file"] for book in json.loads((folder / "index.json").read_text(encoding="utf-8"))}
    for name in names.values():
        (out / name).with_suffix("").write_bytes(lzma.decompress((folder / name).read_bytes()))
    for line in (folder / "qa.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        path = Path(names[row["doc_id"]]).stem
        yield {"path": path, "question": row["question"], "answers": row["answers"]}


def countries(data: Path, out: Path) -> Iterator[dict[str, Any]]:
    rng = random.Random(5)
    for country in corpora.countries(data, held_out=True):
        path = _written(out, country.title, country.text)
        short = [(question, answer) for question, answer in country.questions if len(answer) <= 100]
        for question, answer in rng.sample(short, EACH):
            yield {"path": path, "question": question, "answers": [answer]}


def fairytales(data: Path, out: Path) -> Iterator[dict[str, Any]]:
    folder = data / "fairytaleqa"
    stories = {row["doc_id"]: row["document"] for row in corpora.rows(folder / "stories.jsonl.zst")}
    for row in corpora.rows(folder / "qa_val.jsonl.zst"):
        path = _written(out, row["doc_id"], stories[row["doc_id"]])
        yield {"path": path, "question": row["question"], "answers": row["answers"]}


def invented(data: Path, out: Path, length: int) -> Iterator[dict[str, Any]]:
    tokenizer = Tokenizer.from_file(str(beacon_pocket.FOLDER / "tokenizer.json"))
    for wording in ("known", "held"):
        composer = Composer(data, tokenizer, 31_007 + length, held_out=True, wording=wording)
        for number in range(DOCUMENTS):
            blocks = composer.generator.blocks(EACH)
            path = _written(
                out, f"invented {wording} {length} {number}", composer.hide(blocks, composer.filler(length))
            )
            for fact in [fact for block in blocks for fact in block.facts][:EACH]:
                yield {"path": path, "question": fact.question, "answers": [fact.answer]}


def _written(out: Path, name: str, text: str) -> str:
    path = "-".join(re.findall(r"\w+", name.lower())) + ".txt"
    (out / path).write_text(text, encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sets = {
        "books": books(options.data, options.out),
        "countries": countries(options.data, options.out),
        "fairytales": fairytales(options.data, options.out),
        **{f"invented-{length}": invented(options.data, options.out, length) for length in INVENTED},
    }
    for name, rows in sets.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (options.out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{name}: {len(lines)} questions")


if __name__ == "__main__":
    main()
