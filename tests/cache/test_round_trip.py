"""What goes into a cache comes out of it, and nothing else does."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from activation_beacon.memory import Activations
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.store import Store
from beacon_cli.errors import CacheError
from tests.cache.synthetic_cache import (
    DOCUMENT,
    IDENTITY,
    INTERVALS,
    KEY,
    PAGES,
    ROWS,
    SINK,
    STREAM,
    SUBJECT,
    TAIL,
    build,
    contents,
    entry_in,
    fill,
    rows,
    tokens,
)


def everything(entry: Entry) -> tuple[Activations, list[int]]:
    """All rows, and all token ids."""
    memory = entry.open()
    shards = list(memory)[memory.manifest.sink_rows > 0 :]
    return joined(shards), memory.tokens()


def added(seed: int = 0, intervals: int = INTERVALS) -> Activations:
    return joined([rows(seed + index) for index in range(intervals)])


def joined(parts: Sequence[Activations]) -> Activations:
    keys, values = ([getattr(part, name).float() for part in parts] for name in ("keys", "values"))
    return Activations(torch.cat(keys, 2), torch.cat(values, 2))


def test_a_cache_gives_back_what_was_added(tmp_path: Path) -> None:
    entry = build(tmp_path)
    manifest = entry.manifest()
    assert manifest is not None
    assert manifest.complete
    assert manifest.subject == SUBJECT
    assert (manifest.rows, manifest.sink_rows, manifest.tokens) == (INTERVALS * ROWS, 2, STREAM)
    memory = entry.open()
    sink, *shards = memory
    assert torch.equal(sink.keys, SINK.keys)
    assert torch.equal(sink.values, SINK.values)
    assert [shard.size for shard in shards] == [12, 12, 8]
    assert memory.tokens() == [token for index in range(INTERVALS) for token in tokens(index)] + list(TAIL)
    stored, _ = everything(entry)
    assert torch.equal(stored.keys, added().keys)
    assert torch.equal(stored.values, added().values)
    assert entry.pages() == PAGES


def test_bfloat16_and_intervals_of_different_sizes(store: Store) -> None:
    entry = store.entry(IDENTITY, DOCUMENT.sha256, DOCUMENT.selection)
    sizes = [4, 2, 8, 1]
    given = [rows(index, size, torch.bfloat16) for index, size in enumerate(sizes)]
    with entry.builder(SUBJECT) as cache:
        for index, interval in enumerate(given):
            cache.add(tokens(index), 16 // sizes[index], interval)
        cache.finish((), ())
    assert torch.equal(everything(entry)[0].keys, joined(given).keys)
    manifest = entry.manifest()
    assert manifest is not None
    assert [interval.offset for interval in manifest.intervals] == [0, 4, 6, 0]


def test_a_document_shorter_than_an_interval(store: Store) -> None:
    entry = store.entry(IDENTITY, DOCUMENT.sha256, DOCUMENT.selection)
    with entry.builder(SUBJECT) as cache:
        cache.finish([1, 2, 3], [PageText(1, "1", "short", 0, 3)])
    memory = entry.open()
    assert list(memory) == []
    assert memory.tokens() == [1, 2, 3]


def test_the_same_contents_make_the_same_bytes(tmp_path: Path) -> None:
    assert contents(build(tmp_path / "a").folder) == contents(build(tmp_path / "b").folder)


def test_what_the_caller_does_with_its_buffers_later_is_not_stored(store: Store) -> None:
    entry = store.entry(IDENTITY, DOCUMENT.sha256, DOCUMENT.selection)
    given = rows(0)
    with entry.builder(SUBJECT) as cache:
        cache.add(tokens(0), 4, given)
        given.keys.zero_()
        cache.finish((), ())
    assert torch.equal(next(iter(entry.open())).keys, rows(0).keys.half())


def test_a_build_in_progress_can_be_read_as_far_as_it_is_durable(store: Store) -> None:
    entry = entry_in(store.path)
    with entry.builder(SUBJECT) as cache:
        fill(cache, 0, 2)
        assert entry.manifest() is None
        with pytest.raises(CacheError, match="nothing of the document"):
            entry.open()
        fill(cache, 2, 7)
        stored, ids = everything(entry)
        assert torch.equal(stored.keys, added(intervals=6).keys)
        assert len(ids) == 6 * 16
        with pytest.raises(CacheError, match="not been read to its end"):
            entry.pages()


def test_an_interrupted_build_drops_what_is_not_durable_and_goes_on(tmp_path: Path) -> None:
    entry = entry_in(tmp_path / "a")
    with suppress(KeyboardInterrupt), entry.builder(SUBJECT) as cache:
        fill(cache, 0, 7)
        raise KeyboardInterrupt
    with entry.builder(SUBJECT) as cache:
        assert len(cache.manifest.intervals) == 6
        assert cache.check_token_prefix([token for index in range(INTERVALS) for token in tokens(index)])
        assert sum(rows.size for rows in cache.memory()) == 2 + 6 * ROWS
        fill(cache, 6)
        cache.finish(TAIL, PAGES)
    assert contents(entry.folder) == contents(build(tmp_path / "b").folder)


def test_a_build_that_ends_before_its_first_shard_leaves_no_folder(store: Store) -> None:
    entry = entry_in(store.path)
    with entry.builder(SUBJECT) as cache:
        fill(cache, 0, 2)
    assert not entry.folder.exists()


@pytest.mark.parametrize("reread", [[*range(40), 7, *range(41, 96)], list(range(95)), []])
def test_a_document_that_reads_differently_starts_over(store: Store, reread: list[int]) -> None:
    entry = entry_in(store.path)
    with entry.builder(SUBJECT) as cache:
        fill(cache, 0, 6)
    with entry.builder(SUBJECT) as cache:
        assert not cache.check_token_prefix(reread)
        assert cache.manifest.intervals == ()
        assert entry.manifest() is None
        fill(cache, 0, seed=50)
        cache.finish(TAIL, PAGES)
    assert torch.equal(everything(entry)[0].keys, added(50).keys)
    assert len(list(entry.folder.iterdir())) == 5


def test_a_complete_cache_is_not_built_again(tmp_path: Path) -> None:
    entry = build(tmp_path)
    with entry.builder(SUBJECT) as cache:
        assert cache.manifest.complete
        with pytest.raises(ValueError, match="complete"):
            fill(cache, 0, 1)


def test_intervals_that_fit_in_no_memory_are_refused(store: Store) -> None:
    given = rows(0)
    with entry_in(store.path).builder(SUBJECT) as cache:
        with pytest.raises(ValueError, match="no rows"):
            cache.add(tokens(0), 4, Activations(given.keys, given.values[:, :, :2]))
        with pytest.raises(ValueError, match="no rows"):
            cache.add(tokens(0), 4, Activations(given.keys[:, :, :0], given.values[:, :, :0]))
        with pytest.raises(ValueError, match="token id"):
            cache.add([-1], 4, given)
        with pytest.raises(ValueError, match="empty"):
            cache.add([], 4, given)
        cache.add(tokens(0), 4, given)
        with pytest.raises(ValueError, match="sink"):
            cache.add(tokens(1), 4, given, sink=SINK)
        with pytest.raises(ValueError, match="beyond"):
            cache.finish((), [PageText(1, "1", "", 0, 17)])


def test_a_refresh_replaces_a_cache_and_its_files(tmp_path: Path) -> None:
    entry = build(tmp_path)
    opened = entry.open()
    build(tmp_path, seed=50, refresh=True)
    assert torch.equal(everything(entry)[0].keys, added(50).keys)
    assert len(list(entry.folder.iterdir())) == 5
    with pytest.raises(CacheError, match="missing"):
        list(opened)


def test_a_refresh_leaves_what_is_being_read_in_place(tmp_path: Path) -> None:
    entry = build(tmp_path)
    with entry.in_use():
        opened = entry.open()
        build(tmp_path, seed=50, refresh=True)
        assert torch.equal(joined(list(opened)[1:]).keys, added().keys)
    build(tmp_path)
    assert len(list(entry.folder.iterdir())) == 5


def test_an_unfinished_refresh_leaves_a_complete_cache_as_it_was(tmp_path: Path) -> None:
    entry = build(tmp_path)
    before = contents(entry.folder)
    with entry.builder(SUBJECT, refresh=True) as cache:
        assert cache.manifest.intervals == ()
        fill(cache, 0, 8, seed=50)
        assert torch.equal(everything(entry)[0].keys, added().keys)
    assert contents(entry.folder) == before


def test_a_refresh_uses_nothing_of_an_unfinished_cache(tmp_path: Path) -> None:
    entry = entry_in(tmp_path)
    with entry.builder(SUBJECT) as cache:
        fill(cache, 0, 6)
    with entry.builder(SUBJECT, refresh=True) as cache:
        assert cache.manifest.intervals == ()
    assert entry.manifest() is None


def test_a_reader_whose_files_are_replaced_reads_the_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = build(tmp_path)
    old = entry.manifest()
    build(tmp_path, seed=50, refresh=True)
    seen = [old, entry.manifest()]
    monkeypatch.setattr(Entry, "manifest", lambda _: seen.pop(0))
    assert torch.equal(everything(entry)[0].keys, added(50).keys)
    assert not seen


def test_a_subject_of_another_cache_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not that of the subject"):
        store.entry(IDENTITY, DOCUMENT.sha256, "all").builder(SUBJECT)


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_nobody_else_can_read_anything_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        build(tmp_path / "cache")
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]}
    assert len(modes) == 1 + 2 + 1 + 5 + 2
    assert modes == {path: 0o700 if path.is_dir() else 0o600 for path in modes}


def test_importing_the_store_does_not_import_torch() -> None:
    code = "import sys, beacon_cli.cache.store; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_key_says_what_is_cached() -> None:
    assert SUBJECT.key == KEY == KEY.lower()
    assert len(bytes.fromhex(KEY)) == 16
