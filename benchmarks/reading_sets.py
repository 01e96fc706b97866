"""Questions that nothing was chosen on, with their right answers and where these stand.

`single`, `among_2`, `among_5`, `unanswerable`, `factbook`, `fairytaleqa` are the recipe's, on short texts
(`recipes/smollm2/evaluation.py`). `books` are the data folder's questions about eight books. `natural` are ours, about
five PDFs and three books, as people would ask (`questions/natural.jsonl`); `natural_none` are those of them that the
text does not answer.
"""

import io
import json
import lzma
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import zstandard

from beacon_cli.documents import Page, open_document
from recipes.smollm2 import evaluation, sources

NATURAL = Path(__file__).parent / "questions" / "natural.jsonl"
LONG = ("books", "natural", "natural_none")
SETS = ("single", "among_2", "among_5", "unanswerable", "factbook", "fairytaleqa", *LONG)


@dataclass(frozen=True)
class Asked:
    """A question.

    Attributes:
        set: which it belongs to; `key` tells it apart there.
        document: a text, or the path of a file.
        answers: right ones; none if the document does not say.
        pages: on which the answer stands; none of a short text.
    """

    set: str
    key: str
    document: str | Path
    question: str
    answers: tuple[str, ...]
    pages: frozenset[int] = frozenset()


@cache
def pages_of(path: Path) -> tuple[Page, ...]:
    """The pages of a file, as the tool reads them."""
    with open_document(str(path)) as document:
        return tuple(document.pages())


def load(data: Path, unpacked: Path, names: Sequence[str], count: int) -> Iterator[Asked]:
    """The questions of some sets, up to `count` of each with short texts; documents are put into `unpacked`."""
    if short := [name for name in names if name not in LONG]:
        cases = evaluation.sets(sources.load(data, "test"), count)
        for name in short:
            for number, case in enumerate(cases[name]):
                yield Asked(name, str(number), case.document, case.question.text, case.question.answers)
    if "books" in names:
        files = {
            book["doc_id"]: book["file"] for book in json.loads((data / "books" / "index.json").read_text("utf-8"))
        }
        for row in _lines(data / "books" / "qa.jsonl"):
            path = _book(data, unpacked, files[row["doc_id"]].removesuffix(".xz"))
            pages = _holding(path, [row["evidence"]])
            yield Asked("books", row["id"], path, row["question"], tuple(row["answers"]), pages)
    for row in _lines(NATURAL):
        name = "natural" if row["answers"] else "natural_none"
        if name in names:
            path = (
                _pdf(data, unpacked, row["file"])
                if row["file"].endswith(".pdf")
                else _book(data, unpacked, row["file"])
            )
            pages = _holding(path, row["evidence"]) if "evidence" in row else frozenset(row.get("pages", ()))
            yield Asked(name, row["id"], path, row["question"], tuple(row["answers"]), pages)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text("utf-8").splitlines())


def _holding(path: Path, evidence: Sequence[str]) -> frozenset[int]:
    """Pages that hold one of some pieces of text, whatever the line breaks and cases."""
    wanted = [_flat(piece) for piece in evidence]
    return frozenset(page.number for page in pages_of(path) if any(piece in _flat(page.text) for piece in wanted))


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _book(data: Path, unpacked: Path, name: str) -> Path:
    path = unpacked / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.decompress((data / "books" / f"{name}.xz").read_bytes()))
    return path


def _pdf(data: Path, unpacked: Path, name: str) -> Path:
    path = unpacked / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = (data / "pdfs" / "pdfs.tar.zst").read_bytes()
        whole = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(packed).read()
        with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
            member = archive.extractfile(name)
            if member is None:
                raise FileNotFoundError(f"{name} is no file in {data / 'pdfs'}")
            path.write_bytes(member.read())
    return path
