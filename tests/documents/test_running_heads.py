import pytest

from beacon_cli.documents.pdf.running_heads import find, sample, without


def _pages(*lines: str, count: int = 10) -> dict[int, list[str]]:
    return {page: [line.replace("#", str(page)) for line in lines] for page in range(1, count + 1)}


@pytest.mark.parametrize("count", [1, 2, 14, 15, 16, 40, 500])
def test_a_sample_is_of_pages_that_are_there(count: int) -> None:
    numbers = sample(count)
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(1, count + 1))
    assert {1, count} <= set(numbers)


@pytest.mark.parametrize("line", ["#", "- # -", "Page # of 10", "The Long Voyage #", "Annual Report 2024"])
def test_heads_are_found(line: str) -> None:
    assert len(find(_pages(line))) == 1


@pytest.mark.parametrize("line", ["Chapter #", "this is page #", "On page # of the book there is much"])
def test_what_only_counts_like_a_head_is_none(line: str) -> None:
    assert find(_pages(line)) == []


def test_numbers_that_do_not_count_pages_stay() -> None:
    assert find({page: [str(page * page)] for page in range(1, 11)}) == []


def test_a_head_of_one_chapter_stays() -> None:
    assert find({page: ["Iceland" if page < 5 else "Norway"] for page in range(1, 11)}) == []


def test_left_and_right_pages_may_differ() -> None:
    heads = find({page: ["Herman Melville" if page % 2 else "Moby Dick"] for page in range(1, 11)})
    assert {head.pattern for head in heads} == {"Herman Melville", "Moby Dick"}


def test_a_head_stays_where_it_first_stands_and_goes_elsewhere() -> None:
    heads = find(_pages("Moby Dick", "#"))
    text = "Moby Dick\n\nCall me Ishmael.\n\n{}"
    assert without(text.format(1), 1, heads).split() == ["Moby", "Dick", "Call", "me", "Ishmael."]
    assert without(text.format(5), 5, heads).strip() == "Call me Ishmael."
    assert without(text.format(1851), 5, heads).split()[-1] == "1851"


def test_what_does_not_stand_apart_stays() -> None:
    heads = find(_pages("Moby Dick", "#"))
    assert without("Moby Dick\nCall me Ishmael.\n5", 5, heads) == "Moby Dick\nCall me Ishmael.\n5"
