"""Questions about documents, from JSON lines."""

import hashlib
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.condensing.text import page_texts
from beacon_cli.documents import TEXT_VERSION, open_document
from beacon_cli.documents.raw import open_raw
from beacon_cli.errors import EvaluationError
from beacon_cli.evaluation.metrics import exact_match, f1, found
from beacon_cli.evaluation.samples import EvalSample, QuestionTask


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
        EvaluationError: if a file cannot be read, naming the line.
        DocumentError: if a document cannot be read.
    """
    rows: list[_Row] = []
    for path in paths:
        read = list(_rows(path))
        if samples is not None and samples < len(read):
            read = random.Random(f"qa {seed} {path.stem}").sample(read, samples)
        rows += read
    # Questions about one document stand together, so that it is read once.
    order = {document: number for number, document in enumerate(dict.fromkeys((row.text, row.path) for row in rows))}
    rows.sort(key=lambda row: order[row.text, row.path])

    def generate() -> Iterator[EvalSample]:
        for (text, path), asked in itertools.groupby(rows, lambda row: (row.text, row.path)):
            with open_document(path or "text", text=text) as document:
                pages = list(page_texts(page.text for page in document.pages()))
            whole, ids = text or "".join(pages), [token for page in pages for token in tokenizer.encode(page)]
            for row in asked:
                group = {"set": row.set_name}
                yield EvalSample(row.key, group, whole, ids, row.question, row.answers, path=path)

    digests = {path.name: _sha256(str(path)) for path in paths}
    named = " ".join(_sha256(path) for path in dict.fromkeys(row.path for row in rows) if path is not None)
    documents = hashlib.sha256(named.encode()).hexdigest()
    settings = {"questions": digests, "documents_sha256": documents, "text_version": TEXT_VERSION}
    return QuestionTask(
        "qa", "set", {"exact": exact_match, "f1": f1, "found": found}, 48, len(rows), generate, settings
    )


def _sha256(path: str) -> str:
    raw = open_raw(path)
    with raw.file:
        return raw.sha256


def _rows(path: Path) -> Iterator[_Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({error.strerror}): give a file of JSON lines") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} cannot be read (it is no UTF-8): give a file of JSON lines") from error
    if not any(map(str.strip, lines)):
        raise EvaluationError(f"{path} holds no questions; write one JSON object a line: document, question, answers")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row(path, number, line)


def _row(path: Path, number: int, line: str) -> _Row:
    try:
        value: Any = json.loads(line)
    except ValueError:
        raise EvaluationError(f"{path}, line {number} is no JSON; write one object a line") from None
    row = value if isinstance(value, dict) else {}
    text, where, question = (row.get(name) for name in ("document", "path", "question"))
    answers = row.get("answers")
    named = _says(where) != _says(text)
    texts = isinstance(answers, list) and bool(answers) and all(isinstance(each, str) for each in answers)
    if not (named and texts and _says(question)):
        raise EvaluationError(
            f"{path}, line {number}: it needs a question, a list of answers that are texts, and either document "
            "(the text itself) or path (of a file, from the folder of this one)"
        )
    resolved = str(path.parent / where) if _says(where) else None
    return _Row(path.stem, f"{path.stem}-{number}", text, resolved, question, tuple(answers or ()))


def _says(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
