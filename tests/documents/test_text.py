import hashlib
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beacon_cli.documents import open_document
from beacon_cli.documents.text.slicing import PAGE_CHARS, slices
from tests.documents.reading import read, refusal, texts, write


def _write(folder: Path, content: str | bytes, name: str = "a.txt") -> str:
    return write(folder, content, name)


def test_the_source_describes_the_bytes(tmp_path: Path) -> None:
    data = "\ufeff# A *title* #\n\ntext".encode()
    path = _write(tmp_path, data, "notes.MD")
    with open_document(path) as document:
        source = document.source
    assert (source.name, source.path, source.kind, source.page_count) == ("notes.MD", path, "markdown", 1)
    assert (source.size, source.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert source.title == "A *title*"


def test_plain_text_has_no_title(tmp_path: Path) -> None:
    with open_document(_write(tmp_path, "# not a heading")) as document:
        assert document.source.title is None


def test_form_feeds_separate_pages(tmp_path: Path) -> None:
    path = _write(tmp_path, "one\n\f\ftwo\n\n\nmore\n\f")
    assert texts(path) == ["one", "", "two\n\n\nmore"]
    assert texts(path, "2-3") == ["", "two\n\n\nmore"]


def test_pages_without_text_cannot_be_all_that_is_read(tmp_path: Path) -> None:
    assert "holds no text on pages 2" in refusal(_write(tmp_path, "one\f \ftwo"), "2")


def test_missing_pages_are_refused_with_the_page_count(tmp_path: Path) -> None:
    assert "has 2 pages" in refusal(_write(tmp_path, "one\ftwo"), "3-")


def test_pages_end_with_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"{number} " + "word " * 60 + "end." for number in range(40)]
    pages = texts(_write(tmp_path, "\n\n".join(paragraphs)))
    assert "\n\n".join(pages).split("\n\n") == paragraphs
    assert all(PAGE_CHARS / 2 <= len(page) <= PAGE_CHARS for page in pages[:-1])


@settings(deadline=None)
@given(st.lists(st.sampled_from(["word", "a. ", "\n", "\n\n", " ", "x" * 3000]), max_size=3000).map("".join))
def test_cutting_loses_nothing(text: str) -> None:
    parts = list(slices(text))
    assert "".join(parts) == text
    assert all(PAGE_CHARS / 2 < len(part) <= PAGE_CHARS for part in parts[:-1])


def test_wrapped_text_is_unwrapped_and_markdown_is_not(tmp_path: Path) -> None:
    paragraph = "A paragraph of a book with some more words in it than go on a line. " * 8
    wrapped = textwrap.fill(paragraph, 70)
    assert texts(_write(tmp_path, f"{wrapped}\f{wrapped}")) == [paragraph.strip()] * 2
    assert texts(_write(tmp_path, wrapped.replace("\n", "\r\n"), "a.md")) == [wrapped]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = "Ünïcödé – “quoted” text"
    assert texts(_write(tmp_path, text.encode(encoding))) == [text]


RUSSIAN = "Мороз и солнце; день чудесный! Ещё ты дремлешь, друг прелестный - пора, красавица, проснись."
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "utf-16-le"),
        (RUSSIAN, "utf-16-be"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        ("满纸荒唐言，一把辛酸泪。都云作者痴，谁解其中味？此开卷第一回也。", "gb18030"),
        ("滿紙荒唐言，一把辛酸淚。都云作者癡，誰解其中味？此開卷第一回也。", "big5"),
        ("나라의 말이 중국과 달라 문자와 서로 통하지 아니하므로 어리석은 백성이", "euc_kr"),
        ("Zażółć gęślą jaźń. Litwo! Ojczyzno moja! ty jesteś jak zdrowie", "cp1250"),
        ("Zażółć gęślą jaźń. Litwo! Ojczyzno moja! ty jesteś jak zdrowie", "iso8859_2"),
        ("Longtemps, je me suis couché de bonne heure. « Je m’endors. »", "cp1252"),
    ],
)
def test_encodings_are_guessed_and_the_guess_is_told(tmp_path: Path, text: str, encoding: str) -> None:
    (page,), (warning,) = read(_write(tmp_path, text.encode(encoding)))
    assert page.text == text
    assert "which is a guess" in warning


def test_valid_utf8_is_no_guess(tmp_path: Path) -> None:
    for encoding in ("utf-32", "utf-8"):
        (page,), warnings = read(_write(tmp_path, RUSSIAN.encode(encoding)))
        assert (page.text, warnings) == (RUSSIAN, [])


def test_markdown_headings_are_sections(tmp_path: Path) -> None:
    text = "intro\f# One\ntext\n## Two\fmore\f### Three\f# Four #\f"
    with open_document(_write(tmp_path, text, "a.md")) as document:
        assert [page.section for page in document.pages()] == [
            None, "One", "One › Two", "One › Two › Three", "Four",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (b"PK\x03\x04\x14\0\0\0", "zip archive"),
        (b"\x7fELF\x02\x01\x01\0", "an executable"),
        (b"abc\0def", "(byte 3)"),
        (b"caf\xe9 \x01", "(byte 3)"),
        (b"\xff\xfeA\0B", "(byte 4)"),
    ],
)
def test_binary_files_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal(_write(tmp_path, data))


LINES = "The café costs 4 €.\n".encode() * 12


@pytest.mark.parametrize(
    ("data", "ending", "said"),
    [
        (
            LINES + b"The na\xefve keeper\x92s lamp.",
            "The naïve keeper’s lamp.",
            "2 places that cannot be read as UTF-8",
        ),
        (LINES + b"\xe2\x82", "\ufffd", "1 place that cannot be read as UTF-8 (the first at byte 276)"),
        (LINES + b"a\0b\0", "ab", "1 zero byte "),
        (b"\xff\xfe" + ("word " * 99).encode("utf-16-le") + b"x", "word \ufffd", "cannot be read as utf-16"),
    ],
    ids=["mixed", "cut off", "zeros", "odd"],
)
def test_a_few_bad_bytes_are_told_and_the_rest_read(tmp_path: Path, data: bytes, ending: str, said: str) -> None:
    pages, (warning,) = read(_write(tmp_path, data))
    assert pages[-1].text.endswith(ending)
    assert said in warning


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_utf32_is_told_by_its_zeros(tmp_path: Path, encoding: str) -> None:
    (page,), (warning,) = read(_write(tmp_path, RUSSIAN.encode(encoding)))
    assert (page.text, encoding in warning) == (RUSSIAN, True)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("\x1b[31mRed\x1b[0m text\x1b(B", "Red text"),
        ("\x1b]0;a title\x07shown\x1b]8;;http://x\x1b\\link", "shownlink"),
        ("\x9b1mbold\x9bm", "bold"),
        ("N\bNA\bAM\bM\bME _\bu_\bn x\b_", "NAME un x"),
        ("padded" + "\0" * 99, "padded"),
    ],
    ids=["colours", "titles", "eight bits", "struck over", "padding"],
)
def test_what_steers_a_terminal_goes_whole(tmp_path: Path, written: str, text: str) -> None:
    assert texts(_write(tmp_path, written)) == [text]


def test_what_typewriters_word_and_dos_leave_is_no_binary(tmp_path: Path) -> None:
    data = "\x1b[1mUn caf\xe9\x1b[0m noir\vs'il vous pla\xeet, un\b_ seul.\r\n\x1a".encode("latin-1")
    assert texts(_write(tmp_path, data)) == ["Un caf\xe9 noir\ns'il vous pla\xeet, un seul."]


def test_headings_are_none_in_code(tmp_path: Path) -> None:
    text = "One\n===\n\n```\n# a comment\n```\n\n    # code\n\f## Two\n"
    with open_document(_write(tmp_path, text, "a.md")) as document:
        assert document.source.title == "One"
        assert [page.section for page in document.pages()] == ["One", "One › Two"]


def test_white_space_is_not_text(tmp_path: Path) -> None:
    assert "holds no text" in refusal(_write(tmp_path, " \n\t\ufeff\xa0\f\n"))
