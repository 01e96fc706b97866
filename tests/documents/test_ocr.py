"""Scanned pages are handed to tesseract: here to a program of that name which the tests write."""

import os
import time
from pathlib import Path

import pytest

from beacon_cli.documents import Limits, PageSelection, open_document
from beacon_cli.errors import DocumentError
from tests.cli.runner import assert_refused, run
from tests.documents.pdf_samples import pdf

OCR = PageSelection(PageSelection.all().ranges, ocr=True)
# A page whose only content is an image of one pixel, as large as the page.
SCAN = b"q 600 0 0 800 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI Q"


@pytest.fixture
def tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says how large a gray image it was given, and counts its runs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "tesseract"
    program.write_text(
        f'#!/bin/sh\necho run >> {tmp_path}/runs\n[ "$1 $2" = "stdin stdout" ] || exit 1\n'
        'read kind; read width height; cat > /dev/null\necho "Seen by OCR: $kind $width by $height."\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return program


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.pdf"
    path.write_bytes(pdf([SCAN, "A page with text.", SCAN]))
    return path


def test_only_pages_that_are_images_are_recognized(scan: Path, tesseract: Path) -> None:
    with open_document(str(scan), pages=OCR) as document:
        texts = [page.text for page in document.pages()]
    seen = "Seen by OCR: P5 2500 by 3334."
    assert texts == [seen, "A page with text.", seen]
    assert document.warnings == ["pages 1, 3: read by OCR, which makes mistakes"]
    assert document.selection.canonical == "1-3+ocr"
    assert PageSelection.parse("1-3+ocr") == document.selection
    assert (tesseract.parent.parent / "runs").read_text() == "run\nrun\n"
    with open_document(str(scan)) as document:
        assert [page.text for page in document.pages()] == ["", "A page with text.", ""]
        assert "--ocr" in document.warnings[0]


def test_what_was_recognized_is_another_cache_that_needs_no_ocr(
    scan: Path, tesseract: Path, scripted_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEACON_MODEL", str(scripted_model))
    scan.write_bytes(pdf([SCAN]))
    assert_refused(run("cache", "build", str(scan)), "looks scanned", "--ocr")
    assert run("cache", "build", str(scan), "--ocr").code == 0
    (entry,) = run("cache", "list", "--json").json
    assert (entry["selection"], entry["state"]) == ("1+ocr", "complete")
    assert run("cache", "verify", "--deep").code == 0
    result = run("ask", str(scan), "What was seen?", "--ocr", "--json")
    assert result.json["tokens_condensed"] == 0
    assert (tesseract.parent.parent / "runs").read_text() == "run\n"
    monkeypatch.setenv("PATH", str(scan.parent))
    assert_refused(run("ask", str(scan), "What?", "--ocr", "--refresh"), "--ocr needs tesseract", "apt install")
    text = scan.with_suffix(".txt")
    text.write_text("Words that need no OCR.")
    assert run("ask", str(text), "What?", "--ocr").code == 0


@pytest.mark.parametrize(("script", "says"), [("exit 3", "without text, only images"), ("sleep 60", "left out")])
def test_ocr_that_fails_or_hangs_leaves_the_page_out(scan: Path, tesseract: Path, script: str, says: str) -> None:
    tesseract.write_text(f"#!/bin/sh\necho $$ > {scan}.pid\n{script}\n")
    scan.write_bytes(pdf([SCAN, "A page with text."]))
    with open_document(str(scan), pages=OCR, limits=Limits(ocr_page_seconds=1.5)) as document:
        assert [page.text for page in document.pages()] == ["", "A page with text."]
    assert document.warnings[0].startswith("page 1: ")
    assert says in document.warnings[0]
    deadline = time.monotonic() + 5
    while Path(f"/proc/{Path(f'{scan}.pid').read_text().strip()}").exists():  # it went with its reader
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_scan_that_ocr_makes_nothing_of_is_refused(scan: Path, tesseract: Path) -> None:
    tesseract.write_text("#!/bin/sh\ncat > /dev/null\n")
    scan.write_bytes(pdf([SCAN]))
    with open_document(str(scan), pages=OCR) as document, pytest.raises(DocumentError, match="holds no text"):
        list(document.pages())
