"""Word files: what their pages show is read, wherever in the file it stands."""

import zipfile
from pathlib import Path

import pytest

from tests.documents.reading import read, refusal, texts
from tests.documents.word_samples import STRICT, paragraph, table, text, word


def _text(path: Path) -> str:
    return "\n\n".join(texts(path))


def test_notes_follow_the_paragraph_that_they_hang_on(tmp_path: Path) -> None:
    body = paragraph("A deposit is due", '<w:r><w:footnoteReference w:id="2"/></w:r>', " today.") + paragraph(
        "Then more."
    )
    body += table(("cell", paragraph("noted", '<w:r><w:endnoteReference w:id="5"/></w:r>')))
    notes = '<w:footnote w:type="separator" w:id="-1"><w:p/></w:footnote>'
    notes += f'<w:footnote w:id="2">{paragraph("<w:r><w:footnoteRef/></w:r>", " It is 3,150 euros.")}</w:footnote>'
    endnotes = f'<w:endnote w:id="5">{paragraph("At the end.")}</w:endnote>'
    assert _text(word(tmp_path / "a.docx", body, footnotes=notes, endnotes=endnotes)) == (
        "A deposit is due[1] today.\n\n[1] It is 3,150 euros.\n\nThen more.\n\ncell | noted[i]\n\n[i] At the end."
    )


def test_a_note_that_refers_to_itself_is_read_once(tmp_path: Path) -> None:
    mark = '<w:r><w:footnoteReference w:id="1"/></w:r>'
    notes = f'<w:footnote w:id="1">{paragraph("See", mark)}</w:footnote>'
    assert _text(word(tmp_path / "a.docx", paragraph("text", mark), footnotes=notes)) == "text[1]\n\n[1] See"


def test_content_controls_hold_paragraphs_tables_rows_and_words(tmp_path: Path) -> None:
    def controlled(inside: str) -> str:
        return f"<w:sdt><w:sdtPr/><w:sdtContent>{inside}</w:sdtContent></w:sdt>"

    row = f"<w:tr>{controlled('<w:tc>' + paragraph('Dredger') + '</w:tc>')}<w:tc>{paragraph('48,200')}</w:tc></w:tr>"
    body = controlled(paragraph("A cover")) + paragraph("of ", controlled(text("a thing")))
    body += controlled(f"<w:tbl>{controlled(row)}</w:tbl>")
    assert _text(word(tmp_path / "a.docx", body)) == "A cover\n\nof a thing\n\nDredger | 48,200"


def test_a_text_box_is_read_once_and_by_itself(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{paragraph('Valve 17 stays shut.')}{paragraph('Call first.')}</w:txbxContent>"
    drawn = f"<w:r><mc:AlternateContent><mc:Choice><w:drawing>{box}</w:drawing></mc:Choice>"
    drawn += f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    assert _text(word(tmp_path / "a.docx", paragraph("Locked at ", drawn, "night."))) == (
        "Locked at night.\n\nValve 17 stays shut.\n\nCall first."
    )


def test_special_characters(tmp_path: Path) -> None:
    run = "<w:r><w:t>1947</w:t><w:noBreakHyphen/><w:t>48</w:t><w:cr/><w:t>a</w:t><w:tab/><w:t>soft</w:t><w:softHyphen/>"
    run += '<w:t>ware 45</w:t><w:sym w:font="Symbol" w:char="F0B0"/><w:sym w:font="Wingdings" w:char="F0FC"/></w:r>'
    ruby = f"<w:rt>{text('toukyou')}</w:rt><w:rubyBase>{text('東京')}</w:rubyBase>"
    ruby = f"<w:r><w:ruby>{ruby}</w:ruby></w:r>"
    raised = text("6", '<w:vertAlign w:val="superscript"/>')
    assert _text(word(tmp_path / "a.docx", paragraph(run) + paragraph(ruby, " 10", raised))) == (
        "1947\u201148\na\tsoftware 45°✓\n\n東京(toukyou) 10^6"
    )


def test_what_is_hidden_deleted_or_moved_away_is_not_read(tmp_path: Path) -> None:
    hidden = '<w:style w:type="character" w:styleId="H"><w:rPr><w:vanish/></w:rPr></w:style>'
    hidden += '<w:style w:type="paragraph" w:styleId="P"><w:basedOn w:val="Q"/></w:style>'
    hidden += '<w:style w:type="paragraph" w:styleId="Q"><w:rPr><w:vanish/></w:rPr></w:style>'
    body = paragraph("Seen.", text("unseen", "<w:vanish/>"), text("unseen", '<w:rStyle w:val="H"/>'))
    body += paragraph("unseen", text("Shown.", '<w:vanish w:val="0"/>'), properties='<w:pStyle w:val="P"/>')
    body += paragraph(f"<w:moveFrom>{text('Moved.')}</w:moveFrom>") + paragraph(
        "The rent is ", f"<w:ins>{text('1,100')}</w:ins>"
    )
    body += f"<w:del>{paragraph('unseen')}</w:del>" + paragraph(f"<w:moveTo>{text('Moved.')}</w:moveTo>")
    assert _text(word(tmp_path / "a.docx", body, styles=hidden)) == "Seen.\n\nShown.\n\nThe rent is 1,100\n\nMoved."


def test_paragraphs_whose_end_was_deleted_are_one(tmp_path: Path) -> None:
    gone = '<w:rPr><w:del w:id="1"/></w:rPr>'
    body = (
        paragraph("The lamp", properties=gone) + paragraph(properties=gone) + paragraph(" is lit.") + paragraph("Then")
    )
    assert _text(word(tmp_path / "a.docx", body)) == "The lamp is lit.\n\nThen"
    body = paragraph("A", properties=gone) + table(("b", "c")) + paragraph("d", properties=gone)
    assert _text(word(tmp_path / "a.docx", body)) == "A\n\nb | c\n\nd"


def test_a_file_that_only_embeds_another_says_so(tmp_path: Path) -> None:
    path = word(tmp_path / "a.docx", "<w:altChunk/>")
    assert "holds no text (has an embedded document, which is not read)" in refusal(path)


def _numbered(number: int, level: int, words: str) -> str:
    return paragraph(words, properties=f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


def test_numbers_that_word_makes_are_read(tmp_path: Path) -> None:
    levels = "".join(
        f'<w:lvl w:ilvl="{level}"><w:start w:val="1"/><w:numFmt w:val="{form}"/><w:lvlText w:val="{shown}"/></w:lvl>'
        for level, (form, shown) in enumerate([("decimal", "%1."), ("decimal", "%1.%2"), ("lowerLetter", "(%3)")])
    )
    bullets = '<w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="\uf0b7"/></w:lvl>'
    lists = f'<w:abstractNum w:abstractNumId="7">{levels}</w:abstractNum>'
    lists += f'<w:abstractNum w:abstractNumId="8">{bullets}</w:abstractNum>'
    lists += (
        '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>'
    )
    lists += '<w:num w:numId="3"><w:abstractNumId w:val="7"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="4"/>'
    lists += "</w:lvlOverride></w:num>"
    styles = '<w:style w:type="paragraph" w:styleId="h"><w:name w:val="heading 1"/>'
    styles += '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
    body = paragraph("Terms", properties='<w:pStyle w:val="h"/>') + _numbered(1, 1, "rent") + _numbered(1, 1, "dogs")
    body += _numbered(1, 2, "small") + _numbered(2, 0, "point") + _numbered(1, 0, "more") + _numbered(3, 0, "anew")
    body += _numbered(0, 0, "plain")
    (page,), _ = read(word(tmp_path / "a.docx", body, numbering=lists, styles=styles))
    assert page.section == "1. Terms"
    assert page.text == "1. Terms\n\n1.1 rent\n1.2 dogs\n(a) small\n- point\n2. more\n4. anew\n\nplain"


def test_lists_may_stand_for_others_and_count_in_digits(tmp_path: Path) -> None:
    levels = '<w:lvl w:ilvl="0"><w:numFmt w:val="upperRoman"/><w:lvlText w:val="%1"/></w:lvl>'
    levels += '<w:lvl w:ilvl="1"><w:isLgl/><w:numFmt w:val="decimal"/><w:lvlText w:val="§ %1.%2"/></w:lvl>'
    lists = f'<w:abstractNum w:abstractNumId="0"><w:styleLink w:val="S"/>{levels}</w:abstractNum>'
    lists += '<w:abstractNum w:abstractNumId="1"><w:numStyleLink w:val="S"/></w:abstractNum>'
    lists += '<w:num w:numId="1"><w:abstractNumId w:val="1"/></w:num>'
    body = _numbered(1, 0, "one") + _numbered(1, 0, "two") + _numbered(1, 1, "law")
    assert _text(word(tmp_path / "a.docx", body, numbering=lists)) == "I one\nII two\n§ 2.1 law"


def test_damaged_parts_are_named(tmp_path: Path) -> None:
    (page,), warnings = read(word(tmp_path / "a.docx", paragraph("text"), footnotes="<w:footnote>"))
    assert (page.text, warnings) == ("text", ["has damaged footnotes, which are left out"])


def test_a_table_in_a_table_and_cells_that_span(tmp_path: Path) -> None:
    inner = table(("a", "1"), ("b", "2"))
    merged = "<w:tcPr><w:vMerge{}/></w:tcPr>"
    top, below = merged.format(' w:val="restart"') + paragraph("Town"), merged.format("") + "<w:p/>"
    body = table((top, "north"), (below, "south"), ("in", inner))
    assert _text(word(tmp_path / "a.docx", body)) == "Town | north\nTown | south\nin | a, 1; b, 2"


def test_formulas_are_read(tmp_path: Path) -> None:
    def run(words: str) -> str:
        return f"<m:r><m:t>{words}</m:t></m:r>"

    power = f"<m:sSup><m:e>{run('x')}</m:e><m:sup>{run('2')}</m:sup></m:sSup>"
    below = f"<m:rad><m:deg/><m:e>{run('a+b')}</m:e></m:rad>"
    formula = f"<m:oMath>{run('E=')}{power}<m:f><m:num>{run('1')}</m:num><m:den>{below}</m:den></m:f></m:oMath>"
    assert _text(word(tmp_path / "a.docx", paragraph("So ", formula, "."))) == "So E = x^2 1/(√(a + b))."


def test_strict_files_and_those_with_macros_are_read(tmp_path: Path) -> None:
    assert texts(word(tmp_path / "a.docx", paragraph("Strict."), STRICT)) == ["Strict."]
    assert texts(word(tmp_path / "a.docm", paragraph("With macros."))) == ["With macros."]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "has a password"),
        (b"{\\rtf1\\ansi text}", "is an RTF file"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"just words", "is called .docx but is none"),
    ],
)
def test_what_is_no_word_file_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(data)
    assert said in refusal(path)


def test_other_archives_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert "is no Word file" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w:document><w:body><w:p>cut")
    assert "word/document.xml is damaged" in refusal(path)


def test_embedded_documents_are_named(tmp_path: Path) -> None:
    (page,), warnings = read(word(tmp_path / "a.docx", paragraph("text") + "<w:altChunk/>"))
    assert (page.text, warnings) == ("text", ["has an embedded document, which is not read"])
