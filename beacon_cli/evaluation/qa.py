"""Questions about documents, from JSON lines."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon_cli.condensing.streams import PAGE_END
from beacon_cli.documents import open_document
from beacon_cli.documents.slicing import slices
from beacon_cli.errors import SettingsError
from beacon_cli.evaluation.metrics import exact_match, f1
from beacon_cli.evaluation.samples import QuestionTask, Sample
from beacon_cli.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class _Row:
    """One line. `text` is the document itself, `path` where it is: one of them is there."""

    set_name: str
    key: str
    text: str | None
    path: str | None
    question: str
    answers: tuple[str, ...]


def qa(tokenizer: Tokenizer, paths: Sequence[Path], samples: int | None, seed: int) -> QuestionTask:
    """All questions, or a random choice of `samples` of each file.

    Raises:
        SettingsError: if a file cannot be read, naming the line.
        DocumentError: if a document cannot be read.
    """
    rows: list[_Row] = []
    for path in paths:
        found = list(_rows(path))
        if samples is not None and samples < len(found):
            found = random.Random(f"qa {seed} {path.stem}").sample(found, samples)
        rows += found
    # Questions about one document stand together, so that it is read once.
    order = {document: number for number, document in enumerate(dict.fromkeys((row.text, row.path) for row in rows))}
    rows.sort(key=lambda row: order[row.text, row.path])

    def generate() -> Iterator[Sample]:
        document, pages, ids = None, list[str](), list[int]()
        for row in rows:
            if document != (row.text, row.path):
                document, pages = (row.text, row.path), _pages(row)
                ids = [token for page in pages for token in tokenizer.encode(page + PAGE_END)]
            yield Sample(row.key, {"set": row.set_name}, ids, pages, row.question, row.answers)

    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return QuestionTask("qa", "set", {"exact": exact_match, "f1": f1}, 48, len(rows), generate, {"questions": digests})


def _pages(row: _Row) -> list[str]:
    if row.path is None:
        return [page.strip("\n") for page in slices(row.text or "")]
    with open_document(row.path) as document:
        return [page.text for page in document.pages()]


def _rows(path: Path) -> Iterator[_Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}): give a file of JSON lines") from None
    if not any(map(str.strip, lines)):
        raise SettingsError(f"{path} holds no questions; write one JSON object a line: document, question, answers")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row(path, number, line)


def _row(path: Path, number: int, line: str) -> _Row:
    try:
        value: Any = json.loads(line)
    except ValueError:
        raise SettingsError(f"{path}, line {number} is no JSON; write one object a line") from None
    row = value if isinstance(value, dict) else {}
    text, where, question = (row.get(name) for name in ("document", "path", "question"))
    answers = row.get("answers")
    named = isinstance(where, str) != isinstance(text, str)
    texts = isinstance(answers, list) and bool(answers) and all(isinstance(each, str) for each in answers)
    if not (named and texts and isinstance(question, str)):
        raise SettingsError(
            f"{path}, line {number}: it needs a question, a list of answers that are texts, and either document "
            "(the text itself) or path (of a file, from the folder of this one)"
        )
    resolved = None if where is None else str(path.parent / where)
    return _Row(path.stem, f"{path.stem}-{number}", text, resolved, question, tuple(answers or ()))
