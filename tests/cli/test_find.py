"""`beacon find`: ranked places, without a model."""

import subprocess
import sys
from pathlib import Path

from tests.cli.runner import Result, assert_misused, assert_refused, run
from tests.console.terminal import beacon, run_in_terminal
from tests.documents.pdf_samples import pdf
from tests.stories import FACT, WHO_KEEPS

HOSTILE = "\x1b]0;owned\x07The \x1b[31mlighthouse\x1b[0m of <script>alert(1)</script> burned.\x9b2J"


def find(*arguments: str) -> Result:
    result = run("find", *arguments)
    assert result.code == 0, result.err
    return result


def test_the_best_place_comes_first(book: Path) -> None:
    result = find(str(book), WHO_KEEPS)
    assert result.out.startswith("1. p. 1\n")
    assert FACT in result.out.split("\n\n2. ")[0]
    assert find(str(book), WHO_KEEPS, "-n", "1").out.count("p. ") == 1


def test_json_has_places_and_what_is_marked_in_them(book: Path) -> None:
    found = find(str(book), "keepers of lighthouses", "--json").json
    best = found["places"][0]
    assert (best["document"], best["page"], FACT in best["text"]) == ("book.txt", 1, True)
    assert [best["text"][first:end] for first, end in best["marked"]] == ["keeper", "lighthouse"]


def test_nothing_is_found_and_said(book: Path) -> None:
    result = find(str(book), "Xanthippe")
    assert result.out == ""
    assert "none of these words" in result.err


def test_no_model_and_no_torch_are_loaded(book: Path) -> None:
    code = (
        "import sys\nfrom beacon_cli.app import main\ntry:\n    main()\nexcept SystemExit as stop:\n"
        "    assert not stop.code\nassert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, "find", str(book), "mill"], check=True, capture_output=True)


def test_the_text_of_a_condensed_document_is_taken_from_its_cache(book: Path, cache_dir: Path) -> None:
    before = find(str(book), WHO_KEEPS).out
    assert run("ask", str(book), WHO_KEEPS).code == 0
    (kept,) = cache_dir.glob("documents/*/search-*.bin")
    assert find(str(book), WHO_KEEPS).out == before
    # One that is damaged is made anew.
    damaged = kept.read_bytes()[:-1] + b"x"
    kept.write_bytes(damaged)
    assert find(str(book), WHO_KEEPS).out == before
    assert kept.read_bytes() != damaged
    assert run("cache", "verify").code == 0
    assert run("cache", "rm", str(book)).code == 0
    assert not list(cache_dir.glob("documents/*"))


def test_the_index_stays_when_the_cache_is_tidied(book: Path, cache_dir: Path) -> None:
    assert run("ask", str(book), WHO_KEEPS).code == 0
    (kept,) = cache_dir.glob("documents/*/search-*.bin")
    assert run("ask", str(book), WHO_KEEPS, "--refresh").code == 0
    assert kept.exists()


def test_the_index_of_several_is_kept_with_the_first_of_them(book: Path, tmp_path: Path, cache_dir: Path) -> None:
    other = tmp_path / "ferry.txt"
    other.write_text("Edda Voss leaves at nine.")
    assert run("ask", str(book), str(other), WHO_KEEPS).code == 0
    (kept,) = cache_dir.glob("documents/*/search-*-several.bin")
    made, before = kept.stat().st_ino, find(str(book), str(other), "ferry").out
    assert kept.stat().st_ino == made
    # By its name alone is it found, so that it counts what it is called.
    assert before.startswith("1. ferry.txt")
    renamed = other.rename(tmp_path / "mill.txt")
    assert "ferry" not in find(str(book), str(renamed), "ferry").out
    assert kept.stat().st_ino != made
    # Asked for again, the first of them has its own beside it.
    assert find(str(book), WHO_KEEPS).out.startswith("1. p. 1")
    assert run("cache", "verify").code == 0
    assert run("cache", "rm", str(book)).code == 0
    assert not kept.exists()


def test_several_documents_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The ferry leaves at nine.")
    (tmp_path / "b.txt").write_text("The train leaves at ten.")
    assert find(str(tmp_path), "ferry").out == "1. a.txt, p. 1\nThe ferry leaves at nine.\n"


def test_a_page_is_a_link_on_a_terminal_only(tmp_path: Path) -> None:
    path = tmp_path / "a b#1.pdf"
    path.write_bytes(pdf(["Nothing here.", "The ferry leaves at nine."]))
    link = (tmp_path / "a%20b%231.pdf").as_posix() + "#page=2"
    code, shown = run_in_terminal(beacon("find", path, "ferry"), 80)
    assert code == 0
    assert f";file://{link}\x1b\\p. 2\x1b]8;;" in shown
    assert find(str(path), "ferry").out.startswith("1. p. 2\n")


def test_nothing_in_a_document_reaches_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(HOSTILE)
    for flags in ([], ["--json"]):
        result = find(str(path), "lighthouse", *flags)
        assert not {"\x1b", "\x9b", "\x07"} & set(result.out + result.err)


def test_what_is_missing_is_said(book: Path) -> None:
    assert_misused(run("find", str(book), " "), "the words are empty")
    assert_refused(run("find", str(book) + "x", "mill"), "book.txtx")
    assert run("find", "mill").code == 2
