"""Documents that grew: what is condensed of their beginning is kept, and changes nothing of the result."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.cache import builder
from tests.cli.runner import Result, run
from tests.scripted import ROW_BYTES, WINDOW
from tests.stories import story

INTERVAL_BYTES = WINDOW // 8 * ROW_BYTES


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three intervals in a shard: what is taken over is full shards and part of one."""
    monkeypatch.setattr(builder, "SHARD_BYTES", 3 * INTERVAL_BYTES)


def built(document: Path, *flags: str) -> dict[str, Any]:
    (result,) = run_well("cache", "build", str(document), "--json", "--ratio", "8", *flags).json
    assert isinstance(result, dict)
    return result


def run_well(*arguments: str) -> Result:
    result = run(*arguments)
    assert result.code == 0, result.err
    return result


def contents(cache: str) -> dict[str, Any]:
    """A cache's files, and what its manifest says apart from when and of which file."""
    manifest = json.loads((Path(cache) / "manifest.json").read_text())
    told = {
        name: manifest[name] for name in ("intervals", "shards", "intervals_per_shard", "tail", "chain", "sink_rows")
    }
    kept = [path for path in Path(cache).iterdir() if not path.name.startswith(("manifest", "search-"))]
    return told | {path.name: path.read_bytes() for path in kept}


def from_nothing(document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an empty store makes of a document."""
    with monkeypatch.context() as patch:
        patch.setenv("BEACON_CACHE_DIR", str(folder))
        return contents(built(document)["cache_path"])


def test_a_grown_document_keeps_its_intervals_and_is_what_it_would_be_from_nothing(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.txt"
    log.write_text(story(12))
    first = built(log)
    with log.open("a") as file:
        file.write("\n" + story(9))
    result = run_well("cache", "build", str(log), "--json", "--ratio", "8")
    (grown,) = result.json
    kept = grown["tokens_read"] // WINDOW * WINDOW - grown["tokens_condensed"]
    assert kept == first["tokens_condensed"] > 3 * WINDOW
    assert f"{kept:,} of its {grown['tokens_read']:,} tokens were condensed before" in result.err
    assert contents(grown["cache_path"]) == from_nothing(log, tmp_path / "other", monkeypatch)


def test_the_earlier_version_makes_room_and_comes_back_without_condensing(tmp_path: Path, cache_dir: Path) -> None:
    log = tmp_path / "log.md"
    before = story(12) + "\f"
    log.write_text(before)
    first = built(log)
    log.write_text(before + story(9))
    grown = built(log)
    assert [path.name for path in (cache_dir / "documents").iterdir()] == [Path(grown["cache_path"]).name]
    log.write_text(before)
    again = built(log)
    assert again["tokens_condensed"] == 0
    assert again["cache_path"] == first["cache_path"]
    assert Path(grown["cache_path"]).exists()


def test_a_copy_elsewhere_keeps_its_cache(tmp_path: Path, cache_dir: Path) -> None:
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text(story(12) + "\f")
    other.write_text(story(12) + "\f" + story(9))
    first, second = built(one), built(other)
    assert second["tokens_condensed"] < second["tokens_read"] - first["tokens_condensed"]
    assert len(list((cache_dir / "documents").iterdir())) == 2
    shared = [path for path in Path(first["cache_path"]).iterdir() if path.stat().st_nlink > 1]
    assert len(shared) == first["tokens_condensed"] // WINDOW // 3
    assert built(one)["tokens_condensed"] == 0


def test_more_pages_of_a_document_begin_with_those_that_are_there(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("\f".join(story(4) for _ in range(4)))
    part = built(book, "--pages", "1-3")
    whole = built(book)
    assert part["tokens_condensed"] + whole["tokens_condensed"] == whole["tokens_read"] // WINDOW * WINDOW
    assert built(book, "--pages", "1-3")["tokens_condensed"] == 0


def test_a_document_that_changed_at_its_beginning_is_condensed_anew(tmp_path: Path, cache_dir: Path) -> None:
    log = tmp_path / "log.md"
    log.write_text(story(12))
    built(log)
    log.write_text("Corrected. " + story(12))
    changed = built(log)
    assert changed["tokens_condensed"] == changed["tokens_read"] // WINDOW * WINDOW
    assert len(list((cache_dir / "documents").iterdir())) == 2


def test_another_ratio_is_another_memory_and_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_MAX_NEW_TOKENS", "7000")  # leaves room for few
    log = tmp_path / "log.md"
    log.write_text(story(8) + "\f")
    first = run_well("cache", "build", str(log), "--json").json[0]
    log.write_text(story(8) + "\f" + story(24))
    result = run_well("cache", "build", str(log), "--json")
    assert result.json[0]["ratio"] > first["ratio"]
    assert result.json[0]["tokens_condensed"] > first["tokens_condensed"]
    assert f"condensed at ratio {first['ratio']} before" in result.err


def test_a_damaged_beginning_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.md"
    log.write_text(story(12) + "\f")
    first = built(log)
    shard = min(Path(first["cache_path"]).glob("*.safetensors"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    log.write_text(story(12) + "\f" + story(9))
    grown = built(log)
    assert grown["tokens_condensed"] == grown["tokens_read"] // WINDOW * WINDOW
    assert contents(grown["cache_path"]) == from_nothing(log, tmp_path / "other", monkeypatch)


def test_without_hard_links_shards_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.md"
    log.write_text(story(12) + "\f")
    built(log)
    log.write_text(story(12) + "\f" + story(9))

    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    grown = built(log)
    assert grown["tokens_condensed"] < grown["tokens_read"] // WINDOW * WINDOW
    assert contents(grown["cache_path"]) == from_nothing(log, tmp_path / "other", monkeypatch)


def test_refresh_takes_nothing_over(tmp_path: Path) -> None:
    log = tmp_path / "log.md"
    log.write_text(story(12) + "\f")
    built(log)
    log.write_text(story(12) + "\f" + story(9))
    grown = built(log, "--refresh")
    assert grown["tokens_condensed"] == grown["tokens_read"] // WINDOW * WINDOW
