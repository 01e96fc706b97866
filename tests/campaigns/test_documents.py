"""Documents of every kind, changed at random: read or refused in one line, in bounded time.

`BEACON_CAMPAIGN` says how many.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from beacon_cli.documents import open_document
from beacon_cli.errors import DocumentError
from tests.campaigns.mutations import of_bytes, of_zip
from tests.documents.pdf_samples import encrypted, pdf
from tests.documents.test_epub import _book
from tests.documents.word_samples import paragraph, table, word

COUNT = int(os.environ.get("BEACON_CAMPAIGN", "12"))
LONGEST = 30.0
PROSE = "The keeper — Edda Voss — lit the lamp.\r\n\r\n## Night\n\n* a\n* b\n\n| a | b |\n|---|---|\n| 1 | 2 |\n" * 9
HTML = f"<!doctype html><title>A</title><h1>One</h1><p>{PROSE}<table><tr><td>x<td>y</table><math><mi>x</mi></math>"


def _word(folder: Path) -> bytes:
    body = paragraph("One", "two") + table(("a", "b"), ("c", "d")) + paragraph('<w:footnoteReference w:id="2"/>')
    notes = f'<w:footnote w:id="2">{paragraph("A note")}</w:footnote>'
    return word(folder / "a.docx", body, footnotes=notes).read_bytes()


SAMPLES: dict[str, Callable[[Path], bytes]] = {
    ".txt": lambda folder: PROSE.encode(),
    ".TXT": lambda folder: PROSE.encode("utf-16"),
    ".md": lambda folder: PROSE.encode(),
    ".html": lambda folder: HTML.encode(),
    ".docx": _word,
    ".epub": lambda folder: _book(folder / "a.epub").read_bytes(),
    ".pdf": lambda folder: pdf(["One\nof them", "Two", None, b"BT /F1 12 Tf (x) Tj ET"]),
    ".PDF": lambda folder: encrypted(pdf(["One"]), "", "AES-256", "owner"),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_changed_documents(kind: str, tmp_path: Path) -> None:
    sample = SAMPLES[kind](tmp_path)
    slowest = 0.0
    for number in range(-(-COUNT // len(SAMPLES))):
        draw = random.Random(f"{kind} {number}")
        packed = kind in (".docx", ".epub") and number % 4
        path = tmp_path / f"{number}{kind}"
        path.write_bytes(of_zip(sample, draw) if packed else of_bytes(sample, draw))
        began, refusal = time.monotonic(), f"{path.name}: "
        try:
            with open_document(str(path)) as document:
                assert [page.number for page in document.pages()]
                assert all(len(warning.splitlines()) == 1 for warning in document.warnings)
        except DocumentError as error:
            refusal = str(error)
        assert len(refusal.splitlines()) == 1, number
        assert path.name in refusal
        slowest = max(slowest, time.monotonic() - began)
        assert slowest < LONGEST, number
        path.unlink()
    print(f"{kind}: the slowest took {slowest:.1f} s")
