from importlib.util import find_spec
from pathlib import Path

import docx
import pytest

from beacon_cli.documents import Page, open_document
from beacon_cli.documents.worker import readers
from beacon_cli.errors import DocumentError
from tests.documents.reading import refusal, texts

PAGE = """<!doctype html><html><head><meta charset="iso-8859-1"><title>Fish &amp; Chips</title>
<style>p {}</style><script>steal()</script></head><body><h1>Intro</h1><p>A caf\xe9 with <b>bo</b>ld&nbsp;words.</p>
<div hidden>unseen</div><p style="display: none">unseen</p><!-- unseen --><h2>Prices</h2><ul><li>one<li>two</ul>
<table><tr><th>Dish<th>Price</tr><tr><td>Cod<td>7</tr></table><pre>a
  b</pre>first<br>second</body></html>"""


def test_a_web_page_is_what_a_reader_sees_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_bytes(PAGE.encode("latin-1"))
    with open_document(str(path)) as document:
        assert (document.source.kind, document.source.title) == ("html", "Fish & Chips")
        assert list(document.pages()) == [
            Page(1, None, "Intro\n\nA café with bold words.", "Intro"),
            Page(
                2,
                None,
                "Prices\n\n- one\n- two\nDish | Price\nCod | 7\n\na\n  b\n\nfirst\nsecond",
                "Intro › Prices",
            ),
        ]


def test_deep_nesting_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.htm"
    path.write_text("<div>" * 20_000 + "deep")
    assert texts(path) == ["deep"]


def test_word_is_read_with_headings_and_tables(tmp_path: Path) -> None:
    document = docx.Document()
    document.core_properties.title = "A report"
    document.add_heading("Findings", 1)
    document.add_paragraph("The keeper is Edda.")
    document.add_heading("Details", 2)
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ("Name", "Age", "Bob", "7"), strict=True):
        cell.text = text
    path = tmp_path / "a.docx"
    document.save(str(path))
    with open_document(str(path)) as opened:
        assert (opened.source.kind, opened.source.title) == ("docx", "A report")
        assert list(opened.pages()) == [
            Page(1, None, "Findings\n\nThe keeper is Edda.", "Findings"),
            Page(2, None, "Details\n\nName | Age\nBob | 7", "Findings › Details"),
        ]
    document.add_page_break()
    document.add_paragraph("On the second page.")
    document.save(str(path))
    assert [text.splitlines()[-1] for text in texts(path)] == ["Bob | 7", "On the second page."]


@pytest.mark.parametrize("suffix", ["epub", "docx"])
def test_what_is_no_archive_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"PK\x03\x04 and no more")
    assert f"cannot be read as {suffix}" in refusal(path)


def test_a_page_without_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<html><script>x</script></html>")
    assert "holds no text" in refusal(path)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "find_spec", lambda name: None if name == "selectolax" else find_spec(name))
    with (
        pytest.raises(DocumentError, match=r"needs selectolax: install beacon with its formats"),
        open(__file__, "rb") as file,
    ):
        readers.open_file("html", file, "a.html", None)
