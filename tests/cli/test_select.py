"""A model without a beacon: selection condenses, and everything that the tool does with a memory works with it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import beacon_cli
from activation_beacon.files import SCORER_FILE
from activation_beacon.ragged import RaggedMemory
from activation_beacon.scorer import load_scorer, save_scorer
from beacon_cli.cache import builder
from beacon_cli.events import IntervalDone
from tests.cli.runner import Result, assert_misused, assert_refused, run
from tests.scripted import ROW_BYTES, Script
from tests.stories import WHO_KEEPS, story

# An eighth of the positions.
CONTEXT, WINDOW = 4096, 512


@pytest.fixture(autouse=True)
def alone(
    _scripted_by_default: None, scripted_model: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> Path:
    """The default: the scripted model, without its beacon, for fewer positions."""
    folder = tmp_path_factory.mktemp("alone") / "model"
    shutil.copytree(scripted_model, folder, ignore=shutil.ignore_patterns("beacon"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    monkeypatch.setenv("BEACON_MODEL", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval in a shard."""
    monkeypatch.setattr(builder, "SHARD_BYTES", WINDOW // 4 * ROW_BYTES)


def run_well(*arguments: str | Path) -> Result:
    result = run(*map(str, arguments))
    assert result.code == 0, result.err
    return result


def ask(*arguments: str | Path) -> Any:
    return run_well("ask", *arguments, "--json").json


def contents(folder: Path) -> dict[str, Any]:
    """A cache's files, and what its manifest says apart from when."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return {name: manifest[name] for name in ("intervals", "shards", "tail", "chain", "subject")} | {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"
    }


def only_cache(root: Path) -> Path:
    (folder,) = (root / "documents").iterdir()
    return folder


@pytest.mark.parametrize("flags", ["", "--cache-bits 8", "--cache-bits 4", "--ratio 1", "--ratio 3"])
def test_a_document_is_asked_about_now_and_from_the_cache_alike(book: Path, says: Script, flags: str) -> None:
    says("Edda Voss")
    first, again, without = (ask(book, WHO_KEEPS, *flags.split(), *more) for more in ((), (), ("--no-cache",)))
    assert (first["answer"], first["supported"], first["condense"]) == ("Edda Voss", True, "select")
    assert first["tokens_condensed"] == len(range(WINDOW, first["tokens_read"] + 1, WINDOW)) * WINDOW
    assert again["tokens_condensed"] == 0
    ratio, tail = first["ratio"], first["tokens_read"] % WINDOW
    assert ratio == (int(flags[-1]) if "--ratio" in flags else 2)
    assert first["tokens_condensed_to"] == pytest.approx(first["tokens_condensed"] / ratio + tail, abs=8)
    assert says.asked[0].equals(says.asked[1])
    if "--cache-bits" not in flags:
        assert says.asked[0].equals(says.asked[2])
    assert without["cache_path"] is None


def test_an_interrupted_build_goes_on_to_the_same_bytes(
    book: Path, tmp_path: Path, cache_dir: Path, alone: Path
) -> None:
    run_well("cache", "build", book, "--ratio", "4")
    model = beacon_cli.load(str(alone), cache_dir=tmp_path / "other")

    def stop(event: object) -> None:
        if isinstance(event, IntervalDone):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            model.read(book, ratio=4, progress=stop)
    memory = model.read(book, ratio=4)
    assert memory.documents[0].condensed_now < memory.tokens - memory.tokens % WINDOW
    assert contents(only_cache(tmp_path / "other")) == contents(only_cache(cache_dir))


def test_verifying_condenses_again_and_puts_back_what_is_damaged(book: Path, cache_dir: Path) -> None:
    run_well("cache", "build", book, "--ratio", "4")
    cache = only_cache(cache_dir)
    before = contents(cache)
    assert "3 intervals condensed again; equal to the bit" in run_well("cache", "verify", "--deep").out
    shard = sorted(cache.glob("memory-*"))[1]
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    assert run("cache", "verify").code == 1
    assert_refused(run("ask", str(book), WHO_KEEPS, "--ratio", "4"), "checksum")
    run_well("cache", "verify", "--repair")
    assert contents(cache) == before


def test_a_grown_document_keeps_its_intervals(book: Path, tmp_path: Path, cache_dir: Path, monkeypatch: Any) -> None:
    first, *_ = run_well("cache", "build", book, "--ratio", "4", "--json").json
    with book.open("a") as file:
        file.write("\n" + story(9))
    second, *_ = run_well("cache", "build", book, "--ratio", "4", "--json").json
    assert 0 < second["tokens_condensed"] < first["tokens_condensed"]
    monkeypatch.setenv("BEACON_CACHE_DIR", str(tmp_path / "other"))
    run_well("cache", "build", book, "--ratio", "4")
    assert contents(only_cache(cache_dir)) == contents(only_cache(tmp_path / "other"))


def test_several_documents_stand_in_one_memory(book: Path, tmp_path: Path, says: Script) -> None:
    other = tmp_path / "other.txt"
    other.write_text(story(14))
    says("Edda Voss")
    found, again = (ask(book, other, WHO_KEEPS, "--ratio", "4") for _ in range(2))
    assert [each["document"] for each in found["documents"]] == ["book.txt", "other.txt"]
    assert found["citations"][0]["document"] == "book.txt"
    assert again["tokens_condensed"] == 0
    assert says.asked[0].equals(says.asked[1])


def test_an_export_serves_where_the_model_is(book: Path, tmp_path: Path, monkeypatch: Any) -> None:
    run_well("cache", "build", book, "--ratio", "4")
    run_well("cache", "export", book, "-o", tmp_path / "book.beacon")
    monkeypatch.setenv("BEACON_CACHE_DIR", str(tmp_path / "other"))
    run_well("cache", "import", tmp_path / "book.beacon")
    assert ask(book, WHO_KEEPS, "--ratio", "4")["tokens_condensed"] == 0


def test_beside_a_beacon_it_has_caches_of_its_own(book: Path, scripted_model: Path, says: Script) -> None:
    says("Edda Voss")
    for condense in ("select", "beacon"):
        found = ask(book, WHO_KEEPS, "--model", scripted_model, "--condense", condense, "--ratio", "4")
        assert (found["condense"], found["tokens_condensed"] > 0) == (condense, True)
    assert ask(book, WHO_KEEPS, "--model", scripted_model, "--ratio", "4")["condense"] == "beacon"
    listed = run_well("cache", "list", "--json").json
    assert sorted(Path(each["beacon"]).name for each in listed) == ["beacon", "select"]
    assert {each["window"] for each in listed} == {128, 1024}


@pytest.fixture
def fitted(tmp_path: Path, alone: Path) -> Path:
    """A folder with a scorer for the model."""
    text, out = tmp_path / "text.txt", tmp_path / "fitted"
    text.write_text(story(80))
    made = run_well("train", text, "--model", alone, "--scorer", "--out", out, "--json").json
    assert (made["path"], made["tokens"] % WINDOW > 0) == (str(out / SCORER_FILE), True)
    assert made["tokens"] > 2 * WINDOW
    return out


def test_a_scorer_condenses_in_one_pass(
    book: Path, fitted: Path, alone: Path, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("Edda Voss")
    said_again = ask(book, WHO_KEEPS, "--ratio", "4")
    monkeypatch.setattr(RaggedMemory, "scores", None)  # what saying it again would need
    first, again = (ask(book, WHO_KEEPS, "--ratio", "4", "--beacon", fitted) for _ in range(2))
    assert (first["condense"], first["answer"], again["tokens_condensed"]) == ("scorer", "Edda Voss", 0)
    assert first["tokens_condensed_to"] == said_again["tokens_condensed_to"]
    assert not says.asked[0].equals(says.asked[1])
    assert says.asked[1].equals(says.asked[2])
    listed = run_well("cache", "list", "--json").json
    assert sorted(Path(each["beacon"]).name for each in listed) == ["fitted", "select"]
    shutil.copytree(fitted, alone / "beacon")
    assert ask(book, WHO_KEEPS, "--ratio", "4")["tokens_condensed"] == 0
    assert ask(book, WHO_KEEPS, "--ratio", "4", "--condense", "select")["condense"] == "select"


def test_a_scorer_stands_beside_a_beacon(
    book: Path, tmp_path: Path, scripted_model: Path, alone: Path, cache_dir: Path
) -> None:
    both, text = tmp_path / "both", tmp_path / "text.txt"
    shutil.copytree(scripted_model, both)
    text.write_text(story(80))
    run_well("train", text, "--model", both, "--scorer", "--out", both / "beacon")
    flags = ("--model", both, "--ratio", "4")
    assert ask(book, WHO_KEEPS, *flags)["condense"] == "beacon"
    assert ask(book, WHO_KEEPS, *flags, "--condense", "scorer")["condense"] == "scorer"
    assert len(run_well("cache", "list", "--json").json) == 2
    shutil.rmtree(alone)  # by what a cache was built with, its model is found
    for cache in (cache_dir / "documents").iterdir():
        assert "equal to the bit" in run_well("cache", "verify", cache.name, "--deep").out


def test_a_scorer_serves_its_own_model_alone(book: Path, fitted: Path) -> None:
    save_scorer(fitted, replace(load_scorer(fitted), base_fingerprint="f00d", base_name="another"))
    assert_refused(run("ask", str(book), "Who?", "--beacon", str(fitted)), "fitted to another", "--condense select")
    (fitted / SCORER_FILE).write_bytes(b"nothing")
    assert_refused(run("ask", str(book), "Who?", "--beacon", str(fitted)), SCORER_FILE, "again")


def test_fitting_a_scorer_refuses_what_it_does_not_heed(book: Path, tmp_path: Path, alone: Path) -> None:
    fit = ("train", str(book), "--model", str(alone), "--out", str(tmp_path / "out"), "--scorer")
    assert_misused(run(*fit, "--steps", "3", "--fresh"), "--steps, --fresh")
    (tmp_path / "short.txt").write_text("Too short.")
    assert_refused(run("train", str(tmp_path / "short.txt"), *fit[2:]), "nothing to learn from")


def test_what_cannot_be_is_refused(book: Path, scripted_model: Path, alone: Path) -> None:
    assert_refused(run("ask", str(book), "Who?", "--condense", "beacon"), "brings no beacon", "--condense select")
    assert_misused(run("ask", str(book), "Who?", "--condense", "select", "--beacon", "x"), "--beacon x")
    assert_refused(run("ask", str(book), "Who?", "--condense", "scorer"), "brings no scorer", "--condense select")
    assert_misused(run("ask", str(book), "Who?", "--condense", "magic"), "--condense", "beacon, scorer, select")
    assert_misused(run("ask", str(book), "Who?", "--ratio", "33"), "from 1 to 32")


def test_a_long_text_is_shrunk_into_the_models_positions(tmp_path: Path, says: Script) -> None:
    """More tokens than the model has positions."""
    long = tmp_path / "long.txt"
    long.write_text(story(60, fact_at=30))
    says("Edda Voss")
    first, again = (ask(long, WHO_KEEPS) for _ in range(2))
    assert first["tokens_read"] > CONTEXT
    assert first["ratio"] == 2
    assert (again["tokens_condensed"], says.asked[0].equals(says.asked[1])) == (0, True)
