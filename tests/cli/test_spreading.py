"""Many documents: shares of the work, documents that lie elsewhere, and a Ray cluster whose workers die."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest

from beacon_cli.console.console import Console
from beacon_cli.events import Condensed
from tests.cli.runner import run
from tests.stories import story


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.txt").write_text(f"Book {number}. {story(3 + number)}")
    return folder


def built(*arguments: str) -> list[dict[str, Any]]:
    result = run("cache", "build", *arguments, "--json", "--ratio", "8")
    assert result.code == 0, result.err
    assert isinstance(result.json, list)
    return result.json


def test_shares_are_disjoint_and_all_of_the_work(shelf: Path) -> None:
    shares = [each["document"] for number in (1, 2, 3) for each in built(str(shelf), "--shard", f"{number}/3")]
    assert sorted(shares) == [f"{number}.txt" for number in range(5)]
    assert all(each["tokens_condensed"] == 0 for each in built(str(shelf)))


@pytest.mark.parametrize("share", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_share_that_cannot_be_is_usage(shelf: Path, share: str) -> None:
    result = run("cache", "build", str(shelf), "--shard", share)
    assert result.code == 2
    assert "I/N" in result.err


def test_documents_that_lie_elsewhere_are_read_and_known_again(shelf: Path) -> None:
    system = fsspec.filesystem("memory")
    for path in shelf.iterdir():
        system.pipe(f"/books/{path.name}", path.read_bytes())
    system.pipe("/books/unreadable.xyz", b"x")
    found = built("memory://books")
    assert [each["document"] for each in found] == [f"{number}.txt" for number in range(5)]
    assert found[1]["tokens_condensed"] > 0
    assert built(str(shelf / "1.txt"))[0]["tokens_condensed"] == 0
    assert built("memory://books/1.txt")[0]["tokens_condensed"] == 0


@pytest.mark.parametrize("location", ["memory://nowhere/a.txt", "nosuch://a/b.txt"])
def test_a_location_that_cannot_be_read_is_named(location: str) -> None:
    result = run("cache", "build", location)
    assert (result.code, result.out) == (1, "")
    assert location in result.err


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two workers on this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_worker_that_is_killed_costs_nothing_but_time(
    cluster: Any, shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    (shelf / "bad.pdf").write_bytes(b"%PDF-1.4 not one")
    draw, killed = Console.draw, []

    def kill_one(self: Console, event: object) -> None:
        draw(self, event)
        if isinstance(event, Condensed) and not killed:
            workers = [
                each for each in psutil.Process().children(recursive=True) if "ray::Worker" in " ".join(each.cmdline())
            ]
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    monkeypatch.setattr(Console, "draw", kill_one)
    result = run("cache", "build", str(shelf), "--json", "--ratio", "8", "--on", "ray")
    assert result.code == 0, result.err
    assert killed
    assert sorted(each["document"] for each in result.json) == [f"{number}.txt" for number in range(5)]
    assert "left out" in result.err
    assert "bad.pdf" in result.err
    assert all(each["tokens_condensed"] == 0 for each in built(str(shelf)))
    monkeypatch.setattr(Console, "draw", draw)
    together = {path.name: path.read_bytes() for path in cache_dir.rglob("*.safetensors")}
    monkeypatch.setenv("BEACON_CACHE_DIR", str(tmp_path / "alone"))
    built(str(shelf))
    assert together == {path.name: path.read_bytes() for path in (tmp_path / "alone").rglob("*.safetensors")}
