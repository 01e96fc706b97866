"""Bad input: one clear line on stderr, exit code 1 (2 for a wrong value), and a cache that is as it was."""

import json
import os
import resource
import shutil
from pathlib import Path

import pypdf
import pytest

from tests.cli.runner import Result, assert_misused, assert_refused, run, run_process


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """Three blank pages."""
    writer = pypdf.PdfWriter()
    for _ in range(3):
        writer.add_blank_page(200, 200)
    path = tmp_path / "blank.pdf"
    writer.write(path)
    return path


@pytest.fixture(autouse=True)
def _no_document_is_cached(cache_dir: Path) -> object:
    yield
    documents = cache_dir / "documents"
    assert not documents.exists() or not list(documents.iterdir())


def ask(document: Path | str, *flags: str) -> Result:
    return run("ask", str(document), "Who?", *flags)


def test_no_such_file(tmp_path: Path) -> None:
    assert_refused(ask(tmp_path / "nowhere.pdf"), "nowhere.pdf")


def test_a_directory(tmp_path: Path) -> None:
    assert_refused(ask(tmp_path), "directory")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert_refused(ask(tmp_path / "empty.txt"), "empty")


def test_a_pdf_without_text(pdf: Path) -> None:
    assert_refused(ask(pdf), "scanned", "OCR")


def test_an_encrypted_pdf(pdf: Path, tmp_path: Path) -> None:
    writer = pypdf.PdfWriter(pdf)
    writer.encrypt("secret", algorithm="AES-256")
    locked = tmp_path / "locked.pdf"
    writer.write(locked)
    assert_refused(ask(locked), "--password")
    assert_refused(ask(locked, "--password", "wrong"), "password")


def test_a_truncated_pdf(tmp_path: Path) -> None:
    whole = Path("examples/world-factbook.pdf").read_bytes()
    cut = tmp_path / "cut.pdf"
    cut.write_bytes(whole[: len(whole) // 2])
    assert_refused(ask(cut), "truncated")


def test_a_binary_called_txt(tmp_path: Path) -> None:
    path = tmp_path / "program.txt"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(200))
    assert_refused(ask(path), "program.txt")


def test_an_unwritable_cache_folder(book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("BEACON_CACHE_DIR", str(blocked / "cache"))
    assert_refused(ask(book), "cache", "BEACON_CACHE_DIR")


def test_a_full_disk(book: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = run_process("cache", "build", str(book), preexec_fn=limit)
    assert_refused(result, "cannot write")


def test_a_model_folder_without_weights(book: Path, tmp_path: Path, scripted_model: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(scripted_model, model)
    (model / "model.safetensors").unlink()
    assert_refused(ask(book, "--model", str(model)), "safetensors")


def test_no_such_model(book: Path) -> None:
    assert_refused(ask(book, "--model", "./nowhere"), "nowhere")


def test_a_beacon_of_another_base_model(book: Path, tmp_path: Path, scripted_model: Path) -> None:
    beacon = tmp_path / "beacon"
    shutil.copytree(scripted_model / "beacon", beacon)
    path = beacon / "beacon_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_fingerprint": "0" * 64, "base_name": "other"}))
    assert_refused(ask(book, "--beacon", str(beacon)), "another base model", "other")


def test_a_ratio_it_was_not_trained_for(book: Path) -> None:
    assert_misused(ask(book, "--ratio", "64"), "not trained for ratio 64", "2, 4, 8, 16, 32")
    assert_misused(ask(book, "--ratio", "some"), "--ratio is 'some'")


def test_an_empty_question(book: Path) -> None:
    assert_misused(run("ask", str(book), "  "), "question is empty")


def test_pages_that_are_not_there(book: Path) -> None:
    assert_refused(ask(book, "--pages", "9"), "--pages 9")
    assert_misused(ask(book, "--pages", "x"), "--pages", "x")


def test_a_document_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("All the king's horses and all the king's men came that day. " * 30_000)
    assert_refused(ask(path), "tokens", "--pages", "--model")
    assert_refused(ask(path, "--ratio", "2"), "ratio 2", "--pages")


def test_settings_that_are_wrong(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(os.environ["BEACON_CONFIG"])
    file.write_text("colour = 1\n")
    assert_misused(ask(book), "unknown setting 'colour'")
    file.write_text("ratio = \n")
    assert_misused(ask(book), "cannot be read")
    file.write_text("passages = 2.9\n")
    assert_misused(ask(book), "config.toml: passages is 2.9")
    file.unlink()
    assert_misused(ask(book), "config.toml cannot be read: no such file")
    file.touch()
    monkeypatch.setenv("BEACON_MAX_NEW_TOKENS", "many")
    assert_misused(ask(book), "BEACON_MAX_NEW_TOKENS is 'many'")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "BOOK", "Who?", "--passages", "-1"),
        ("ask", "BOOK", "Who?", "--max-new-tokens", "2.5"),
        ("ask", "BOOK", "Who?", "--temperature", "hot"),
        ("ask", "BOOK", "Who?", "--device", "tpu"),
        ("ask", "BOOK", "Who?", "--beacon-bits", "5"),
        ("ask", "BOOK", "Who?", "--cache-bits", "5"),
        ("ask", "BOOK", "Who?", "--pages", "9-1"),
        ("inspect", "BOOK", "--pages", "0"),
        ("cache", "list", "--sort", "colour"),
        ("cache", "prune", "--older-than", "old"),
        ("cache", "prune", "--max-size", "much"),
        ("eval", "passkey", "--ratios", "2,x"),
        ("train", "BOOK", "--out", "OUT", "--batch", "0"),
        ("train", "BOOK", "--out", "OUT", "--ratios", "two"),
    ],
)
def test_a_wrong_value_is_a_usage_error_everywhere(book: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    given = [{"BOOK": str(book), "OUT": str(tmp_path / "out")}.get(each, each) for each in arguments]
    result = run(*given)
    assert (result.code, result.out) == (2, ""), result
    assert arguments[-1] in result.err or arguments[-2] in result.err
    assert not (tmp_path / "out").exists()


def test_slips_of_the_keyboard_get_a_hint(book: Path, tmp_path: Path) -> None:
    assert_misused(
        run("ask", str(book), "who", "is", "it"), f'put the question in quotes: beacon ask {book} "who is it"'
    )
    assert_refused(ask(tmp_path / "bok.txt"), "bok.txt", "did you mean book.txt?")
    assert_refused(run("summarize", str(tmp_path / "Book.txt")), "did you mean book.txt?")
    assert_refused(run("cache", "build", str(tmp_path / "no" / "folder.txt")), "check the path")


def test_usage_errors_are_2(book: Path) -> None:
    assert run("ask", str(book)).code == 2
    assert run("ask", str(book), "Who?", "--shout").code == 2
    assert run("cache", "rm").code == 2
