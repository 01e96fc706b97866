"""Tasks: texts of the length asked for, the answer where it should be, the same samples for the same seed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.errors import DocumentError, EvaluationError, SettingsError
from beacon_cli.evaluation.evaluating import embedded_text
from beacon_cli.evaluation.needle import Needle, needle
from beacon_cli.evaluation.passkey import passkey
from beacon_cli.evaluation.qa import qa
from beacon_cli.evaluation.samples import Haystack, QuestionTask
from beacon_cli.evaluation.topic import topic
from tests.scripted import scripted_tokenizer

HAY = "\n\n".join(f"Paragraph {number} says that it is number {number}, and nothing more." for number in range(60))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return scripted_tokenizer()


def make(name: str, tokenizer: Tokenizer, seed: int) -> QuestionTask:
    makers: dict[str, Callable[[], QuestionTask]] = {
        "passkey": lambda: passkey(tokenizer, [300, 700], 3, seed),
        "needle": lambda: needle(tokenizer, HAY, None, [300, 700], [0.0, 0.5, 1.0], 2, seed),
        "topic": lambda: topic(tokenizer, [300, 700], 3, seed),
    }
    return makers[name]()


@pytest.mark.parametrize("name", ["passkey", "needle", "topic"])
def test_samples(name: str, tokenizer: Tokenizer) -> None:
    task = make(name, tokenizer, 0)
    samples = list(task.samples())
    assert len(samples) == task.count == len({sample.key for sample in samples})
    for sample in samples:
        assert len(sample.ids) == sample.group["length"]
        text = tokenizer.decode(sample.ids)
        assert sample.text == text
        assert sample.answers[0] in text
        assert sample.place is not None
        assert sample.answers[0] in tokenizer.decode(sample.ids[sample.place : sample.place + 80])
        assert task.metrics["found"](f"It is {sample.answers[0]}.", sample.answers) == 1
    assert list(make(name, tokenizer, 0).samples()) == samples
    assert [sample.ids for sample in make(name, tokenizer, 1).samples()] != [sample.ids for sample in samples]


def test_the_first_topic_is_never_taken_up_again(tokenizer: Tokenizer) -> None:
    (sample,) = topic(tokenizer, [40_000], 1, 0).samples()
    assert sample.text.count(f"talk about {sample.answers[0]}.") == 2  # the visitor's and the guide's line


@pytest.mark.parametrize(("depth", "least", "most"), [(0.0, 0, 0), (0.5, 200, 300), (1.0, 440, 500)])
def test_a_needle_is_a_paragraph_at_its_depth(tokenizer: Tokenizer, depth: float, least: int, most: int) -> None:
    ids, place = Haystack(tokenizer, HAY).hide("Here it is.", 500, depth)
    assert len(ids) == 500
    assert least <= place <= most
    before, _, after = tokenizer.decode(ids).partition("Here it is.\n\n")
    assert before == "" or before.endswith("more.\n\n")
    assert HAY.startswith(before.strip())
    assert (before + after).strip()[:200] == HAY[:200]


def test_a_haystack_goes_on_from_its_beginning(tokenizer: Tokenizer) -> None:
    haystack = Haystack(tokenizer, HAY)
    ids, _ = haystack.hide("Here it is.", 3 * haystack.tokens, 0.5)
    assert tokenizer.decode(ids).count("Paragraph 7 says") == 3


def test_what_cannot_be_a_haystack(tokenizer: Tokenizer) -> None:
    with pytest.raises(EvaluationError, match="no text"):
        Haystack(tokenizer, " \n\n ")
    with pytest.raises(EvaluationError, match="too short"):
        Haystack(tokenizer, HAY).hide("Here it is, at some length.", 5, 0.5)


def test_a_needle_of_ones_own(tokenizer: Tokenizer) -> None:
    own = Needle("The cat is called Tom.", "What is the cat called?", "Tom")
    (sample,) = needle(tokenizer, HAY, own, [200], [0.5], 1, 0).samples()
    assert (sample.question, sample.answers) == ("What is the cat called?", ("Tom",))
    assert "The cat is called Tom." in sample.text


def test_the_embedded_book_is_the_example() -> None:
    assert embedded_text() == (Path(__file__).parents[2] / "examples" / "the-time-machine.txt").read_text("utf-8")


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_questions_about_one_document_stand_together(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("The cat is called Tom.", encoding="utf-8")
    path = write(
        tmp_path / "asked.jsonl",
        {"document": "The dog is called Rex.", "question": "What is the dog called?", "answers": ["Rex"]},
        {"path": "b.txt", "question": "What is the cat called?", "answers": ["Tom", "Tommy"]},
        {"document": "The dog is called Rex.", "question": "Who is called Rex?", "answers": ["the dog"]},
    )
    samples = list(qa(tokenizer, [path], None, 0).samples())
    assert [sample.key for sample in samples] == ["asked-1", "asked-3", "asked-2"]
    assert samples[0].ids == samples[1].ids
    assert samples[2].text.strip() == "The cat is called Tom."
    assert [sample.path for sample in samples] == [None, None, str(tmp_path / "b.txt")]
    assert samples[2].answers == ("Tom", "Tommy")
    drawn = qa(tokenizer, [path], 2, 0)
    assert drawn.count == 2 == len(list(drawn.samples()))


def test_a_random_value_in_a_needle_of_ones_own(tokenizer: Tokenizer) -> None:
    own = Needle("The cat is called {value}.", "What is the cat called?", "{value}")
    samples = list(needle(tokenizer, HAY, own, [200], [0.5], 4, 0).samples())
    assert len({sample.answers for sample in samples}) > 1
    assert all(f"The cat is called {sample.answers[0]}." in sample.text for sample in samples)
    with pytest.raises(SettingsError, match="--needle"):
        needle(tokenizer, HAY, Needle("The cat is called Tom.", "?", "{value}"), [200], [0.5], 1, 0)


def test_questions_are_other_ones_when_their_documents_are(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "b.txt"
    document.write_text("The cat is called Tom.", encoding="utf-8")
    path = write(tmp_path / "asked.jsonl", {"path": "b.txt", "question": "What is it called?", "answers": ["Tom"]})
    first = qa(tokenizer, [path], None, 0).settings
    assert qa(tokenizer, [path], None, 0).settings == first
    document.write_text("The cat is called Tim.", encoding="utf-8")
    second = qa(tokenizer, [path], None, 0).settings
    assert second != first
    monkeypatch.setattr("beacon_cli.evaluation.qa.TEXT_VERSION", 99)
    assert qa(tokenizer, [path], None, 0).settings != second


def test_a_document_that_is_missing_is_said_before_anything_is_measured(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = write(tmp_path / "asked.jsonl", {"path": "none.txt", "question": "Who?", "answers": ["Tom"]})
    with pytest.raises(DocumentError, match=r"none\.txt"):
        qa(tokenizer, [path], None, 0)


def test_what_a_line_says_besides_does_not_matter(tokenizer: Tokenizer, tmp_path: Path) -> None:
    row = {"document": "The dog is called Rex.", "path": 5, "question": "Who?", "answers": ["Rex"], "note": None}
    (sample,) = qa(tokenizer, [write(tmp_path / "asked.jsonl", row)], None, 0).samples()
    assert sample.text == "The dog is called Rex."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no questions"),
        ("{", "line 1 is no JSON"),
        ('\n["a"]', "line 2: it needs"),
        ('{"question": "a", "answers": ["b"]}', "either document"),
        ('{"document": "c", "path": "d", "question": "a", "answers": ["b"]}', "either document"),
        ('{"document": " ", "question": "a", "answers": ["b"]}', "either document"),
        ('{"document": "c", "question": "", "answers": ["b"]}', "needs a question"),
        ('{"document": "c", "question": "a", "answers": "b"}', "list of answers"),
        ('{"document": "c", "question": "a", "answers": []}', "list of answers"),
    ],
)
def test_questions_that_cannot_be_used(tokenizer: Tokenizer, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationError, match=words):
        qa(tokenizer, [path], None, 0)
    with pytest.raises(EvaluationError, match="cannot be read"):
        qa(tokenizer, [tmp_path / "missing.jsonl"], None, 0)
