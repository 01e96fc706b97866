"""`beacon ask` and `beacon summarize`, for real, with the embedded model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beacon_cli.documents import open_document
from tests.cli.conftest import story
from tests.cli.runner import Result, run, run_process

QUESTION = "Who is the keeper of the Morvane lighthouse?"


def ask(book: Path, *flags: str, question: str = QUESTION) -> Result:
    result = run("ask", str(book), question, *flags)
    assert result.code == 0, result.err
    return result


def test_an_answer_is_found_with_its_page(book: Path) -> None:
    found = ask(book, "--json").json
    assert "Edda Voss" in found["answer"]
    with open_document(str(book)) as document:
        holding = [page.number for page in document.pages() if "Edda Voss" in page.text]
    assert [page["page"] for page in found["citations"]] == holding
    assert "Edda Voss" in found["citations"][0]["quote"]


def test_stdout_carries_the_answer_alone_when_piped(book: Path) -> None:
    result = run_process("ask", str(book), QUESTION)
    assert result.code == 0, result.err
    assert result.out == run_process("ask", str(book), QUESTION, "--quiet").out
    assert result.out.strip()
    assert "\x1b" not in result.out + result.err
    assert "condensed to" in result.err


def test_quiet_says_nothing_on_stderr(book: Path) -> None:
    assert ask(book, "--quiet").err == ""


def test_json_has_what_it_promises(book: Path) -> None:
    found = ask(book, "--json", "--ratio", "8").json
    assert found.keys() >= {
        "question",
        "answer",
        "supported",
        "citations",
        "tokens_read",
        "tokens_condensed_to",
        "ratio",
        "seconds",
        "model",
    }
    assert found["ratio"] == 8
    assert found["tokens_read"] > 1000
    assert found["tokens_condensed"] == found["tokens_read"] // 128 * 128
    rows = found["tokens_condensed"] // 8 + found["tokens_read"] % 128
    assert found["tokens_condensed_to"] == rows
    assert Path(found["cache_path"]).is_dir()
    assert found["seconds"].keys() >= {"open", "load_model", "condense", "answer"}


def test_the_second_question_condenses_nothing_and_answers_the_same(book: Path) -> None:
    first, second = ask(book, "--json").json, ask(book, "--json").json
    assert first["tokens_condensed"] > 0
    assert second["tokens_condensed"] == 0
    assert second["answer"] == first["answer"]
    assert second["cache_path"] == first["cache_path"]


def test_without_a_cache_the_answer_is_the_same_and_nothing_is_written(book: Path, cache_dir: Path) -> None:
    kept_out = ask(book, "--json", "--no-cache").json
    assert kept_out["cache_path"] is None
    assert not (cache_dir / "documents").exists()
    assert kept_out["answer"] == ask(book, "--json").json["answer"]


def test_refresh_condenses_anew_to_the_same(book: Path) -> None:
    first = ask(book, "--json").json
    files = {path.name: path.read_bytes() for path in Path(first["cache_path"]).glob("*.safetensors")}
    second = ask(book, "--json", "--refresh").json
    assert second["tokens_condensed"] == first["tokens_condensed"]
    assert files == {path.name: path.read_bytes() for path in Path(second["cache_path"]).glob("*.safetensors")}


def test_pages_select_what_is_read(book: Path) -> None:
    whole, part = ask(book, "--json").json, ask(book, "--json", "--pages", "1").json
    assert part["tokens_read"] < whole["tokens_read"]
    assert part["cache_path"] != whole["cache_path"]


def test_the_ratio_is_another_memory(book: Path) -> None:
    assert (
        ask(book, "--json", "--ratio", "4").json["cache_path"] != ask(book, "--json", "--ratio", "8").json["cache_path"]
    )


def test_auto_takes_the_smallest_ratio_that_fits(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text(story(400))
    found = ask(path, "--json", "--max-new-tokens", "1").json
    context, window, reserved = 8192, 128, 1024
    intervals, rest = divmod(found["tokens_read"], window)
    rows = {ratio: intervals * window // ratio + rest + rest // ratio for ratio in (2, 4, 8, 16, 32)}
    assert found["ratio"] == min(ratio for ratio in rows if rows[ratio] + reserved <= context)
    assert found["ratio"] > 2


def test_standard_input_is_a_document(book: Path) -> None:
    piped = run("ask", "-", QUESTION, "--json", stdin=book.read_bytes())
    assert piped.code == 0, piped.err
    assert piped.json["answer"] == ask(book, "--json").json["answer"]


def test_the_condensed_memory_alone_can_be_asked(book: Path) -> None:
    found = ask(book, "--json", "--passages", "0").json
    assert found["passages_reread"] == 0


def test_max_new_tokens_ends_an_answer(book: Path) -> None:
    found = ask(book, "--json", "--max-new-tokens", "1").json
    assert found["tokens_generated"] <= 1


def test_settings_come_from_flags_then_environment_then_file(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path(os.environ["BEACON_CONFIG"])
    config.write_text('ratio = "16"\n')
    assert ask(book, "--json").json["ratio"] == 16
    monkeypatch.setenv("BEACON_RATIO", "4")
    assert ask(book, "--json").json["ratio"] == 4
    assert ask(book, "--json", "--ratio", "2").json["ratio"] == 2


def test_summarize_says_what_its_model_is_worth(book: Path) -> None:
    result = run("summarize", str(book), "--max-new-tokens", "20")
    assert result.code == 0, result.err
    assert result.out.strip()
    assert "too small to summarize well" in result.err


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from beacon_cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'bitsandbytes'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for arguments in (["--help"], ["ask", "--help"], ["cache", "build", "--help"], ["--version"], ["cache", "path"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
