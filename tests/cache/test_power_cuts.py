"""Only what was synced survives a power cut; whatever is left, the next build ends with the same bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from beacon_cli.cache.archive import Archive, export
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.repair import examine
from beacon_cli.cache.store import Store
from beacon_cli.errors import CacheError
from tests.cache.simulated_disk import SimulatedDisk, Tree, put_back
from tests.cache.synthetic_cache import build, contents, entry_in


def cuts(root: Path, work: Callable[[], object]) -> list[Tree]:
    """What a power cut at any moment of `work` leaves of `root`."""
    disk = SimulatedDisk(root)
    with disk.watch():
        work()
    return disk.remains


def is_whole(root: Path) -> bool:
    """Whether what its manifest names is all there, undamaged; so too if there is no manifest."""
    entry = entry_in(root)
    manifest = entry.manifest()
    return manifest is None or not list(examine(entry.folder, manifest))


def test_a_build_cut_at_any_moment_ends_with_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    remains = cuts(tmp_path / "disk", lambda: build(tmp_path / "disk" / "cache"))
    whole = contents(entry_in(tmp_path / "disk" / "cache").folder)
    assert len(remains) > 50
    durable = []
    for number, tree in enumerate(remains):
        root = tmp_path / str(number)
        put_back(tree, root)
        assert is_whole(root / "cache")
        manifest = entry_in(root / "cache").manifest()
        durable.append(len(manifest.intervals) if manifest else 0)
        assert contents(build(root / "cache").folder) == whole
    assert set(durable) == {0, 3, 6, 8}
    assert durable == sorted(durable)


def test_a_resumed_build_and_a_refresh_cut_at_any_moment(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    old = contents(build(disk).folder)
    remains = cuts(disk, lambda: build(disk, seed=50, refresh=True))
    new = contents(entry_in(disk).folder)
    assert len(remains) > 30
    for number, tree in enumerate(remains):
        root = tmp_path / str(number)
        put_back(tree, root)
        assert is_whole(root)
        assert contents(build(root).folder) in (old, new)


def activations(entry: Entry) -> dict[str, bytes]:
    manifest, files = entry.manifest(), contents(entry.folder)
    assert manifest is not None
    return {name: files[name] for name in manifest.files if name.endswith(".safetensors")}


@pytest.mark.parametrize("work", ["remove", "import", "import over"])
def test_removing_and_importing_leave_all_or_nothing(tmp_path: Path, work: str) -> None:
    disk, archive = tmp_path / "disk", tmp_path / "book.beacon"
    entry = build(disk)
    strange = build(tmp_path / "strange", seed=50)
    export(strange, archive)
    old, new = activations(entry), activations(strange)
    if work == "import":
        Store(disk).remove(entry)
    if work == "remove":
        remains = cuts(disk, lambda: Store(disk).remove(entry))
    else:
        remains = cuts(disk, lambda: Archive(archive).install(Store(disk), None, replace_existing=True))
    assert len(remains) > 2
    for number, tree in enumerate(remains):
        root = tmp_path / str(number)
        put_back(tree, root)
        assert is_whole(root)
        left = Store(root).entries()
        assert len(left) == 1 or (work != "import over" and not left)
        assert all(summary.manifest and summary.manifest.complete for summary in left)
        assert all(summary.foreign or activations(summary.entry) == old for summary in left)
        assert activations(build(root)) in (old, new)
        Store(root).sweep()
        assert len(list((root / "documents").iterdir())) == 1


def test_an_export_cut_at_any_moment_is_whole_or_not_there(tmp_path: Path) -> None:
    entry = build(tmp_path / "cache")
    (tmp_path / "disk").mkdir()
    remains = cuts(tmp_path / "disk", lambda: export(entry, tmp_path / "disk" / "book.beacon"))
    whole = (tmp_path / "disk" / "book.beacon").read_bytes()
    assert {tree.get("book.beacon") for tree in remains} == {None, whole}
    with pytest.raises(CacheError, match="cannot be read"):
        Archive(tmp_path / "nowhere.beacon")
