"""Corpora as the recipe reads them, made of one book: a few rows of each."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zstandard

BOOK = Path(__file__).parents[2] / "examples" / "the-time-machine.txt"


def write_corpora(root: Path) -> None:
    """Books and countries for training and (pg12, europe/ic) for evaluation, paragraphs, sections and stories."""
    text = BOOK.read_text(encoding="utf-8")
    parts = [text[start : start + 20_000] for start in range(0, 160_000, 20_000)]
    ids = ["pg12", *(f"book-{number}" for number in range(5))]
    _write(root / "prose/prose", ({"id": name, "text": part} for name, part in zip(ids, parts, strict=False)))

    places = {"europe/ic": "Iceland", "x/1": "Weena", "x/2": "Morlock", "x/3": "Eloi"}
    capital = "Capital. name: {0} City"
    _write(
        root / "factbook/countries",
        (
            {"doc_id": key, "title": name, "document": f"{capital.format(name)}\n\nPeople. {part[:3000]}"}
            for (key, name), part in zip(places.items(), parts, strict=False)
        ),
    )
    _write(
        root / "factbook/qa",
        (
            {"doc_id": key, "question": f"What is the capital of {name}?", "answers": [f"{name} City"]}
            for key, name in places.items()
        ),
    )

    paragraphs = [" ".join(each.split()) for each in re.split(r"\n\s*\n", text) if 200 < len(each) < 1200]
    asked = [
        {
            "context": each,
            "context_id": str(number),
            "question": f"What follows {each[:20]}?",
            "answers": [each[20:60]],
        }
        for number, each in enumerate(paragraphs)
    ]
    _write(root / "squad/contexts", asked[:20])
    _write(root / "squad/qa", ({**row, "answers": []} if row["context_id"] == "3" else row for row in asked[:20]))
    _write(root / "quoref/quoref", asked[20:80])
    _write(root / "adversarialqa/adversarialqa", asked[80:90])
    _write(root / "fairytaleqa/qa_train", asked[90:100])
    _write(root / "openstax/modules", ({"document": part, "summary": part[:300]} for part in parts[:3]))
    _write(root / "squality/stories", [{"doc_id": "1", "document": parts[6]}])
    _write(
        root / "squality/qa_train",
        [{"doc_id": "1", "question": "What is the plot of the story?", "answers": [parts[6][:900], parts[6][:700]]}],
    )


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.with_name(f"{path.name}.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
