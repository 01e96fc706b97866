"""Finding passages again, and citing the place where an answer stands."""

import pytest

from beacon_cli.answering.citations import Citation, cite
from beacon_cli.answering.passages import PASSAGE_WORDS, Passage, split_passages
from beacon_cli.answering.search import SearchIndex
from beacon_cli.answering.support import support
from beacon_cli.cache.pages import PageText


def pages(*texts: str) -> list[PageText]:
    return [PageText(number, str(number), text, 0, 0) for number, text in enumerate(texts, 1)]


def find_passages(passages: list[Passage], question: str, count: int) -> list[Passage]:
    """As they are read again: the best last."""
    return SearchIndex(passages).find(question, count)[::-1]


def cited(passages: list[Passage], question: str, answer: str) -> list[Citation]:
    index = SearchIndex(passages)
    return cite(index, support(index, question, answer).places, answer)


FILLER = "The road went on between low walls. Nobody spoke for a while. " * 12
BOOK = pages(
    f"{FILLER}\nThe keeper of the lighthouse is called Edda Voss.\n{FILLER}",
    f"{FILLER}\nThe smith of the village is called Karl Brann.\n{FILLER}",
    f"Edda Voss had a dog. {FILLER}",
)


def test_passages_hold_all_words_of_their_page_in_order() -> None:
    passages = split_passages(BOOK)
    for page in BOOK:
        found = [p.text for p in passages if p.page == page.number]
        assert " ".join(found).split() == page.text.split()
        assert all(text in page.text for text in found)
    assert all(len(passage.text.split()) <= PASSAGE_WORDS for passage in passages)


VERSE = """\
  The keeper climbed the stair by night,
      and lit the lamp. And all was bright
  upon the water. Nobody
      came home.

    * a table     of some   width
    * another     of the    same
"""
POEM = VERSE * 6


@pytest.mark.parametrize("text", [POEM, f"\n\n{POEM}", f"Title.\n \n{POEM}", "  one\n\ttwo\n"])
def test_passages_are_indented_as_their_page_is(text: str) -> None:
    passages = [passage.text for passage in split_passages(pages(text))]
    lines = iter([line.rstrip() for line in text.splitlines()])
    assert all(line.rstrip() in lines for passage in passages for line in passage.splitlines())
    assert len(passages) > 1 or len(text) < 200


def test_the_best_passage_stands_last() -> None:
    found = find_passages(split_passages(BOOK), "Who is the smith of the village?", 3)
    assert "Karl Brann" in found[-1].text
    assert found[-1].page == 2


def test_a_page_that_is_about_the_subject_counts() -> None:
    """No passage with a capital names its country; the running head of its page does."""
    countries = {"Norland": "Ost", "Sudland": "Vest"}
    heads = [
        [f"{name}\n{FILLER}\n{last}" for last in ("", f"Capital. name: {capital}", "")]
        for name, capital in countries.items()
    ]
    passages = split_passages(pages(*heads[0], *heads[1]))
    for name, capital in countries.items():
        assert capital in find_passages(passages, f"What is the capital of {name}?", 1)[-1].text


def test_among_several_documents_a_name_counts() -> None:
    """Neither document says whose it is."""
    reports = {"Norland_2024.pdf": "Ost", "reports/Sudland_2024.pdf": "Vest"}
    texts = {name: f"{FILLER}\nCapital. name: {capital}\n{FILLER}" for name, capital in reports.items()}
    passages = [passage for name, text in texts.items() for passage in split_passages(pages(text), name)]
    for name, capital in reports.items():
        question = f"What is the capital of {name[-16:-9]}?"
        best = find_passages(passages, question, 1)[-1]
        assert (best.document, capital in best.text) == (name, True)
    (found,) = cited(passages, "What is the capital of Sudland?", "Vest")
    assert (found.document, found.page) == ("reports/Sudland_2024.pdf", 1)


def test_pages_of_the_same_number_in_two_documents_are_two_places() -> None:
    passages = [p for name in ("a", "b") for p in split_passages(pages("Edda Voss was here."), name)]
    assert [(c.document, c.page) for c in cited(passages, "Who was here?", "Edda Voss")] == [("a", 1), ("b", 1)]


def test_other_forms_of_a_word_are_found() -> None:
    passages = split_passages(
        pages(FILLER, "It has a border with Ost. " + FILLER, "They were exporting coal. " + FILLER)
    )
    assert "border" in find_passages(passages, "Which countries are bordering it?", 1)[-1].text
    assert "coal" in find_passages(passages, "What do they export?", 1)[-1].text


def test_nothing_is_found_for_nothing() -> None:
    passages = split_passages(BOOK)
    assert find_passages(passages, "Who is it?", 3) == []
    assert find_passages(passages, "Where is Xanthippe?", 3) == []
    assert find_passages([], "Where is the smith?", 3) == []
    assert find_passages(passages, "Where is the smith?", 0) == []


def test_an_answer_is_cited_where_it_answers_the_question() -> None:
    passages = split_passages(BOOK)
    first, *others = cited(passages, "What is the keeper of the lighthouse called?", "Edda Voss.")
    assert first.page == 1
    assert first.quote == "The keeper of the lighthouse is called Edda Voss."
    assert [citation.page for citation in others] == [3]


def test_a_record_is_quoted_whole() -> None:
    text = "Government\nCapital. name: Reykjavik\ngeographic coordinates: 64 09 N"
    (citation,) = cited(split_passages(pages(text)), "What is the capital?", "Reykjavik")
    assert citation.quote == "Capital. name: Reykjavik"


def test_a_text_without_sentences_is_cut_all_the_same() -> None:
    passages = split_passages(pages("word " * 1000))
    assert [len(passage.text.split()) for passage in passages] == [PASSAGE_WORDS] * 10


def test_an_answer_that_stands_nowhere_has_no_page() -> None:
    passages = split_passages(BOOK)
    assert cited(passages, "Who?", "Edda Vos") == []
    assert cited(passages, "Who?", " . ") == []


def test_a_long_sentence_is_quoted_around_the_answer() -> None:
    long = "word " * 60 + "Edda Voss " + "word " * 60
    (citation,) = cited(split_passages(pages(long)), "Who?", "Edda Voss")
    assert "Edda Voss" in citation.quote
    assert len(citation.quote) < 250
