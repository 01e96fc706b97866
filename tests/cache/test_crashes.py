"""Whatever ends a build, the next one goes on from what was durable and ends with the same bytes."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beacon_cli.cache.archive import Archive, export
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.origin import ORIGIN, Origin
from beacon_cli.cache.repair import repairing
from beacon_cli.cache.store import Store
from beacon_cli.durable.files import write_durably
from beacon_cli.errors import CacheError
from tests.cache import synthetic_cache
from tests.cache.synthetic_cache import KEY, PAGES, Interposed, build, check_message, contents, entry_in

SOAK_KILLS = int(os.environ.get("BEACON_SOAK_KILLS", "10"))


def in_another_process(*arguments: object) -> list[str]:
    command = [sys.executable, synthetic_cache.__file__, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beacon_cli.cache.builder.SHARD_BYTES", synthetic_cache.SHARD_BYTES)
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
    kills = [int(line) for line in in_another_process("soak", tmp_path, SOAK_KILLS)]
    assert sum(kills) >= SOAK_KILLS
    for number in range(len(kills)):
        assert contents(tmp_path / str(number) / "documents" / KEY) == uninterrupted


def failure(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_build_that_any_system_call_fails_keeps_what_is_durable(
    tmp_path: Path, uninterrupted: dict[str, bytes], number: int
) -> None:
    point, finished, durable = 0, False, set()
    while not finished:
        root = tmp_path / str(point)
        with Interposed(point, failure(number)) as calls:
            try:
                build(root)
            except CacheError as error:
                check_message(error, os.strerror(number))
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
        with Interposed(point, failure(errno.EIO)) as calls:
            try:
                build(tmp_path, seed=50, refresh=True)
            except CacheError:
                seen.append(contents(entry.folder))
                list(entry.open())
                entry.pages()
        finished = calls.count <= point
        point += 1
    new = contents(entry.folder)
    assert old in seen
    assert all(manifest["manifest.json"] in (old["manifest.json"], new["manifest.json"]) for manifest in seen)


def durable_contents(entry: Entry) -> dict[str, bytes]:
    """`contents` of the files that count."""
    manifest = entry.manifest()
    assert manifest is not None
    return {n: data for n, data in contents(entry.folder).items() if n in ("manifest.json", *manifest.files)}


def test_an_import_that_any_system_call_fails_leaves_what_was_there(tmp_path: Path) -> None:
    archive = tmp_path / "book.beacon"
    export(build(tmp_path / "a", seed=50), archive)
    old = contents(build(tmp_path / "cache").folder)
    store, entry = Store(tmp_path / "cache"), entry_in(tmp_path / "cache")
    seen, point, finished = [], 0, False
    while not finished:
        build(tmp_path / "cache", refresh=True)
        with Interposed(point, failure(errno.ENOSPC)) as calls:
            try:
                Archive(archive).install(store, None, replace_existing=True)
            except CacheError as error:
                check_message(error)
        finished = calls.count <= point
        seen.append(durable_contents(entry))
        if seen[-1] != old:
            assert entry.origin() == Origin()  # from whom it comes is never lost
        point += 1
    new = seen[-1]
    assert new.keys() == contents(entry_in(tmp_path / "a").folder).keys() != old.keys()
    assert len(seen) > 30
    assert old in seen
    assert all(state in (old, new) for state in seen)
    assert contents(entry.folder).keys() == {*new, ORIGIN}
    store.sweep()
    assert list(entry.folder.parent.iterdir()) == [entry.folder]


def test_a_repair_that_any_system_call_fails_can_be_done_again(tmp_path: Path) -> None:
    entry = build(tmp_path)
    whole = contents(entry.folder)
    manifest = entry.manifest()
    assert manifest is not None
    pages = entry.folder / manifest.files[list(manifest.files)[-1]].file_name  # type: ignore[call-arg, operator]  # untyped there
    point, finished = 0, False
    while not finished:
        pages.write_bytes(b"")
        with Interposed(point, failure(errno.EIO)) as calls:
            try:
                with repairing(entry) as repair:
                    assert [damage.shard for damage in repair.damage] == [None]
                    assert repair.put_pages(PAGES)
            except CacheError as error:
                check_message(error)
        finished = calls.count <= point
        left = contents(entry.folder)
        assert left == whole or left == {**whole, pages.name: b""}
        point += 1
    assert point > 4
    assert left == whole


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EDQUOT, "make room"), (errno.EROFS, "make the folder writable"), (errno.EIO, "check that disk")],
)
def test_a_failed_write_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", failure(number))
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
        entry.pages() if "pages" in path.name else list(entry.open())
    assert contents(build(tmp_path).folder) == uninterrupted
