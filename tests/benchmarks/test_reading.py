"""How answers about what was held out are asked for, scored and put into the card of what ships."""

import json
from pathlib import Path
from typing import Any

import pytest

import beacon_cli as beacon
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.checkpoints.local.model_folder import REFUSING
from benchmarks import reading, reading_scores
from benchmarks.reading_card import RUNS, SHIPPED, TITLES, card
from benchmarks.reading_sets import NATURAL, Asked
from recipes.smollm2 import base, evaluation
from tests.scripted import Script
from tests.stories import WHO_KEEPS

QUESTIONS = [json.loads(line) for line in NATURAL.read_text("utf-8").splitlines()]


def figures(asked: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The summary of some answers, all of the set `natural`."""
    known = {"set": "natural", "answers": ["Soot"], "pages": [3], "seconds": 1.0}
    (folder / "answers.jsonl").write_text("".join(json.dumps(known | record) + "\n" for record in asked))
    (folder / "run.json").write_text("{}")
    found: dict[str, Any] = reading_scores.summary(folder)["sets"]["natural"]
    return found


def test_there_are_enough_natural_questions_and_each_says_where_its_answer_stands() -> None:
    answered = [row for row in QUESTIONS if row["answers"]]
    assert len(answered) >= 60
    assert len(QUESTIONS) - len(answered) >= 12
    assert len({row["id"] for row in QUESTIONS}) == len({row["question"] + row["file"] for row in QUESTIONS})
    assert len({row["file"] for row in QUESTIONS if row["file"].endswith(".pdf")}) == 5
    for row in QUESTIONS:
        assert bool(row.get("pages") or row.get("evidence")) == bool(row["answers"]), row


def test_a_right_answer_counts_as_cited_only_with_the_right_page(tmp_path: Path) -> None:
    asked = [
        {"answer": "Soot.", "supported": True, "cited": [3], "rank": 1},
        {"answer": "It is Soot", "supported": True, "cited": [4], "rank": 5},
        {"answer": "Captain", "supported": True, "cited": [3], "rank": None},
        {"answer": "Nut", "supported": False, "cited": [], "rank": 2},
    ]
    found = figures(asked, tmp_path)
    assert (found["questions"], found["exact"], found["contained"]) == (4, 25, 50)
    assert (found["page"], found["in 2"], found["in 5"]) == (25, 50, 75)
    assert found["sure"] == pytest.approx(66.7)
    assert (found["refused"], found["declined"]) == (0, 25)


def test_a_question_without_an_answer_is_declined_by_refusing_or_as_unsupported(tmp_path: Path) -> None:
    said = ((REFUSAL, None), ("Captain", False), ("Captain", True), ("", None), ("Captain", "partly"))
    asked = [{"answers": [], "pages": [], "answer": words, "supported": held} for words, held in said]
    found = figures(asked, tmp_path)
    assert (found["refused"], found["declined"], found["sure"]) == (40, 60, 0)
    assert found["exact"] is found["page"] is found["in 2"] is None


def test_what_the_tool_cannot_read_is_no_right_answer(
    says: Script, scripted_model: Path, book: Path, tmp_path: Path
) -> None:
    says("Edda Voss")
    model = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache")
    asked = [Asked("natural", str(path), path, WHO_KEEPS, ("Edda Voss",)) for path in (book, tmp_path / "no.txt")]
    read, unread = reading.ask_tool(model, asked)
    assert (read["answer"], read["supported"]) == ("Edda Voss", True)
    assert read["cited"]
    assert unread["answer"] == ""
    assert "no.txt" in unread["error"]


def test_a_reader_refuses_from_its_limit_on_and_a_model_without_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []

    def answering(*asked: Any) -> list[str]:
        limits.append(asked[-1])
        return [""]

    monkeypatch.setattr(base, "load_base", lambda *_: (None, base.tiny_base()[1]))
    monkeypatch.setattr(evaluation, "answers", answering)
    for name in ("reader.safetensors", "model.gguf"):
        (tmp_path / name).write_bytes(b"weights")
    gguf, asked = tmp_path / "model.gguf", [Asked("single", "1", "A text.", WHO_KEEPS, ())]
    noted = []
    for folder, limit in ((None, None), (tmp_path, None), (tmp_path, 0.5)):
        if limit:
            (tmp_path / REFUSING).write_text(json.dumps({"refuses_from": limit}))
        list(reading.ask_alone(gguf, folder, 5, asked))
        noted.append(reading._alone(gguf, folder, 5).get("refuses_from"))
    assert limits == noted == [None, None, 0.5]


def test_answers_of_two_models_do_not_come_into_one_folder(tmp_path: Path) -> None:
    reading._begin(tmp_path, {"gguf": "a"})
    reading._begin(tmp_path, {"gguf": "a"})
    with pytest.raises(SystemExit, match="give another folder"):
        reading._begin(tmp_path, {"gguf": "b"})


def test_figures_are_added_to_those_of_the_same_model_and_put_in_place_of_another_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_scores, "KEPT", tmp_path / "reading.json")
    reading_scores.keep({"reader": {"asked": 1, "sets": {"books": {}}}, "qwen": {"asked": 1, "sets": {}}})
    for name in ("natural", "single"):
        reading_scores.keep({"reader": {"asked": {"of": 2}, "sets": {name: {}}}})
    assert list(reading_scores.kept()["reader"]["sets"]) == ["natural", "single"]
    assert "qwen" in reading_scores.kept()


def test_every_figure_that_is_kept_stands_in_the_card() -> None:
    runs = reading_scores.kept()
    text = card(runs)
    assert not set(runs) - set(RUNS)
    for run in runs.values():
        for name, found in run["sets"].items():
            assert TITLES[name] in text
            if found["exact"] is not None:
                assert f"{found['exact']:.0f} / {found['f1']:.0f} / {found['contained']:.0f}" in text


def test_the_card_is_that_of_the_weights_beside_it_and_the_figures_kept() -> None:
    assert (SHIPPED / "README.md").read_text("utf-8") == card(reading_scores.kept()), (
        "python -m benchmarks.reading card"
    )
