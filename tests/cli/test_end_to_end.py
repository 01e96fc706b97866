"""A few questions to the default model, as its users ask them; no other test knows what it says."""

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest
from torch import Tensor
from transformers import PreTrainedTokenizerFast

import beacon_cli
from activation_beacon import SequenceReader
from beacon_cli.documents import open_document
from recipes.smollm2.conversations import Ask
from recipes.smollm2.rows import Layout
from recipes.smollm2.sources import Question
from tests.cli.runner import run, run_process
from tests.stories import FACT, WHO_KEEPS, story

pytestmark = pytest.mark.usefixtures("default_model")


def test_the_readmes_first_question() -> None:
    question = ("ask", "examples/world-factbook.pdf", "What is the capital of Iceland?", "--pages", "33-35")
    first = run_process(*question)
    assert (first.code, first.out) == (0, "Reykjavik\n"), first.err
    assert "p. 34 (Iceland › Government): “Capital. name: Reykjavik”" in first.err
    again = run(*question, "--json").json
    assert (again["answer"], again["supported"], again["tokens_condensed"]) == ("Reykjavik", True, 0)


def test_a_fact_is_found_in_a_text_with_its_page(book: Path) -> None:
    book.write_text(book.read_text().replace(FACT, "The lighthouse of Morvane was built in 1874."))
    found = run("ask", str(book), "When was the lighthouse built?", "--json").json
    assert "1874" in found["answer"]
    with open_document(str(book)) as document:
        holding = [page.number for page in document.pages() if "1874" in page.text]
    assert [page["page"] for page in found["citations"]] == holding


@pytest.mark.parametrize("passages", [0, 2])
def test_it_is_asked_as_it_was_trained(passages: int) -> None:
    model = beacon_cli.load()
    read, before = list[int](), list[int]()
    original = SequenceReader.read

    def reading(reader: SequenceReader, ids: Sequence[int]) -> Tensor:
        if not read:
            before.append(reader.consumed)
        read.extend(ids)
        return original(reader, ids)

    text = story(3, fact_at=1).replace("\n\n", "\n\n12 hours later, 1999.\n\n", 1)
    with mock.patch.object(SequenceReader, "read", reading):
        answer = model.read_text(text, cache=False).ask(WHO_KEEPS, passages=passages)
        again = tuple(passage.headed for passage in answer.passages)
    assert len(again) == passages
    layout = Layout(PreTrainedTokenizerFast.from_pretrained(model.source.folder))
    # What is read again is the document, the best passage first, which has been read to be judged.
    prompt = layout.prompt("\n\n".join(again[::-1]) or text.strip(), Ask(Question(WHO_KEEPS, ())).text())
    (start,) = before
    assert start == (len([*layout.opening, *layout.ids(again[-1])]) if again else 0)
    rest = prompt[start:]
    assert read[: len(rest)] == rest
    assert layout.decode(read[len(rest) :]) in answer.text


def test_summarize_says_what_its_model_is_worth_and_takes_the_texts_sentences(book: Path) -> None:
    result = run("summarize", str(book), "--length", "20")
    assert result.code == 0, result.err
    assert "(p. 1)" in result.out
    assert beacon_cli.load().source.note in result.err
