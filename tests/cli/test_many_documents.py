"""Several documents in one memory: each condensed by itself, all of them asked together."""

from pathlib import Path
from typing import Any

import pytest
import torch

import beacon_cli
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing import ratio as ratios
from beacon_cli.condensing.condenser import Condenser
from beacon_cli.condensing.measuring import Measuring, Request
from beacon_cli.condensing.placing import Placed, name_text
from beacon_cli.documents.finding import Place, find_documents
from beacon_cli.events import silent
from tests.cli.runner import assert_misused, assert_refused, run
from tests.scripted import WINDOW, Script
from tests.stories import FACT, WHO_KEEPS, story

CAPITAL = "The capital of Tarn is called Hollin."
WHICH_CAPITAL = "What is the capital of Tarn called?"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with two documents of several intervals, one of a line, and things that are none."""
    folder = tmp_path / "shelf"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a.txt").write_text(story(9, fact_at=2))
    (folder / "b.md").write_text(story(12, fact_at=3).replace(FACT, CAPITAL))
    (folder / "deeper" / "c.txt").write_text("The ferry to Morvane leaves at nine.\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n")
    (folder / ".hidden.txt").write_text("Nobody may read this.\n")
    return folder


def ask(*arguments: str | Path, question: str = WHO_KEEPS, flags: tuple[str, ...] = ()) -> Any:
    result = run("ask", *map(str, arguments), question, "--json", *flags)
    assert result.code == 0, result.err
    return result.json


def names(found: Any) -> list[str]:
    return [document["document"] for document in found["documents"]]


def test_each_question_finds_its_document_and_its_page(shelf: Path, says: Script) -> None:
    documents = (shelf / "a.txt", shelf / "b.md")
    says("Edda Voss", "Hollin")
    keeper, capital = ask(*documents), ask(*documents, question=WHICH_CAPITAL)
    assert FACT in says.asked[0].passages
    assert CAPITAL in says.asked[1].passages
    assert [page["document"] for page in keeper["citations"]] == ["a.txt"]
    assert [page["document"] for page in capital["citations"]] == ["b.md"]
    assert CAPITAL in capital["citations"][0]["quote"]
    assert capital["tokens_condensed"] == 0
    text = run("ask", *map(str, documents), WHICH_CAPITAL)
    assert "b.md, p. " in text.err


def test_documents_are_condensed_once_whatever_they_are_asked_with(shelf: Path) -> None:
    one = ask(shelf / "a.txt")
    both = ask(shelf / "a.txt", shelf / "b.md")
    turned = ask(shelf / "b.md", shelf / "a.txt")
    assert [each["tokens_condensed"] > 0 for each in both["documents"]] == [False, True]
    assert both["documents"][0]["cache_path"] == one["cache_path"]
    assert turned["tokens_condensed"] == 0
    assert names(turned) == ["b.md", "a.txt"]
    assert both["cache_path"] is None
    assert both["tokens_read"] == sum(document["tokens_read"] for document in both["documents"])


def test_a_folder_stands_for_the_documents_in_it(shelf: Path) -> None:
    assert names(ask(shelf)) == ["a.txt", "b.md", "c.txt"]
    assert names(ask(str(shelf / "*.txt"), shelf / "b.md")) == ["a.txt", "b.md"]


def test_what_a_folder_holds_unreadably_is_left_out_with_a_note(shelf: Path) -> None:
    (shelf / "broken.pdf").write_bytes(b"%PDF-1.4 cut")
    (shelf / "empty.txt").touch()
    result = run("ask", str(shelf), WHO_KEEPS, "--json")
    assert result.code == 0, result.err
    assert names(result.json) == ["a.txt", "b.md", "c.txt"]
    left_out = [line for line in result.err.splitlines() if line.startswith("note: left out: ")]
    assert ["broken.pdf" in left_out[0], "empty.txt" in left_out[1]] == [True, True]
    assert_refused(run("ask", str(shelf / "a.txt"), str(shelf / "empty.txt"), "Who?"), "empty.txt", "empty")


def test_folders_and_patterns_without_documents(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(run("ask", str(tmp_path / "empty"), "Who?"), "directory", "no document")
    assert_refused(run("ask", str(tmp_path / "*.pdf"), "Who?"), "*.pdf", "pattern")
    (tmp_path / "empty" / "x.txt").touch()
    result = run("ask", str(tmp_path / "empty"), "Who?")
    assert result.code == 1
    assert "1 document in this directory, and none can be read" in result.err


def test_a_document_named_twice_is_read_once(shelf: Path) -> None:
    result = run("ask", str(shelf / "a.txt"), str(shelf / "a.txt"), WHO_KEEPS, "--json")
    assert names(result.json) == ["a.txt"]
    assert "read once" in result.err
    assert result.json["cache_path"] == ask(shelf / "a.txt")["cache_path"]


def test_documents_of_the_same_name_are_told_apart(tmp_path: Path, says: Script) -> None:
    says("Hollin")
    paths = [tmp_path / folder / "notes.txt" for folder in ("one", "two")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_text(f"{story(1)}{(FACT, CAPITAL)[number]}\n")
    found = ask(*paths, question=WHICH_CAPITAL)
    assert names(found) == [str(path) for path in paths]
    assert found["citations"][0]["document"] == str(paths[1])


def test_standard_input_can_be_one_of_them(shelf: Path, says: Script) -> None:
    text = (shelf / "b.md").read_bytes()
    result = run("ask", "-", str(shelf / "a.txt"), WHICH_CAPITAL, "--json", stdin=text)
    assert result.code == 0, result.err
    assert names(result.json) == ["stdin", "a.txt"]
    assert CAPITAL in says.asked[0].passages
    assert_misused(run("ask", "-", "-", "Who?", stdin=text), "standard input", "once")


def test_without_a_cache_the_memory_is_the_same(shelf: Path, cache_dir: Path, says: Script) -> None:
    kept_out = ask(shelf, flags=("--no-cache", "--passages", "0"))
    assert not (cache_dir / "documents").exists()
    built, loaded = ask(shelf, flags=("--passages", "0")), ask(shelf, flags=("--passages", "0"))
    assert says.asked[0].equals(says.asked[1])
    assert says.asked[1].equals(says.asked[2])
    assert kept_out["tokens_condensed_to"] == built["tokens_condensed_to"] == loaded["tokens_condensed_to"]


def test_auto_takes_the_smallest_ratio_at_which_all_fit(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_MAX_NEW_TOKENS", "7100")  # leaves room for about 500 rows
    assert ask(shelf / "a.txt")["ratio"] < ask(shelf / "a.txt", shelf / "b.md")["ratio"]


def test_too_much_for_the_model_is_refused_with_totals(
    shelf: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEACON_MAX_NEW_TOKENS", "7200")
    documents = [str(shelf / "a.txt"), str(shelf / "b.md")]
    assert_refused(run("ask", *documents, "Who?", "--ratio", "2"), "2 documents", "together", "--ratio auto")
    monkeypatch.setenv("BEACON_MAX_NEW_TOKENS", "7690")
    assert_refused(run("ask", *documents, "Who?"), "2 documents", "together", "one by one", "--model")
    assert not list((cache_dir / "documents").iterdir())


def test_the_question_comes_last(shelf: Path) -> None:
    documents = [str(shelf / "a.txt"), str(shelf / "b.md")]
    assert_misused(run("ask", *documents), "question is missing", "b.md")
    assert_misused(run("ask", *documents, " "), "question is empty")
    alone = run("ask", documents[0])
    assert alone.code == 2
    assert "question is missing" in " ".join(alone.err.split())


def test_several_documents_are_summarized_together(shelf: Path, says: Script) -> None:
    result = run("summarize", str(shelf), "--json")
    assert result.code == 0, result.err
    assert names(result.json) == ["a.txt", "b.md", "c.txt"]
    assert "Summarize the texts above" in says.asked[0].request


def test_a_folder_is_condensed_ahead_of_questions(shelf: Path) -> None:
    (shelf / "empty.txt").touch()
    built = run("cache", "build", str(shelf), "--json", "--ratio", "4")
    assert [each["document"] for each in built.json] == ["a.txt", "b.md", "c.txt"]
    assert "left out" in built.err
    assert ask(shelf, flags=("--ratio", "4"))["tokens_condensed"] == 0


def test_a_name_that_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text(story(1))
    assert find_documents([str(tmp_path / "a[1].txt")]) == [Place(str(tmp_path / "a[1].txt"))]


@pytest.fixture(scope="module")
def engine(scripted_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return beacon_cli.load(str(scripted_model), cache_dir=tmp_path_factory.mktemp("cache")).engine


def in_memory(engine: Engine, *paths: Path) -> Placed:
    """Documents condensed at 8 without a cache."""
    measuring = Measuring(engine.source, None, Request(8, 100), silent)
    return Condenser(measuring, lambda: engine).read(measuring.measure([Place(str(path)) for path in paths]))


def test_the_memory_holds_the_documents_memories_in_their_order(engine: Engine, shelf: Path) -> None:
    paths = [shelf / "b.md", shelf / "a.txt"]
    together, (b, a) = in_memory(engine, *paths), (in_memory(engine, path) for path in paths)
    tokenizer = engine.source.tokenizer
    opening = list(engine.source.frame.opening)
    rows = [len(opening) + len(tokenizer.encode(name_text("b.md", first=True))), b.whole().memory.size]
    rows += [
        len(b.tail) // 8 + len(b.tail) % 8,
        len(tokenizer.encode(name_text("a.txt"))),
        a.whole().memory.size,
    ]
    assert together.whole().memory.size == together.whole().planner.memory == sum(rows)
    assert together.tail == a.tail
    assert together.whole().planner.at_boundary
    for first, one in ((rows[0], b), (sum(rows[:4]), a)):
        size = one.whole().memory.size
        expected = one.whole().memory.activations(0, size)
        found = together.whole().memory.activations(first, first + size)
        torch.testing.assert_close(found.keys, expected.keys, atol=1e-4, rtol=1e-4)
        assert torch.equal(found.values, expected.values)


def test_the_budget_knows_how_many_rows_they_take(engine: Engine, shelf: Path) -> None:
    paths = sorted(path for path in shelf.rglob("*.*") if path.suffix in (".txt", ".md") and path.name[0] != ".")
    memory = in_memory(engine, *paths)
    tokens = [document.summary.tokens for document in memory.documents]
    naming = sum(len(engine.source.tokenizer.encode(name_text(path.name))) for path in paths)
    opening = len(engine.source.frame.opening)
    ended = sum(ratios.rows_ended(engine.source, each, 8) for each in tokens)
    assert 0 <= ended + naming + opening - memory.whole().memory.size <= 2 * len(paths) * opening + WINDOW // 8
