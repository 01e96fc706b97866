"""What a sample says can be answered, and is marked where it is."""

from itertools import groupby
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from recipes.pocket.compose import Composer, Plan
from recipes.pocket.writing import PASSAGES, Sample
from tests.recipes.corpora import write_corpora

TOKENIZER = Path(__file__).parents[2] / "models/beacon_pocket/model/tokenizer.json"
SOURCES = {
    "facts": Plan(facts=(1, 4), generated=1.0, passages=0.0, unanswerable=0.0, summary=0.0),
    "facts read again": Plan(facts=(1, 4), generated=1.0, passages=1.0, unanswerable=0.0, summary=0.0),
    "numbers": Plan(facts=(1, 1), keys=1.0),
    "passages of documents": Plan(facts=(1, 1), reread=1.0, questions=3),
    "country reports": Plan(facts=(1, 1), generated=0.0, factbook=1.0),
}


@pytest.fixture(scope="module")
def composer(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    data = tmp_path_factory.mktemp("data")
    write_corpora(data)
    return Composer(data, Tokenizer.from_file(str(TOKENIZER)), 7)


def answers(composer: Composer, sample: Sample) -> list[str]:
    """What is marked, a run of marks each."""
    marked = groupby(zip(sample.answer, sample.ids, strict=True), key=lambda pair: pair[0])
    return [composer.tokenizer.decode([token for _, token in run]) for is_answer, run in marked if is_answer]


@pytest.mark.parametrize("source", SOURCES)
def test_answers_stand_in_the_document_and_are_marked(composer: Composer, source: str) -> None:
    for _ in range(8):
        sample = composer.sample(512, SOURCES[source])
        assert len(sample.ids) <= 512
        assert answers(composer, sample) == [reply for _, reply in sample.turns]
        # In any case: "The barrel was copied by Dark." What did Dark copy? "the barrel"
        assert all(reply.casefold() in sample.turns[0][0].casefold() for _, reply in sample.turns)


def test_passages_found_again_hold_the_answers(composer: Composer) -> None:
    for _ in range(8):
        sample = composer.reread(512, SOURCES["passages of documents"])
        if sample is not None:
            document, passages = sample.turns[0][0].split(PASSAGES)
            assert all(reply in passages for _, reply in sample.turns)
            assert document.endswith("---\n\n")
