"""The folder with all caches: finding, listing, removing, waiting for each other."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beacon_cli.cache.archive import Archive, export
from beacon_cli.cache.store import Store, default_root
from beacon_cli.durable.records import seal
from beacon_cli.errors import CacheError
from tests.cache import synthetic_cache
from tests.cache.synthetic_cache import DOCUMENT, IDENTITY, KEY, SUBJECT, build, contents, entry_in

CREATED_AND_CHECKSUM = len(f'"created":"{"x" * 25}"') + len(f'"checksum":"{"x" * 64}"')

HOLD_LOCK = """
import sys, time
from pathlib import Path
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""

OPEN_UNPRIVILEGED = """
import os, sys
from pathlib import Path
from beacon_cli.errors import CacheError
from beacon_cli.cache.store import Store
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Store(Path(sys.argv[1]))
except CacheError as error:
    print(error)
"""


@contextmanager
def lock_held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lock at `path`; killed in the end."""
    with subprocess.Popen([sys.executable, "-c", HOLD_LOCK, path], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_caches_are_listed_last_used_first(store: Store) -> None:
    first = build(store.path)
    second = store.entry(IDENTITY, DOCUMENT.sha256, "all")
    second.folder.mkdir()
    os.utime(first.folder / "manifest.json", (1, 1))
    assert [summary.entry.key for summary in store.entries()] == [second.key, KEY]
    first.open()
    os.utime(second.folder, (1, 1))
    used, unfinished = store.entries()
    assert time.time() - used.last_used < 60
    assert used.problem is None
    assert used.manifest == first.manifest()
    assert used.size == sum(len(data) for data in contents(first.folder).values()) + CREATED_AND_CHECKSUM
    assert (unfinished.manifest, unfinished.problem, unfinished.size) == (None, None, 0)


def test_a_cache_that_cannot_be_used_is_listed_with_the_reason(store: Store) -> None:
    entry = build(store.path)
    (entry.folder / "manifest.json").write_text("{}")
    (summary,) = store.entries()
    assert summary.manifest is None
    assert summary.problem is not None
    assert "malformed" in summary.problem
    store.remove(summary.entry)
    assert store.entries() == []


@pytest.mark.parametrize("text", [KEY, KEY[:4], "bücher.pdf", "/books/bücher.pdf"])
def test_a_cache_is_found_by_key_or_document(store: Store, text: str) -> None:
    build(store.path)
    assert [summary.entry.key for summary in store.find(text)] == [KEY]


@pytest.mark.parametrize("text", ["", KEY[:3], "bücher", "books/bücher.pdf", KEY + "0"])
def test_nothing_else_is_found(store: Store, text: str) -> None:
    build(store.path)
    assert store.find(text) == []


def test_removing_leaves_nothing_but_the_lock_file(store: Store) -> None:
    entry = build(store.path)
    (store.path / "documents" / "0123.removed").mkdir()
    with entry.in_use(), pytest.raises(CacheError, match="is being read"):
        store.remove(entry)
    store.remove(entry)
    assert list((store.path / "documents").iterdir()) == []
    store.remove(entry)


def test_a_cache_that_is_read_can_be_replaced_by_an_import(tmp_path: Path) -> None:
    archive = tmp_path / "book.beacon"
    export(build(tmp_path / "other", seed=50), archive)
    entry = build(tmp_path / "cache")
    with entry.in_use():
        before = entry.open()
        Archive(archive).install(Store(tmp_path / "cache"), None, replace_existing=True)
        assert list(before)
    new, there = entry.manifest(), entry_in(tmp_path / "other").manifest()
    assert new is not None
    assert there is not None
    assert new.files == there.files
    assert list(entry.open())


def test_what_a_killed_import_left_beside_a_cache_goes(store: Store) -> None:
    entry = build(store.path)
    whole = contents(entry.folder)
    (store.path / "documents" / f"{KEY}.importing").mkdir()
    (entry.folder / "memory-00000-0123456789abcdef.safetensors").write_bytes(b"moved there already")
    store.sweep()
    assert contents(entry.folder) == whole
    assert list((store.path / "documents").iterdir()) == [entry.folder]


def test_who_looks_for_a_complete_cache_is_not_stopped_by_one_that_cannot_be_used(store: Store) -> None:
    entry = entry_in(store.path)
    assert entry.complete_manifest() is None
    manifest = build(store.path).complete_manifest()
    assert manifest == entry.manifest()
    assert manifest is not None
    (entry.folder / "manifest.json").write_bytes(seal(manifest.truncated(1)))
    assert entry.complete_manifest() is None
    (entry.folder / "manifest.json").write_text("{")
    assert entry.complete_manifest() is None


def test_a_cache_that_is_being_built_is_not_removed(store: Store) -> None:
    entry = build(store.path)
    with lock_held(entry.lock), pytest.raises(CacheError, match="is being built"):
        store.remove(entry)
    assert entry.open()


def test_the_lock_of_a_killed_process_is_free(store: Store) -> None:
    entry = entry_in(store.path)
    with lock_held(entry.lock) as process:
        assert not entry.builder(SUBJECT).try_lock()
        process.kill()
        process.wait()
        cache = entry.builder(SUBJECT)
        assert cache.try_lock()
        with cache:
            assert cache.try_lock()
        assert entry.builder(SUBJECT).try_lock()


def test_of_two_processes_one_builds_and_the_other_waits_and_uses_that(tmp_path: Path) -> None:
    command = [sys.executable, synthetic_cache.__file__, "build", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        waiter = entry_in(tmp_path).builder(SUBJECT)
        assert not waiter.try_lock()
        with waiter:
            assert waiter.manifest.complete
        assert builder.stdout.read() == "finished\n"


def test_the_root_is_named_by_the_environment_or_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_CACHE_DIR", str(tmp_path / "deep" / "cache"))
    assert default_root() == tmp_path / "deep" / "cache"
    assert not default_root().exists()
    assert Store.default().path.is_dir()
    monkeypatch.setenv("BEACON_CACHE_DIR", "~/caches")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / "caches"
    monkeypatch.setenv("BEACON_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert default_root() == tmp_path / "xdg" / "beacon"


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CacheError, match="name another folder in BEACON_CACHE_DIR"):
            Store(root)


def test_a_root_that_cannot_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, -1)
        os.chmod(folder, 0o555)
        for root in (Path(folder), Path(folder) / "below"):
            command = [sys.executable, "-c", OPEN_UNPRIVILEGED, root]
            message = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            assert message.startswith(f"cannot keep caches in {root}: Permission denied")
        os.chmod(folder, 0o755)
