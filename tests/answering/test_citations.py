"""Quotes are cut out of the text as it is."""

from beacon_cli.answering.citations import QUOTE_CHARACTERS, Citation, cite
from beacon_cli.answering.passages import split_passages
from beacon_cli.answering.search import SearchIndex
from beacon_cli.answering.support import support
from beacon_cli.cache.pages import PageText


def quote(text: str, answer: str) -> str:
    (found,) = cited(text, "who", answer)
    return found.quote


def cited(text: str, question: str, answer: str) -> list[Citation]:
    index = SearchIndex(split_passages([PageText(1, "1", text, 0, 0)]))
    return cite(index, support(index, question, answer).places, answer)


def test_a_long_quote_holds_the_answer_whatever_letters_stand_before_it() -> None:
    # Folded to lower case, each of these is two or three letters: indices of the folded text are not those of the text.
    text = "ŉŉŉﬃﬃßİİ " * 30 + "the keeper is Edda Voss " + "and so on it went " * 10
    found = quote(text, "edda voss")
    assert "Edda Voss" in found
    assert found.startswith("…")
    assert found.endswith("…")
    assert len(found) <= QUOTE_CHARACTERS + 2


def test_an_answer_may_run_over_lines() -> None:
    assert (
        quote("The keeper is called Edda\n   Voss, they say.", "Edda Voss.")
        == "The keeper is called Edda Voss, they say."
    )


def test_what_a_document_repeats_is_cited_once() -> None:
    says = "The keeper is called Edda Voss."
    pages = [PageText(number, str(number), text, 0, 0) for number, text in enumerate([says, says, f"Then: {says}"], 1)]
    index = SearchIndex(split_passages(pages))
    found = cite(index, support(index, "who", "Edda Voss").places, "Edda Voss")
    assert sorted(each.quote for each in found) == [says, f"Then: {says}"]


def test_a_part_of_a_word_is_no_place() -> None:
    assert cited("It cost 1200 crowns, 12% more.", "what", "20") == []
    assert cited("It cost 1,200 crowns.", "what", "12") == []


def test_what_is_said_in_other_words_order_is_quoted_where_it_stands() -> None:
    text = "The road went on. Called Edda Voss, she is the keeper. Nobody spoke."
    assert quote(text, "The keeper is called Edda Voss.") == "Called Edda Voss, she is the keeper."
