"""A few questions to the built-in model, as its users ask them; no other test knows what it says."""

from pathlib import Path

import pytest

import beacon_cli
from beacon_cli.documents import open_document
from tests.cli.runner import run, run_process
from tests.stories import FACT, WHO_KEEPS, story

pytestmark = pytest.mark.usefixtures("built_in_model")


def test_the_readmes_first_question() -> None:
    question = ("ask", "examples/world-factbook.pdf", "What is the capital of Iceland?")
    first = run_process(*question)
    assert (first.code, first.out) == (0, "Reykjavik\n"), first.err
    assert "p. 34 (Iceland › Government): “Capital. name: Reykjavik”" in first.err
    again = run(*question, "--json").json
    assert (again["answer"], again["supported"], again["tokens_condensed"]) == ("Reykjavik", True, 0)
    assert again["tokens_read"] > 50_000


def test_a_fact_is_found_in_a_text_with_its_page(book: Path) -> None:
    found = run("ask", str(book), WHO_KEEPS, "--json").json
    assert "Edda Voss" in found["answer"]
    with open_document(str(book)) as document:
        holding = [page.number for page in document.pages() if "Edda Voss" in page.text]
    assert [page["page"] for page in found["citations"]] == holding


def test_a_fact_is_found_in_its_document_among_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(story(9, fact_at=2))
    (tmp_path / "b.md").write_text(story(12, fact_at=3).replace(FACT, "The capital of Tarn is called Hollin."))
    found = run("ask", str(tmp_path), "What is the capital of Tarn called?", "--json").json
    assert "Hollin" in found["answer"]
    assert [page["document"] for page in found["citations"]] == ["b.md"]


def test_summarize_says_what_its_model_is_worth_and_takes_the_texts_sentences(book: Path) -> None:
    result = run("summarize", str(book), "--length", "20")
    assert result.code == 0, result.err
    assert "(p. 1)" in result.out
    assert beacon_cli.load().source.note in result.err
