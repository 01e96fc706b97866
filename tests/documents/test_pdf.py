import hashlib
import logging
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from beacon_cli.documents import Page, PageSelection, open_document
from beacon_cli.errors import DocumentError
from tests.documents.pdf_samples import assemble, encrypted, pdf
from tests.documents.reading import read, refusal, texts, write

BODY = "The first line\nand the second"


def _write(folder: Path, data: bytes, name: str = "a.pdf") -> str:
    return write(folder, data, name)


def test_the_source_describes_the_bytes(tmp_path: Path) -> None:
    data = pdf(["one", "two"], info=b"/Title(A  Book)")
    path = _write(tmp_path, data)
    with open_document(path) as document:
        source = document.source
    assert (source.name, source.path, source.kind, source.page_count) == ("a.pdf", path, "pdf", 2)
    assert (source.size, source.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert source.title == "A Book"


@pytest.mark.parametrize("catalog", [b"5", b"<</Type/Catalog/Pages 5>>", b"<</Type/Catalog/Pages[]>>", b"x"])
def test_a_broken_structure_is_told_of_in_words(tmp_path: Path, catalog: bytes) -> None:
    said = refusal(_write(tmp_path, assemble([catalog, b"5"])))
    assert "truncated or damaged (" in said
    assert "object has no attribute" not in said
    assert "b'" not in said


@pytest.mark.parametrize(
    "title", [b"", b"untitled", b"Microsoft Word - report.doc", b"thesis_final.tex", b"---", b"12"]
)
def test_titles_that_nobody_gave_are_none(tmp_path: Path, title: bytes) -> None:
    with open_document(_write(tmp_path, pdf(["one"], info=b"/Title(%s)" % title))) as document:
        assert document.source.title is None


def test_pages_come_in_order_with_their_numbers(tmp_path: Path) -> None:
    path = _write(tmp_path, pdf([f"page {n}" for n in range(1, 10)]))
    with open_document(path, pages=PageSelection.parse("7-,2")) as document:
        assert document.selection.canonical == "2,7-9"
        assert list(document.pages()) == [Page(n, None, f"page {n}") for n in (2, 7, 8, 9)]


def test_labels_are_told_where_they_differ_from_the_number(tmp_path: Path) -> None:
    catalog = b"/PageLabels<</Nums[0<</S/r>>2<</S/D/St 3>>]>>"
    with open_document(_write(tmp_path, pdf(["a", "b", "c", "d"], catalog=catalog))) as document:
        assert [page.label for page in document.pages()] == ["i", "ii", None, None]


def test_missing_pages_are_refused_with_the_page_count(tmp_path: Path) -> None:
    assert "has 1 page, and --pages 7-9" in refusal(_write(tmp_path, pdf(["one"])), "7-9")


def test_a_pdf_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    assert texts(_write(tmp_path, pdf(["text"]), "a.txt")) == ["text"]
    assert texts(_write(tmp_path, pdf(["text"]), "a.docx")) == ["text"]


def test_junk_before_the_header_is_let_pass(tmp_path: Path) -> None:
    assert texts(_write(tmp_path, b"HTTP/1.1 200 OK\n\n" + pdf(["text"]))) == ["text"]


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
def test_encrypted(tmp_path: Path, algorithm: str) -> None:
    path = _write(tmp_path, encrypted(pdf([BODY]), "söcret", algorithm, owner="owner"))
    assert texts(path, password="söcret") == texts(path, password="owner") == [BODY]
    assert "needs a password: give it with --password" in refusal(path)
    assert "does not open it" in refusal(path, password="wrong")


def test_a_password_that_is_not_needed_is_ignored(tmp_path: Path) -> None:
    open_to_all = encrypted(pdf([BODY]), "", "AES-256", owner="owner")
    assert texts(_write(tmp_path, open_to_all), password="any") == [BODY]
    assert texts(_write(tmp_path, pdf([BODY])), password="any") == [BODY]


def test_encryption_without_a_password_is_named(tmp_path: Path) -> None:
    data = pdf([BODY]).replace(b"/Info 4 0 R", b"/Info 4 0 R/Encrypt<</Filter/Adobe.PubSec/V 4>>")
    assert "feature that cannot be read" in refusal(_write(tmp_path, data))


def test_no_truncation_is_read_in_half(tmp_path: Path) -> None:
    data = pdf([f"page {n}" for n in range(5)])
    end = data.rindex(b"%%EOF")
    for length in range(len(b"%PDF-1.7"), end + len(b"%%EOF"), 37):
        assert "truncated or damaged" in refusal(_write(tmp_path, data[:length]))
    assert "truncated or damaged" in refusal(_write(tmp_path, data[:end]))


def test_padding_after_the_end_is_let_pass(tmp_path: Path) -> None:
    assert texts(_write(tmp_path, pdf(["text"]) + b"\n" + bytes(10_000))) == ["text"]


@pytest.mark.parametrize(
    "data",
    [
        pdf(["a", "b"], count=3),
        pdf([]),
        pdf(["a"]).replace(b"/Pages 2 0 R", b"/Pages 9 0 R"),
        pdf(["a"]).replace(b"/Root 1 0 R", b"/Root 9 0 R").replace(b"/Catalog", b"/Cabinet"),
        assemble([b"<</Type/Catalog/Pages 1 0 R/Kids[1 0 R]>>"]),
    ],
    ids=["pages missing", "no pages", "no page tree", "no catalog", "tree in a circle"],
)
def test_damage_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "truncated or damaged" in refusal(_write(tmp_path, data))


def test_a_wrong_offset_is_repaired(tmp_path: Path) -> None:
    data = pdf(["a", "b"])
    start = data.rindex(b"startxref")
    assert texts(_write(tmp_path, data[:start] + b"startxref\n7\n%%EOF")) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "seen"), [(b"<!DOCTYPE html><html>", "a web page"), (b"GIF89a...", "a GIF image"), (b"text", "is none")]
)
def test_what_is_called_a_pdf_but_is_none(tmp_path: Path, data: bytes, seen: str) -> None:
    assert seen in refusal(_write(tmp_path, data))


def test_a_scan_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = _write(tmp_path, pdf([None] * 3 + ["text"]))
    with pytest.raises(DocumentError, match="on pages 1-3: it looks scanned and needs OCR first"):
        open_document(path, pages=PageSelection.parse("1-3"))
    with pytest.raises(DocumentError, match="holds no text: it looks scanned"):
        open_document(_write(tmp_path, pdf([None])))


def test_fonts_without_text_are_refused_at_the_end(tmp_path: Path) -> None:
    with open_document(_write(tmp_path, pdf(["", " "]))) as document:
        pages = document.pages()
        assert [next(pages).text, next(pages).text] == ["", ""]
        with pytest.raises(DocumentError, match="looks scanned"):
            next(pages)


def test_pages_without_text_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    path = _write(tmp_path, pdf(["text", None, "", b"BT (unbalanced Tj ET", "more", None]))
    with open_document(path) as document:
        assert [page.text for page in document.pages()] == ["text", "", "", "", "more", ""]
        assert document.warnings == ["page 4: unreadable (damaged)"]  # nothing is said of blank pages


def test_a_pdf_of_unreadable_pages_is_refused(tmp_path: Path) -> None:
    assert "none of its pages can be read" in refusal(_write(tmp_path, pdf([b"BT (unbalanced Tj ET"])))


def test_lines_of_a_paragraph_are_joined_and_blocks_kept_apart(tmp_path: Path) -> None:
    lines = [
        "Running head",
        "",
        "A paragraph has lines that are about as long as the column is",
        "wide, and a word that does not fit goes on the next line, as hy-",
        "phenated ones do in part. Its last line is short.",
        "",
        "Area. total: 103,000 sq km",
        "land: 100,250 sq km",
    ]
    assert texts(_write(tmp_path, pdf(["\n".join(lines)]))) == [
        "Running head\n\nA paragraph has lines that are about as long as the column is wide, and a word that does "
        "not fit goes on the next line, as hyphenated ones do in part. Its last line is short.\n\n"
        "Area. total: 103,000 sq km\nland: 100,250 sq km"
    ]


def test_an_indented_line_starts_a_paragraph(tmp_path: Path) -> None:
    full = b"(A line of the book that is as long as any other line of it) Tj 14 TL T* "
    content = b"BT /F1 12 Tf 50 750 Td 14 TL " + full + b"20 0 Td " + full + b"-20 0 Td " + full + b"ET"
    assert len(texts(_write(tmp_path, pdf([content])))[0].split("\n\n")) == 2


def test_what_is_drawn_on_one_line_is_one_line(tmp_path: Path) -> None:
    content = b"BT /F1 12 Tf 14 TL 50 750 Td (Chapter) Tj T* ET BT /F1 12 Tf 300 750 Td (7) Tj ET"
    assert texts(_write(tmp_path, pdf([content]))) == ["Chapter 7"]


def test_pypdf_is_not_heard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    level = logging.getLogger("pypdf").level
    start = (data := pdf(["a"])).rindex(b"startxref")
    assert texts(_write(tmp_path, data[:start] + b"startxref\n7\n%%EOF")) == ["a"]
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("pypdf").level == level


def test_scanned_pages_are_named(tmp_path: Path) -> None:
    image = b"q 600 0 0 800 0 0 cm BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q"
    drawing = b"0 0 m 100 100 l S"
    path = _write(tmp_path, pdf(["text", image, image, drawing, "more", image]))
    _, (scanned, drawn) = read(path)
    assert scanned.startswith("pages 2-3, 6: without text, only images")
    assert "OCR" in scanned
    assert drawn == "page 4: without text, only drawings"


def test_bookmarks_are_sections(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf([f"page {n}" for n in range(7)]))))
    part = writer.add_outline_item(title="Part One", page_number=1)
    writer.add_outline_item(title="A\n chapter", page_number=1, parent=part)
    writer.add_outline_item(title="Another", page_number=3, parent=part)
    writer.add_outline_item(title="Aside", page_number=3, parent=part)
    writer.add_outline_item(title="Part Two", page_number=5)
    writer.write(tmp_path / "a.pdf")
    with open_document(str(tmp_path / "a.pdf")) as document:
        assert [page.section for page in document.pages()] == [
            None,
            "Part One",
            "Part One › A chapter",
            "Part One › Another",
            "Part One › Aside",
            "Part Two",
            "Part Two",
        ]


def test_bookmarks_that_name_a_page_or_a_file_are_none(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf([f"page {n}" for n in range(4)]))))
    whole = writer.add_outline_item(title="Report edit 4.pdf", page_number=0)
    writer.add_outline_item(title="Page 2", page_number=1, parent=whole)
    part = writer.add_outline_item(title="Pages of history", page_number=2, parent=whole)
    writer.add_outline_item(title="page iv", page_number=3, parent=part)
    writer.write(tmp_path / "a.pdf")
    pages, _ = read(tmp_path / "a.pdf")
    assert [page.section for page in pages] == [None, None, "Pages of history", "Pages of history"]


def test_attachments_are_named(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf(["text"]))))
    writer.add_attachment("figures.csv", b"1,2")
    writer.write(tmp_path / "a.pdf")
    assert read(tmp_path / "a.pdf")[1] == ["has attached files, which are not read: figures.csv"]


def test_what_is_written_in_a_form_is_read(tmp_path: Path) -> None:
    fields = [
        b"<</Subtype/Widget/FT/Tx/T(name)/TU(Full name)/V(Edda Voss)>>",
        b"<</Subtype/Widget/FT/Tx/T(pin)/Ff 8192/V(1234)>>",
        b"<</Subtype/Widget/FT/Btn/T(adult)/AS/Yes>>",
        b"<</Subtype/Widget/FT/Btn/T(member)/AS/Off>>",
        b"<</Subtype/Widget/T(town)/Parent<</FT/Ch/V(Morvane)>>>>",
        b"<</Subtype/Widget/FT/Tx/T(hidden)/F 2/V(unseen)>>",
        b"<</Subtype/FreeText/Contents(typed onto the page)>>",
        b"<</Subtype/Text/Contents(a comment)>>",
    ]
    data = pdf(["A form"]).replace(b"/MediaBox", b"/Annots[%s]/MediaBox" % b"".join(fields))
    start = data.rindex(b"startxref")  # the offsets have moved: pypdf finds the objects again
    assert texts(_write(tmp_path, data[:start] + b"startxref\n7\n%%EOF")) == [
        "A form\n\nFull name: Edda Voss\nadult: yes\ntown: Morvane\ntyped onto the page"
    ]


def _stroke(x: int, y: int, text: str) -> bytes:
    return b"BT /F1 10 Tf %d %d Td (%s) Tj ET " % (x, y, text.encode())


@pytest.mark.parametrize("end", [b"", b"T* "], ids=["one line", "lines of their own"])
def test_columns_drawn_row_by_row_are_read_one_after_the_other(tmp_path: Path, end: bytes) -> None:
    left = [f"a line of the left column, number {n}" for n in range(8)]
    right = [f"a line of the right column, number {n}" for n in range(8)]
    content = _stroke(50, 780, "A title over both columns of the page, and as wide as these two are together or so")
    for row in range(8):
        for x, line in ((50, left[row]), (310, right[row])):
            content += _stroke(x, 740 - 12 * row, line).replace(b"ET", end + b"ET")
    (text,) = texts(_write(tmp_path, pdf([content])))
    assert [block.splitlines() for block in text.split("\n\n")[1:]] == [left, right]


def _moved(x: float, y: float, text: str) -> bytes:
    return b"1 0 0 1 %g %g Tm (%s) Tj " % (x, y, text.encode())


@pytest.mark.parametrize("step", [0, 2, 7, 11])
def test_columns_may_be_drawn_in_one_text_object_and_out_of_step(tmp_path: Path, step: float) -> None:
    left = [f"a line of the left column, {n}" for n in range(8)]
    right = [f"a line of the right column, {n}" for n in range(8)]
    content = b"BT /F1 10 Tf "
    for row in range(8):
        content += _moved(50, 740 - 24 * row, left[row]) + _moved(310, 740 - step - 24 * row, right[row])
    (text,) = texts(_write(tmp_path, pdf([content + b"ET"])))
    assert [line for line in text.splitlines() if line] == left + right


def test_words_that_are_placed_one_by_one_are_no_columns(tmp_path: Path) -> None:
    content, lines = b"BT /F1 10 Tf ", []
    for row in range(30):
        words = [f"word{row}{n}" for n in range(8)]
        lines.append(" ".join(words))
        for n, word in enumerate(words):
            content += _moved(50 + 60 * n + row * 7 % 12 * (n % 2), 740 - 14 * row, word)
    (text,) = texts(_write(tmp_path, pdf([content + b"ET"])))
    assert text.split() == " ".join(lines).split()


def _with_collection(ordering: bytes, codes: str) -> bytes:
    """A page in a font of numbers, which nothing but the character collection gives a meaning."""
    content = b"BT /F1 14 Tf 72 700 Td <%s> Tj ET" % codes.encode()
    return assemble(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[5 0 R]/Count 1>>",
            b"<</Type/Font/Subtype/Type0/BaseFont/Ryumin/Encoding/Identity-H/DescendantFonts[4 0 R]>>",
            b"<</Type/Font/Subtype/CIDFontType0/BaseFont/Ryumin"
            b"/CIDSystemInfo<</Registry(Adobe)/Ordering(%s)/Supplement 2>>/DW 1000>>" % ordering,
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F1 3 0 R>>>>/Contents 6 0 R>>",
            b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content),
        ]
    )


def test_characters_of_adobes_collections_are_known(tmp_path: Path) -> None:
    (page,), (warning,) = read(_write(tmp_path, _with_collection(b"Japan1", "034b034d034f03510353")))
    assert page.text == "あいうえお"
    assert warning.startswith("page 1: in fonts that name no letters")


def test_pages_in_fonts_without_letters_are_left_out(tmp_path: Path) -> None:
    data = _with_collection(b"Identity", "034b034d034f03510353")
    assert "nothing tells which letters its fonts draw" in refusal(_write(tmp_path, data))


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    content = b"".join(
        _stroke(50, 740 - 12 * row, f"Item {row}") + _stroke(310, 740 - 12 * row, f"{row} km") for row in range(9)
    )
    assert texts(_write(tmp_path, pdf([content]))) == ["\n".join(f"Item {row} {row} km" for row in range(9))]


# Each of these was read with words joined or split; widths are Helvetica's and Courier's.
_WORDS = [
    # A cell that is drawn narrower than its font is, close to the next.
    b"BT /F1 8 Tf 60 Tz 50 700 Td (Five Finger Death Punch) Tj ET BT /F1 8 Tf 110 700 Td (11:55) Tj ET",
    b"BT /F1 8 Tf 60 Tz 1 0 0 1 50 700 Tm (Five Finger Death Punch) Tj 60 0 TD (11:55) Tj ET",
    b"q 60 Tz Q BT /F1 8 Tf 50 700 Td (Five Finger ) Tj 46.7 0 Td (Death Punch) Tj 60 0 Td (11:55) Tj ET",
    # A line whose spaces are made wider, with a word in two pieces.
    b"BT /F1 12 Tf 20 Tw 50 700 Td (Five Finger Dea) Tj 124.7 0 Td (th Punch 11:55) Tj ET",
    b"BT /F1 12 Tf 20 Tw 50 700 Td [(Five Finger Dea)] TJ 124.7 0 Td (th Punch 11:55) Tj ET",
    # A gap within a line, less than half of the font's space.
    b"BT /F2 12 Tf 50 700 Td [(Five) -230 (Finger) -230 (Death) -230 (Punch) -230 (11:5) 40 (5)] TJ ET",
]


@pytest.mark.parametrize("content", _WORDS)
def test_words_are_parted_where_readers_see_a_gap(tmp_path: Path, content: bytes) -> None:
    data = pdf([content.replace(b"F2", b"F1")])
    data = data.replace(b"Helvetica", b"Courier  ") if b"F2" in content else data
    assert texts(_write(tmp_path, data)) == ["Five Finger Death Punch 11:55"]


def test_words_are_parted_in_forms_too(tmp_path: Path) -> None:
    shown = b"BT /F1 8 Tf 60 Tz 50 700 Td (Five Finger Death Punch) Tj 60 0 Td (11:55) Tj ET"
    box = b"/BBox[0 0 600 800]/Resources<</Font<</F1 3 0 R>>>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[5 0 R]/Count 1>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        b"<</Type/XObject/Subtype/Form%s/Length %d>>\nstream\n%s\nendstream" % (box, len(shown), shown),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</XObject<</X 4 0 R>>>>/Contents 6 0 R>>",
        b"<</Length 5>>\nstream\n/X Do\nendstream",
    ]
    assert texts(_write(tmp_path, assemble(objects))) == ["Five Finger Death Punch 11:55"]


def _with_heads(page: int) -> bytes:
    body = b"".join(_stroke(50, 700 - 14 * line, f"Line {line} of page {page} has words.") for line in range(9))
    return _stroke(50, 780, "The Long Voyage Home") + body + _stroke(300, 30, str(page + 10))


def test_running_heads_and_page_numbers_are_left_out(tmp_path: Path) -> None:
    pages = texts(_write(tmp_path, pdf([_with_heads(page) for page in range(1, 31)])))
    assert [("The Long Voyage Home" in text) for text in pages] == [True] + [False] * 29
    for number, text in enumerate(pages, 1):
        assert text.endswith(f"Line 8 of page {number} has words.")
        assert f"Line 0 of page {number} has words." in text


def test_a_page_is_the_same_whichever_others_are_read(tmp_path: Path) -> None:
    path = _write(tmp_path, pdf([_with_heads(page) for page in range(1, 31)]))
    assert texts(path, "17-19") == texts(path)[16:19]


def test_pages_that_are_the_same_keep_their_text(tmp_path: Path) -> None:
    page = "\n\n".join(f"Paragraph {n} is on every page of this document." for n in range(3))
    assert texts(_write(tmp_path, pdf([page] * 5))) != [""] * 5
    assert texts(_write(tmp_path, pdf(["the same"] * 5))) == ["the same"] * 5


def test_nothing_that_steers_a_terminal_gets_through(tmp_path: Path) -> None:
    content = b"BT /F1 12 Tf 50 750 Td (a\\033[31mred\\007 \\233x) Tj ET"
    (text,) = texts(_write(tmp_path, pdf([content])))
    assert text.isprintable()


def _without_table(data: bytes) -> bytes:
    return data[: data.rindex(b"xref\n0 ")] + data[data.rindex(b"trailer") :]


TABLES: dict[str, Callable[[bytes], bytes]] = {
    "missing": _without_table,
    "missing with its trailer": lambda data: data[: data.rindex(b"xref\n0 ")] + data[data.rindex(b"startxref") :],
    "missing with all that says where it is": lambda data: data[: data.rindex(b"xref\n0 ")] + b"%%EOF\n",
    "of another name": lambda data: data.replace(b"xref\n0 ", b"xrxf\n0 "),
    "cut off": lambda data: data[: data.rindex(b"00000 n") - 70] + data[data.rindex(b"trailer") :],
    "of zeros": lambda data: re.sub(rb"\d{10} 00000 n", b"0000000000 00000 n", data),
    "shifted": lambda data: re.sub(rb"(\d{10}) 00000 n", lambda found: b"%010d 00000 n" % (int(found[1]) + 3), data),
    "elsewhere": lambda data: re.sub(rb"startxref\n\d+", b"startxref\n123456", data),
    "after junk": lambda data: b"HTTP/1.1 200 OK\r\n\r\n" + data,
    "with a trailer of garbage": lambda data: data[: data.rindex(b"trailer")] + b"trailer\n<< ]]\nstartxref\n9\n%%EOF",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_table_of_objects_is_made_anew(tmp_path: Path, table: str) -> None:
    data = TABLES[table](pdf([BODY, "Two", "Three"]))
    assert data != pdf([BODY, "Two", "Three"])
    assert texts(_write(tmp_path, data)) == [BODY, "Two", "Three"]


def test_a_table_made_anew_is_told_of_and_loses_no_page_in_silence(tmp_path: Path) -> None:
    whole = pdf([BODY, "Two", "Three"])
    _, warnings = read(_write(tmp_path, TABLES["missing with its trailer"](whole)))
    assert warnings == ["its table of objects is damaged and was made anew: something may be missing"]
    lost = TABLES["missing with its trailer"](whole.replace(b"\n9 0 obj", b"\n9 0 abj"))
    assert "truncated or damaged" in refusal(_write(tmp_path, lost))
    hidden = encrypted(whole, "secret", "AES-256")
    broken = hidden.replace(b"startxref\n", b"startxref\n9").replace(b"xref\n0 ", b"xrxf\n0 ")
    assert texts(_write(tmp_path, broken), password="secret") == [BODY, "Two", "Three"]
    assert "password" in refusal(_write(tmp_path, broken))
