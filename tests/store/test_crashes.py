"""Whatever ends a build, the next one goes on from what was durable and ends with the same bytes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beacon_cli.errors import CacheError
from beacon_cli.store.files import write_durably
from tests.store import synthetic_cache
from tests.store.synthetic_cache import KEY, Interposed, build, check_message, contents, entry_in


def in_another_process(*arguments: object) -> list[str]:
    command = [sys.executable, synthetic_cache.__file__, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beacon_cli.store.builder.SHARD_BYTES", synthetic_cache.SHARD_BYTES)
        return contents(build(tmp_path_factory.mktemp("whole")).folder)


def test_a_build_killed_at_any_system_call_ends_with_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    durable = [int(line) for line in in_another_process("kill", tmp_path)]
    assert len(durable) > 30
    assert durable == sorted(durable)
    assert set(durable) == {0, 3, 6, 8}
    for point in range(len(durable)):
        assert contents(tmp_path / str(point) / "documents" / KEY) == uninterrupted


def test_a_build_killed_again_and_again_ends_with_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    assert len(in_another_process("soak", tmp_path)) >= 10
    for seed in range(5):
        assert contents(tmp_path / str(seed) / "documents" / KEY) == uninterrupted


def fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_build_that_any_system_call_fails_keeps_what_is_durable(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    point, finished, durable = 0, False, set()
    while not finished:
        root = tmp_path / str(point)
        with Interposed(point, fail) as calls:
            try:
                build(root)
            except CacheError as error:
                check_message(error, os.strerror(errno.ENOSPC))
        finished = calls.count <= point
        if not finished and root.exists():
            manifest = entry_in(root).manifest()
            durable.add(len(manifest.intervals) if manifest else 0)
            assert not list(entry_in(root).folder.glob("*.tmp"))
        assert contents(build(root).folder) == uninterrupted
        point += 1
    assert durable == {0, 3, 6, 8}


def test_a_refresh_that_any_system_call_fails_leaves_a_whole_cache(tmp_path: Path) -> None:
    old = contents(build(tmp_path).folder)
    entry = entry_in(tmp_path)
    seen, finished, point = [], False, 0
    while not finished:
        build(tmp_path, refresh=True)
        with Interposed(point, fail) as calls:
            try:
                build(tmp_path, seed=50, refresh=True)
            except CacheError:
                seen.append(contents(entry.folder))
                entry.open()
                entry.pages()
        finished = calls.count <= point
        point += 1
    new = contents(entry.folder)
    assert old in seen
    assert all(manifest["manifest.json"] in (old["manifest.json"], new["manifest.json"]) for manifest in seen)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EDQUOT, "make room"), (errno.EROFS, "make the folder writable"), (errno.EIO, "check that disk")],
)
def test_a_failed_write_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(CacheError, match=advice) as error:
        write_durably(tmp_path / "file", b"new")
    check_message(error.value, os.strerror(number), str(tmp_path))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_disk_that_takes_no_more_bytes(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    (message,) = in_another_process("limited", tmp_path)
    assert message.startswith("cannot write")
    assert "make room and run the same command again" in message
    assert not entry_in(tmp_path).folder.exists()
    assert contents(build(tmp_path).folder) == uninterrupted


@pytest.mark.parametrize("victim", range(4))
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_file_is_refused_and_built_again(
    tmp_path: Path, uninterrupted: dict[str, bytes], victim: int, harm: str
) -> None:
    entry = build(tmp_path)
    manifest = entry.manifest()
    assert manifest is not None
    path = entry.folder / list(manifest.files)[victim]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(data if harm == "flip" else data[:-1])
    with pytest.raises(CacheError, match=rf"{path.name}.*--refresh.*beacon cache rm {KEY}"):
        entry.pages() if "pages" in path.name else entry.open()
    assert contents(build(tmp_path).folder) == uninterrupted
