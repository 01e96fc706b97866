"""Books with the faults that every reader app forgives: read, and what cannot be read is named."""

import zipfile
from pathlib import Path

import pytest

from beacon_cli.documents import open_document
from tests.documents.reading import read, refusal, texts

XHTML = "application/xhtml+xml"
CHAPTERS = {"one": "<h1>The Harbour</h1><p>The lamp is lit.</p>", "two": "<h1>The Storm</h1><p>The ferry sank.</p>"}


def _book(path: Path, items: str = "", spine: str = "", extra: dict[str, bytes | str] | None = None) -> Path:
    """A book of two chapters; `items` and `spine` are added to its package, `extra` files replace or add to its own."""
    manifest = "".join(f'<item id="{name}" href="{name}.xhtml" media-type="{XHTML}"/>' for name in CHAPTERS)
    entries: dict[str, bytes | str] = {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b/b.opf"/></rootfiles></container>',
        "b/b.opf": f"<package><metadata><title>A Book</title></metadata><manifest>{manifest}{items}</manifest>"
        f'<spine>{spine or """<itemref idref="one"/><itemref idref="two"/>"""}</spine></package>',
        **{f"b/{name}.xhtml": _xhtml(body) for name, body in CHAPTERS.items()},
        **(extra or {}),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            if content:
                archive.writestr(name, content)
    return path


def _xhtml(body: str, head: str = "") -> str:
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><head>{head}</head><body>{body}</body></html>'


def _texts(path: Path) -> list[str]:
    pages, warnings = read(path)
    assert warnings == []
    return [page.text for page in pages]


DAMAGED = "has a damaged list of its chapters: what is not in it was read last"
BOTH = ["The Harbour\n\nThe lamp is lit.", "The Storm\n\nThe ferry sank."]


def _ncx(first: str) -> str:
    return (
        f'<ncx><navMap><navPoint><navLabel><text>{first}</text></navLabel><content src="one.xhtml"/></navPoint>'
        "<navPoint><navLabel><text>Part II</text></navLabel><navPoint><navLabel><text>Wind</text></navLabel>"
        '<content src="two.xhtml#top"/></navPoint></navPoint></navMap></ncx>'
    )


NCX = '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'


@pytest.mark.parametrize(("written", "title"), [("Ships & Men", "Ships & Men"), ("One&nbsp;A", "One A"), ("A<b", "A")])
def test_mistakes_in_the_table_of_contents(tmp_path: Path, written: str, title: str) -> None:
    pages, warnings = read(_book(tmp_path / "a.epub", NCX, extra={"b/toc.ncx": _ncx(written)}))
    assert [page.text for page in pages] == BOTH
    assert (pages[0].section, warnings) == (f"{title} › The Harbour", [])


def test_sections_are_the_titles_above_a_chapter(tmp_path: Path) -> None:
    path = _book(
        tmp_path / "a.epub", NCX, extra={"b/toc.ncx": _ncx("One"), "b/one.xhtml": _xhtml("<p>No heading.</p>")}
    )
    pages, _ = read(path)
    assert [page.section for page in pages] == ["One", "Part II › Wind › The Storm"]


def test_sections_come_from_the_contents_and_not_from_other_lists(tmp_path: Path) -> None:
    nav = '<nav epub:type="landmarks"><ol><li><a href="one.xhtml">Begin Reading</a></li></ol></nav>'
    nav += (
        '<nav epub:type="toc"><ol><li><a href="one.xhtml">Years</a><ol><li><a href="one.xhtml#s">Sub</a></li></ol></li>'
    )
    nav += '<li><span>Part II</span><ol><li><a href="two.xhtml">Storms</a></li></ol></li></ol></nav>'
    page = _xhtml(nav).replace("<html ", '<html xmlns:epub="http://www.idpf.org/2007/ops" ')
    item = f'<item id="nav" properties="nav" href="nav.xhtml" media-type="{XHTML}"/>'
    pages, _ = read(_book(tmp_path / "a.epub", item, extra={"b/nav.xhtml": page}))
    assert [page.section for page in pages] == ["Years › The Harbour", "Part II › Storms › The Storm"]


def test_names_in_another_letter_case_and_entities(tmp_path: Path) -> None:
    package = f'<package><title>Caf&eacute;</title><item id="a" href="ONE.xhtml" media-type="{XHTML}"/>'
    package += (
        f'<item id="b" href="t%77o.xhtml" media-type="{XHTML}"/><itemref idref="a"/><itemref idref="b"/></package>'
    )
    path = _book(tmp_path / "a.epub", extra={"b/b.opf": package})
    assert _texts(path) == BOTH
    with open_document(str(path)) as document:
        assert (document.source.kind, document.source.title) == ("epub", "Café")


def test_a_lost_container_and_a_lost_table_of_contents(tmp_path: Path) -> None:
    assert _texts(_book(tmp_path / "a.epub", NCX, extra={"META-INF/container.xml": ""})) == BOTH
    assert _texts(_book(tmp_path / "a.epub", extra={"META-INF/container.xml": "<a>"})) == BOTH


@pytest.mark.parametrize(
    "item",
    [
        '<item id="x" href="x.xml" media-type="application/xml" fallback="y"/>'
        f'<item id="y" href="two.xhtml" media-type="{XHTML}"/>',
        '<item id="x" href="two.xhtml" media-type="text/x-oeb1-document"/>',
        '<item id="x" href="two.xhtml" media-type="text/xml"/>',
        '<item id="x" href="two.xhtml"/>',
    ],
    ids=["fallback", "oeb", "wrong type", "no type"],
)
def test_chapters_of_odd_types_are_read(tmp_path: Path, item: str) -> None:
    spine = '<itemref idref="one"/><itemref idref="x"/>'
    assert _texts(_book(tmp_path / "a.epub", item, spine, {"b/x.xml": "<a/>"})) == BOTH


def test_two_chapters_under_one_id_are_both_read(tmp_path: Path) -> None:
    item = f'<item id="one" href="three.xhtml" media-type="{XHTML}"/>'
    pages, warnings = read(_book(tmp_path / "a.epub", item, extra={"b/three.xhtml": _xhtml("<p>Morning.</p>")}))
    assert ([page.text for page in pages], warnings) == ([*BOTH, "Morning."], [DAMAGED])


def test_a_chapter_that_only_the_contents_name_is_read_last(tmp_path: Path) -> None:
    path = _book(tmp_path / "a.epub", NCX, '<itemref idref="one"/>', {"b/toc.ncx": _ncx("One")})
    assert _texts(path) == BOTH


def test_without_an_order_all_texts_are_read(tmp_path: Path) -> None:
    pages, warnings = read(_book(tmp_path / "a.epub", spine="<a/>"))
    assert ([page.text for page in pages], warnings) == (BOTH, [DAMAGED])


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("<title/><script/>", CHAPTERS["two"]),
        ("<title/>", CHAPTERS["two"].replace("<p>", "<p><br>")),
        ("", CHAPTERS["two"].replace("The ferry", "<a id='x'/>The&nbsp;ferry").replace("</p>", "")),
    ],
    ids=["ends itself", "and is not well-formed", "entities"],
)
def test_xhtml_is_read_as_such(tmp_path: Path, head: str, body: str) -> None:
    assert _texts(_book(tmp_path / "a.epub", extra={"b/two.xhtml": _xhtml(body, head)})) == BOTH


@pytest.mark.parametrize(
    "references",
    ['<itemref idref="a"/><itemref x=y idref="b"/>', '<itemref idref="a"/><x y=z><itemref idref="b"/>', "<x y=z>"],
)
def test_a_damaged_list_of_chapters_is_told_and_all_are_read(tmp_path: Path, references: str) -> None:
    package = f'<package><item id="a" href="one.xhtml" media-type="{XHTML}"/>{references}'
    pages, warnings = read(_book(tmp_path / "a.epub", extra={"b/b.opf": package}))
    assert [page.text for page in pages] == BOTH
    assert warnings[0] == DAMAGED
    pages, warnings = read(_book(tmp_path / "a.epub", extra={"b/b.opf": "\0"}))
    assert ([page.text for page in pages], warnings) == (BOTH, [DAMAGED])


def test_a_missing_chapter_is_named_and_the_rest_read(tmp_path: Path) -> None:
    pages, warnings = read(_book(tmp_path / "a.epub", extra={"b/two.xhtml": ""}))
    assert [page.text for page in pages] == BOTH[:1]
    assert warnings == ["b/two.xhtml is missing, so this part is left out"]
    _, warnings = read(_book(tmp_path / "a.epub", spine='<itemref idref="one"/><itemref idref="lost"/>'))
    assert warnings == [DAMAGED, "lost is missing, so this part is left out"]


def test_a_damaged_chapter_is_named_and_the_rest_read(tmp_path: Path) -> None:
    path = _book(tmp_path / "a.epub", NCX, extra={"b/toc.ncx": _ncx("One"), "b/two.xhtml": "x" * 999 + "kept apart"})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("b/two.xhtml")
    start = info.header_offset + 30 + len(info.filename)
    data[start + info.compress_size // 2] ^= 0xFF
    path.write_bytes(data)
    pages, warnings = read(path)
    assert [page.text for page in pages] == BOTH[:1]
    assert warnings == ["“Part II › Wind” (b/two.xhtml) is damaged, so this part is left out"]


def test_a_picture_in_place_of_a_chapter_is_named(tmp_path: Path) -> None:
    item = '<item id="x" href="x.jpg" media-type="image/jpeg"/>'
    spine = '<itemref idref="one"/><itemref idref="x"/><itemref idref="two"/>'
    pages, warnings = read(_book(tmp_path / "a.epub", item, spine, {"b/x.jpg": b"\xff\xd8\xff"}))
    assert [page.text for page in pages] == BOTH
    assert warnings == ["b/x.jpg is no text, so this part is left out"]


def test_a_protected_book_is_refused(tmp_path: Path) -> None:
    key = '<encryption><EncryptedData><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'
    path = _book(tmp_path / "a.epub", extra={"META-INF/encryption.xml": f"{key}</EncryptedData></encryption>"})
    assert "without DRM" in refusal(path)


def test_bombs_are_refused(tmp_path: Path) -> None:
    packed = _book(tmp_path / "a.epub", extra={"b/two.xhtml": bytes(300_000_000)})
    assert packed.stat().st_size < 1_000_000
    assert "unpacks to more than 256 MiB" in refusal(packed)
    entities = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><html><body><p>It ends&b;.</p></body></html>'
    (_, text) = texts(_book(tmp_path / "b.epub", extra={"b/two.xhtml": entities}))
    assert text in ("It ends.", "It ends&b;.")


def test_a_book_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    assert "one.xhtml is missing" in refusal(_book(tmp_path / "a.epub", extra={"b/one.xhtml": "", "b/two.xhtml": ""}))
