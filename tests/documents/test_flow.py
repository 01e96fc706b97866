import zipfile
from importlib.util import find_spec
from pathlib import Path

import docx
import pytest

from beacon_cli.documents import Page, open_document
from beacon_cli.documents.worker import readers
from beacon_cli.errors import DocumentError

PAGE = """<!doctype html><html><head><meta charset="iso-8859-1"><title>Fish &amp; Chips</title>
<style>p {}</style><script>steal()</script></head><body><h1>Intro</h1><p>A caf\xe9 with <b>bo</b>ld&nbsp;words.</p>
<div hidden>unseen</div><p style="display: none">unseen</p><!-- unseen --><h2>Prices</h2><ul><li>one<li>two</ul>
<table><tr><th>Dish<th>Price</tr><tr><td>Cod<td>7</tr></table><pre>a
  b</pre>first<br>second</body></html>"""
CONTAINER = '<container><rootfiles><rootfile full-path="text/book.opf"/></rootfiles></container>'
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>The Book</dc:title></metadata><manifest><item id="toc" href="toc.ncx" media-type="application/x-dtbncx+xml"/>
<item id="one" href="chapter%201.xhtml" media-type="application/xhtml+xml"/>
<item id="two" href="two.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="one"/><itemref idref="two"/></spine></package>"""
TOC = """<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">
<ncx><navMap><navPoint><navLabel><text>Chapter the First</text></navLabel><content src="chapter%201.xhtml#top"/>
</navPoint></navMap></ncx>"""


def _read(path: Path) -> list[Page]:
    with open_document(str(path)) as document:
        return list(document.pages())


def _refusal(path: Path) -> str:
    with pytest.raises(DocumentError) as caught:
        _read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _epub(path: Path, **changes: str | bytes) -> Path:
    entries: dict[str, str | bytes] = {
        "META-INF/container.xml": CONTAINER,
        "text/book.opf": PACKAGE,
        "text/toc.ncx": TOC,
        "text/chapter 1.xhtml": "<html><body><p>It begins.</p></body></html>",
        "text/two.xhtml": "<html><body><h1>Two</h1><p>It ends.</p></body></html>",
        **changes,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


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
    assert [page.text for page in _read(path)] == ["deep"]


def test_a_book_is_read_chapter_by_chapter(tmp_path: Path) -> None:
    path = _epub(tmp_path / "a.epub")
    with open_document(str(path)) as document:
        assert (document.source.kind, document.source.title) == ("epub", "The Book")
        assert list(document.pages()) == [
            Page(1, None, "It begins.", "Chapter the First"),
            Page(2, None, "Two\n\nIt ends.", "Two"),
        ]


def test_a_protected_book_is_refused(tmp_path: Path) -> None:
    key = '<encryption><EncryptedData><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'
    path = _epub(tmp_path / "a.epub", **{"META-INF/encryption.xml": f"{key}</EncryptedData></encryption>"})
    assert "without DRM" in _refusal(path)


def test_bombs_are_refused(tmp_path: Path) -> None:
    packed = _epub(tmp_path / "a.epub", **{"text/two.xhtml": bytes(300_000_000)})
    assert packed.stat().st_size < 1_000_000
    assert "unpacks to more than 256 MiB" in _refusal(packed)
    entities = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><html><body><p>It ends&b;.</p></body></html>'
    (_, page) = _read(_epub(tmp_path / "b.epub", **{"text/two.xhtml": entities}))
    assert page.text in ("It ends.", "It ends&b;.")


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
    assert [page.text.splitlines()[-1] for page in _read(path)] == ["Bob | 7", "On the second page."]


@pytest.mark.parametrize("suffix", ["epub", "docx"])
def test_what_is_no_archive_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"PK\x03\x04 and no more")
    assert f"cannot be read as {suffix}" in _refusal(path)


def test_a_page_without_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<html><script>x</script></html>")
    assert "holds no text" in _refusal(path)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "find_spec", lambda name: None if name == "selectolax" else find_spec(name))
    with (
        pytest.raises(DocumentError, match=r"needs selectolax: install beacon with its formats"),
        open(__file__, "rb") as file,
    ):
        readers.open_file("html", file, "a.html", None)
