"""`beacon eval` on the scripted model, with texts of a few hundred tokens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import Result, assert_misused, assert_refused, run
from tests.scripted import UNPROMPTED, Script

STORY = "The keeper of the Morvane lighthouse is Edda Voss. The harbour lies below the hill.\n\n"


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.txt"
    path.write_text("\n\n".join(f"On day {day} nothing came by the road but rain." for day in range(90)))
    return path


def test_a_needle_among_methods(story: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    arguments = ["eval", "needle", str(story), "--lengths", "300", "--depths", "0,100", "--ratios", "2,8"]
    first = run(*arguments, "--out", str(out), "--quiet")
    assert first.code == 0, first.err
    header, *lines = (line.split("\t") for line in first.out.splitlines())
    assert header == ["method (n=2)", "300"]
    assert [line[0] for line in lines] == ["full", "truncated", "streaming", "beacon 2x", "beacon 8x", "ask"]
    found = json.loads((out / "results.json").read_text())
    assert len(found["samples"]) == 12
    assert {sample["group"]["depth"] for sample in found["samples"]} == {0, 1}
    sample = found["samples"][0]
    assert len(sample["details"]["text_sha256"]) == 64
    assert found["versions"]["torch"]
    assert found["command"].startswith("beacon eval needle")
    # What is read in full is read alike by all that read in full.
    by_method = {line[0]: line[1] for line in lines}
    assert by_method["full"] == by_method["truncated"] == by_method["streaming"]
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == {"needle.png", "needle-map.png"}
    assert "needle" in (out / "table.md").read_text()

    again = run(*arguments, "--out", str(out), "--json")
    assert [row["value"] for row in again.json["rows"]] == [row["value"] for row in found["rows"]]
    assert again.json["samples"] == found["samples"]  # seconds and all: nothing was measured again
    assert_refused(run(*arguments, "--seed", "1", "--out", str(out)), "another evaluation", "--out")


@pytest.mark.parametrize("task", ["passkey", "topic"])
def test_tasks_with_texts_of_their_own(task: str) -> None:
    found = run("eval", task, "--lengths", "250", "--samples", "2", "--methods", "full,ask", "--json", "--quiet").json
    assert [(row["method"], row["count"]) for row in found["rows"]] == [("full", 2), ("ask", 2)]
    assert all(sample["details"]["answer"] for sample in found["samples"])


def test_a_text_that_does_not_fit_is_not_counted_as_wrong() -> None:
    arguments = ["--lengths", "9k", "--samples", "1", "--methods", "full,beacon", "--ratios", "32", "--json"]
    full, beacon = run("eval", "passkey", *arguments).json["rows"]
    assert (full["count"], full["unread"], full["value"]) == (0, 1, None)
    assert (beacon["method"], beacon["count"]) == ("beacon 32x", 1)


def test_if_nothing_fits_the_table_says_so() -> None:
    result = run("eval", "passkey", "--lengths", "9k", "--samples", "1", "--methods", "full")
    assert result.code == 0
    assert [line.split("\t") for line in result.out.splitlines()] == [["method", "9,216"], ["full", "too long"]]
    assert "does not fit the context" in result.err


def test_perplexity(story: Path) -> None:
    found = run("eval", "perplexity", str(story), "--lengths", "256,512", "--ratios", "4", "--json").json
    rows = {(row["method"], row["group"]["length"]): row for row in found["rows"]}
    assert {method for method, _ in rows} == {"full", "truncated", "streaming", "beacon 4x"}
    assert {row["count"] for (_, length), row in rows.items() if length == 256} == {255}
    assert rows["full", 512]["value"] == pytest.approx(rows["truncated", 512]["value"], rel=1e-4)
    assert rows["full", 512]["value"] < rows["full", 256]["value"]  # it repeats itself
    assert_misused(run("eval", "perplexity", str(story), "--lengths", "99k"), "longest text", "--lengths")


def test_questions(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    row = {"document": STORY * 3, "question": "Who is the keeper of the Morvane lighthouse?", "answers": [UNPROMPTED]}
    path.write_text(json.dumps(row) + "\n")
    found = run("eval", "qa", str(path), "--methods", "full,ask", "--json").json
    assert {(row["method"], row["metric"], row["value"]) for row in found["rows"]} >= {("full", "exact", 1.0)}
    assert found["rows"][0]["group"] == {"set": "asked"}
    assert_refused(run("eval", "qa", str(tmp_path / "none.jsonl")), "cannot be read")


def test_ask_is_measured_as_it_answers(story: Path, tmp_path: Path, says: Script) -> None:
    says("Edda Voss")
    story.write_text(f"{story.read_text()}\n\n{STORY}{story.read_text()}")
    path, question = tmp_path / "asked.jsonl", "Who is the keeper of the Morvane lighthouse?"
    path.write_text(json.dumps({"path": story.name, "question": question, "answers": ["Edda Voss"]}) + "\n")
    (sample,) = run("eval", "qa", str(path), "--methods", "ask", "--json").json["samples"]
    asked = run("ask", str(story), question, "--json").json
    in_evaluation, as_command = says.asked
    assert in_evaluation.passages
    assert in_evaluation.equals(as_command)
    assert sample["details"]["answer"] == asked["answer"] == "Edda Voss"
    assert sample["scores"] == {"exact": 1, "f1": 1, "found": 1}
    assert sample["details"]["ratio"] == asked["ratio"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["qa"], "JSON lines"),
        (["passkey", "some.txt"], "leave the files out"),
        (["needle", "--needle", "It is here."], "together"),
        (["passkey", "--lengths", "4x"], "4k,16k"),
        (["passkey", "--lengths", "0"], "4k,16k"),
        (["passkey", "--lengths", "999999k"], "to 4,194,304"),
        (["passkey", "--samples", "1000000000"], "--samples"),
        (["needle", "--depths", "101"], "whole numbers"),
        (["passkey", "--methods", "full,magic"], "magic"),
        (["passkey", "--stream", "4"], "from 8 on"),
        (["perplexity", "--methods", "ask"], "asks no questions"),
        (["foo"], "task is 'foo'; choose one of passkey, needle, topic, perplexity, qa"),
    ],
)
def test_usage(arguments: list[str], word: str) -> None:
    result: Result = run("eval", *arguments)
    assert result.code == 2
    assert word in " ".join(result.err.replace("│", " ").split())


def test_a_ratio_that_the_beacon_does_not_know() -> None:
    assert_misused(run("eval", "passkey", "--ratios", "3"), "ratio 3", "2, 4, 8, 16, 32")


def test_a_window_larger_than_the_context() -> None:
    assert_misused(run("eval", "passkey", "--stream", "1024k"), "--stream", "8,192 positions")


def test_without_matplotlib_all_but_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = ["--lengths", "200", "--samples", "1", "--methods", "full", "--out", str(tmp_path / "out")]
    result = run("eval", "passkey", *arguments)
    assert result.code == 0
    assert "beacon-cli[plots]" in result.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "table.md", "samples.jsonl"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['beacon', 'eval', '--help']\nfrom beacon_cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'transformers', 'matplotlib', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
