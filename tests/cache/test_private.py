"""A cache that another user could have filled is refused, with the reason and what to do."""

import os
from pathlib import Path

import pytest

from beacon_cli.cache.store import Store
from beacon_cli.errors import CacheError
from tests.cache.synthetic_cache import build, check_message, entry_in

SOMEONE = 65534


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("which", [".", "documents", "locks"])
def test_a_root_that_others_can_write_is_refused(tmp_path: Path, mode: int, which: str) -> None:
    root = tmp_path / "cache"
    build(root)
    (root / which).chmod(mode)
    with pytest.raises(CacheError) as error:
        Store(root)
    check_message(error.value, "can be written by others", f"chmod 700 {(root / which).resolve()}")


def test_a_root_that_others_can_only_read_is_taken(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    build(root)
    root.chmod(0o755)
    assert Store(root).entries()[0].problem is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("which", [".", "documents"])
def test_a_root_of_somebody_else_is_refused(tmp_path: Path, which: str) -> None:
    root = tmp_path / "cache"
    build(root)
    os.chown(root / which, SOMEONE, -1)
    with pytest.raises(CacheError) as error:
        Store(root)
    check_message(error.value, "belongs to another user", str(SOMEONE), "BEACON_CACHE_DIR")


def test_a_document_that_others_can_write_is_refused(tmp_path: Path) -> None:
    entry = build(tmp_path / "cache")
    entry.folder.chmod(0o777)
    for use in (entry.manifest, entry.open, entry.pages, lambda: build(tmp_path / "cache")):
        with pytest.raises(CacheError, match="can be written by others"):
            use()  # type: ignore[operator]  # each takes none
    (summary,) = Store(tmp_path / "cache").entries()
    assert "chmod 700" in str(summary.problem)
    entry.folder.chmod(0o700)
    assert entry_in(tmp_path / "cache").manifest()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_document_of_somebody_else_is_refused(tmp_path: Path) -> None:
    entry = build(tmp_path / "cache")
    os.chown(entry.folder, SOMEONE, -1)
    with pytest.raises(CacheError, match="belongs to another user"):
        entry.open()
