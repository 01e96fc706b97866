import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon_cli.documents import PageSelection
from beacon_cli.errors import SettingsError

numbers = st.integers(1, 60)
parts = st.one_of(
    numbers.map(str),
    st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    numbers.map(lambda first: f"{first}-"),
)
texts = st.lists(parts, min_size=1, max_size=6).map(",".join)


def _meaning(text: str) -> set[int]:
    selected: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        selected.update(range(int(first), int(last or 80) + 1 if dash else int(first) + 1))
    return selected


@given(texts)
def test_a_selection_contains_what_its_parts_name(text: str) -> None:
    selection = PageSelection.parse(text)
    assert set(selection.clipped(80).numbers()) == _meaning(text)


@given(texts, texts)
def test_selections_are_equal_exactly_if_they_are_written_the_same(one: str, other: str) -> None:
    left, right = PageSelection.parse(one), PageSelection.parse(other)
    same_pages = list(left.clipped(99).numbers()) == list(right.clipped(99).numbers())
    assert (left.canonical == right.canonical) == (left == right) == same_pages


@given(texts)
def test_the_canonical_form_reads_back(text: str) -> None:
    selection = PageSelection.parse(text)
    assert PageSelection.parse(selection.canonical) == selection


@given(st.sets(numbers, min_size=1))
def test_of_selects_exactly_these(chosen: set[int]) -> None:
    assert list(PageSelection.of(chosen).numbers()) == sorted(chosen)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("1-3,2-5", "1-5"), ("4-5,1-3", "1-5"), (" 7 , 9 - 12 ", "7,9-12"), ("60-,50-70", "50-"), ("1-", "1-")],
)
def test_canonical(text: str, canonical: str) -> None:
    assert PageSelection.parse(text).canonical == canonical


def test_all_pages_of_a_document_have_one_name() -> None:
    assert PageSelection.all().clipped(40) == PageSelection.parse("1-99").clipped(40) == PageSelection.parse("1-40")


@pytest.mark.parametrize(
    "text", ["", ",", "1,", "x", "1-2-3", "-5", "0", "0-3", "5-3", "1;2", "1.5", "٣", "1\n-x", "9" * 400]
)
def test_malformed_selections_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        PageSelection.parse(text)
    assert "--pages" in str(caught.value)
    assert "\n" not in str(caught.value)
