"""`beacon summarize`: by the model, or, where that is too weak, by the text's own sentences."""

from pathlib import Path

import pytest

from beacon_cli.answering.extract import sections, summarize
from beacon_cli.answering.terms import Terms
from beacon_cli.cache.pages import PageText
from tests.cli.runner import Result, assert_misused, run
from tests.scripted import Script

STORM = [
    "The storm broke over the harbour of Vanborg in the third night of the month of May.",
    "The keeper of the lighthouse lit the great lamp above the harbour before the storm broke.",
    "Three ships of the Vanborg company were lost on the rocks before the harbour in the storm.",
    "The mayor of Vanborg had the harbour closed to all ships until the storm was over.",
]
ASIDE = "A dog of no particular breed slept under a bench for most of the afternoon."
TEXT = (
    " ".join(STORM)
    + "\n\n"
    + ASIDE
    + "\n\nExports: 12 % (2023), 14 % (2024)\n\n“Who goes there?” he asked of us all in the dark.\n"
)


def summary(*arguments: str) -> Result:
    result = run("summarize", *arguments)
    assert result.code == 0, result.err
    return result


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.txt"
    path.write_text(TEXT)
    return path


def extracts(*texts: str, length: int) -> list[str]:
    pages = [PageText(n, str(n), text, 0, 0) for n, text in enumerate(texts, 1)]
    return [each.text for each in summarize("d", pages, Terms("english"), length)]


def test_the_sentence_that_is_most_like_the_others_is_chosen() -> None:
    (best,) = extracts(TEXT, length=15)
    assert best in STORM


def test_sentences_are_the_texts_own_in_their_order_and_none_is_repeated() -> None:
    made = extracts(TEXT, TEXT, " ".join(reversed(STORM)), length=60)
    assert set(made) <= {*STORM, ASIDE}
    assert len(set(made)) == len(made) > 1


def test_the_end_of_a_text_is_not_lost_to_its_beginning() -> None:
    late = "The bridge over the river Tarn was opened by the queen on the ninth of June."
    made = extracts(*[" ".join(STORM)] * 5, *[late] * 5, length=60)
    assert late in made


def test_a_text_of_nothing_but_records_is_summarized_by_those() -> None:
    assert extracts("One. Two. Three.", length=50) == ["One.", "Two.", "Three."]
    assert extracts("", length=50) == []


def test_each_section_has_its_own() -> None:
    pages = [PageText(n, str(n), " ".join(STORM), 0, 0, title) for n, title in enumerate(("A", "A › B", "C"), 1)]
    assert [each.title for each in sections("d", pages, Terms("english"), 100)] == ["A", "C"]
    plain = [PageText(n, str(n), " ".join(STORM), 0, 0) for n in range(1, 17)]
    assert [each.title for each in sections("d", plain, Terms("english"), 100)][:2] == ["p. 1–2", "p. 3–4"]


def test_it_is_named_as_what_it_is_and_no_model_takes_part(report: Path, says: Script) -> None:
    result = summary(str(report), "--by", "sentences", "--length", "15")
    assert result.out.strip().removesuffix(" (p. 1)") in STORM
    assert "sentences of the text, chosen by TextRank" in result.err
    found = summary(str(report), "--sections", "--json").json
    assert found["method"] == "sentences"
    assert found["sections"][0]["sentences"][0]["page"] == 1
    assert not says.asked


def test_a_model_that_loops_is_replaced_by_the_texts_sentences(report: Path, says: Script) -> None:
    says("la " * 300)
    result = summary(str(report))
    assert "la la" not in result.out
    assert any(sentence in result.out for sentence in STORM)
    assert "only repeated itself" in result.err
    # Unless the model was asked for.
    assert "la la" in summary(str(report), "--by", "model").out


def test_standard_input_is_summarized_once_read(says: Script) -> None:
    says("la " * 300)
    result = run("summarize", "-", stdin=TEXT.encode())
    assert (result.code, any(sentence in result.out for sentence in STORM)) == (0, True)


def test_the_length_is_asked_for(report: Path, says: Script) -> None:
    says("It stormed.")
    assert summary(str(report), "--length", "80").out == "It stormed.\n"
    assert "Summarize the text above in about 80 words." in says.asked[0].request
    assert_misused(run("summarize", str(report), "--length", "3"), "--length")


def test_nothing_in_a_document_reaches_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("The keeper \x1b[31mof the lighthouse lit the great lamp above the harbour that night.")
    assert "\x1b" not in summary(str(path), "--by", "sentences").out
