import textwrap
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon_cli.documents.text.prose import clean, hard_wrap_width, tidy_page, unwrap

SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance, or nature's changing course, untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall Death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee."""

words = st.text("abcdefghij", min_size=1, max_size=9)
paragraphs = st.lists(words, min_size=1, max_size=60).map(" ".join)
any_text = st.text(st.one_of(st.characters(), st.sampled_from(" \n\t-\xad\r\f")))


def _without_spaces(text: str) -> str:
    return "".join(text.split())


@given(any_text)
def test_clean_text_can_be_encoded_and_shows_no_control_characters(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert not [char for char in cleaned if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t\f"]
    assert clean(cleaned) == cleaned


def test_clean_spells_out_ligatures_and_composes_accents() -> None:
    assert clean("of\ufb01ce\xa0cafe\u0301\r\nsoft\xadware\x07") == "office café\nsoftware"


def test_clean_takes_out_what_nobody_sees_and_what_turns_text_round() -> None:
    assert clean("ab\u202ecd\u2066e\u200bf\U000e0041g") == "abcdefg"
    assert clean("x\u00b2 m\u200cn \ufefb") == "x\u00b2 m\u200cn \u0644\u0627"


def test_lines_of_chinese_are_joined_without_a_space() -> None:
    line = "满纸荒唐言，一把辛酸泪。都云作者痴，谁解其中味？"
    assert tidy_page(f"{line}\n{line}\n{line}") == line * 3


@pytest.mark.parametrize("text", ["שלום עולם, את השמים ואת הארץ", "كان في قديم الزمان مدينة كبيرة"])
def test_right_to_left_text_reads_the_right_way_round(text: str) -> None:
    assert tidy_page(text) == text
    assert tidy_page(text[::-1]) == text


@given(any_text, st.integers(1, 80))
def test_unwrapping_changes_nothing_but_space_and_hyphens(text: str, width: int) -> None:
    cleaned = clean(text).replace("\f", "\n")
    for unwrapped in (unwrap(cleaned, width), tidy_page(cleaned)):
        assert _without_spaces(unwrapped).replace("-", "") == _without_spaces(cleaned).replace("-", "")


@given(st.lists(paragraphs, min_size=1, max_size=6), st.integers(20, 80))
def test_unwrap_undoes_a_wrap_exactly(given_paragraphs: list[str], width: int) -> None:
    wrapped = "\n\n".join(textwrap.fill(paragraph, width) for paragraph in given_paragraphs)
    assert unwrap(wrapped, width) == "\n\n".join(given_paragraphs)


def test_short_lines_stay() -> None:
    text = "Area. total: 103,000 sq km\nland: 100,250 sq km\nwater: 2,750 sq km"
    assert unwrap(text, 80) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a long conden-\nsation of things", "a long condensation of things"),
        ("a long-\nterm plan, long in its first term", "a long-term plan, long in its first term"),
        ("a well-\nknown face; a well-known name", "a well-known face; a well-known name"),
        ("the for-\nest and forest, for the est", "the forest and forest, for the est"),
        ("the Anglo-\nSaxon chronicle of the English", "the Anglo-Saxon chronicle of the English"),
        ("in the years 2024-\n2025 it was very warm", "in the years 2024-2025 it was very warm"),
        ("He said--\nand he meant it--that", "He said--and he meant it--that"),
        ("a dash -\nand a rest of the line", "a dash - and a rest of the line"),
    ],
)
def test_words_across_line_ends(text: str, expected: str) -> None:
    assert unwrap(text, len(text.split("\n")[0])) == expected


def test_lines_of_a_table_of_contents_stay() -> None:
    text = "Chapter 1 ......................... 5\nChapter 2 ......................... 9"
    assert unwrap(text, 20) == text


def test_hard_wrapped_prose_is_recognised() -> None:
    prose = "\n\n".join(textwrap.fill("some words that make a paragraph " * 20, 72) for _ in range(5))
    width = hard_wrap_width(prose)
    assert width is not None
    assert 66 <= width <= 72


@pytest.mark.parametrize(
    "text",
    [
        "",
        SONNET,
        "\n".join(f"{name}: a value" for name in "abcdefghijklmnopqrstuvwxyz"),
        "\n".join("one paragraph to a line, however long it may be " * 6 for _ in range(20)),
        "\n".join(f"    {'x' * (i * 7 % 60)} = {i}" for i in range(50)),
    ],
    ids=["empty", "verse", "list", "unwrapped", "code"],
)
def test_other_text_is_not_taken_for_wrapped(text: str) -> None:
    assert hard_wrap_width(text) is None
