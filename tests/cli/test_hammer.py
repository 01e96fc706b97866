"""Many processes at once on one cache, and builds killed again and again.

`BEACON_HAMMER_SECONDS` and `BEACON_SOAK_KILLS` make them longer.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from beacon_cli.cache.store import Store
from beacon_cli.durable.locks import alone
from tests.checkpoints.merged_checkpoints import V1, checkpoint
from tests.cli.conftest import story
from tests.cli.hammer import SHARD_BYTES
from tests.cli.runner import run

SECONDS = float(os.environ.get("BEACON_HAMMER_SECONDS", "3"))
KILLS = int(os.environ.get("BEACON_SOAK_KILLS", "5"))
PROCESSES = 8


def start(*arguments: object) -> list[str]:
    command = [sys.executable, "-m", "tests.cli.hammer", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def files(cache: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(cache.glob("documents/*/*")) if p.name != "manifest.json"}


def heard(asked: dict[str, Any]) -> tuple[str, str, str]:
    """The answer, where it stands, and the logits that it was made of."""
    answer = json.loads(asked["out"])
    return answer["answer"], json.dumps(answer["citations"]), asked["logits"]


def test_processes_on_one_cache_do_not_disturb_each_other(book: Path, tmp_path: Path, cache_dir: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(story(14, fact_at=11))
    quiet = {asked["command"][1]: heard(asked) for asked in map(json.loads, start("ask", book, other))}
    assert len(set(quiet.values())) == 2
    results: list[dict[str, Any]] = [json.loads(line) for line in start("hammer", SECONDS, PROCESSES, book, other)]

    assert len(results) >= PROCESSES
    for result in results:
        command, code, err = result["command"], result["code"], result["err"]
        if command[:2] == ["cache", "rm"] and code == 1:
            assert "being built" in err or "being read" in err, err
            continue
        assert code == 0, result
        if command[0] == "ask":
            assert heard(result) == quiet[command[1]]
        if command[:2] == ["cache", "verify"]:
            assert {report["state"] for report in json.loads(result["out"])} <= {"whole", "unfinished", "gone"}, result
    assert {" ".join(result["command"][: 1 + (result["command"][0] == "cache")]) for result in results} >= {
        "ask",
        "cache build",
    }

    print(Counter(result["command"][1 if result["command"][0] == "cache" else 0] for result in results))
    for lock in (cache_dir / "locks").iterdir():
        if lock.suffix == ".use":
            with alone(lock):
                pass
        else:
            with FileLock(lock, mode=0o600).acquire(timeout=0):
                pass
    Store(cache_dir).sweep()
    for folder in (cache_dir / "documents").iterdir():
        assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
    assert run("cache", "build", str(book), str(other), "--ratio", "4").code == 0
    assert run("cache", "verify", "--deep").code == 0


def test_builds_killed_at_random_end_with_the_same_bytes(tmp_path: Path, cache_dir: Path) -> None:
    book = tmp_path / "long.txt"
    book.write_text(story(40))
    kills = [int(line) for line in start("kill", KILLS, book)]
    assert sum(kills) >= KILLS
    whole = files(cache_dir / "whole")
    assert len(whole) > 5
    for number in range(len(kills)):
        assert files(cache_dir / str(number)) == whole
    print(f"{sum(kills)} kills in {len(kills)} builds")


def test_any_command_killed_at_random_leaves_what_counts_whole(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beacon_cli.cache.builder.SHARD_BYTES", SHARD_BYTES)
    book = tmp_path / "long.txt"
    book.write_text(story(40))
    killed = Counter(start("upkeep", KILLS, book))
    assert sum(killed.values()) == KILLS
    assert run("cache", "prune", "--max-size", "0").code == 0
    assert not list((cache_dir / "documents").iterdir())
    assert run("cache", "import", str(cache_dir / "whole.beacon")).code == 0
    imported = files(cache_dir)
    assert run("cache", "build", str(book), "--ratio", "4", "--refresh").code == 0
    built = files(cache_dir)
    assert {name: data for name, data in imported.items() if name in built} == built
    print(f"killed: {dict(killed)}")


def test_conversions_killed_at_random_leave_a_whole_model_or_none(tmp_path: Path, models_dir: Path) -> None:
    source = checkpoint(V1).write(tmp_path / "merged")
    killed = Counter(start("convert", KILLS, source))
    assert sum(killed.values()) == KILLS
    assert run("models", "convert", str(source), "--beacon-bits", "16").code == 0
    (folder,) = models_dir.iterdir()
    assert run("models", "rm", str(source)).code == 0
    assert not list(models_dir.iterdir()), folder
    print(f"killed: {dict(killed)}")
