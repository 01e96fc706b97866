"""File systems that know no locks (some FUSE, NFS and WSL mounts): what is there is read, nothing is written."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tests.cli.runner import assert_refused, run

QUESTION = ("Who keeps the lighthouse?", "--max-new-tokens", "4", "--json")


def kept(cache_dir: Path) -> dict[Path, bytes]:
    """All that is condensed; a search index is written whole or not at all, and needs no lock."""
    files = [path for path in cache_dir.rglob("*") if path.is_file() and path.parent.name != "locks"]
    return {path: path.read_bytes() for path in files if not path.name.startswith("search-")}


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_nothing_is_built_and_what_is_there_is_read(
    book: Path, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert run("cache", "build", str(book)).code == 0
    before = kept(cache_dir)
    other = tmp_path / "other.txt"
    other.write_text("Another one. " + book.read_text())

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert_refused(run("cache", "build", str(other), "-q"), "has no locks", "BEACON_CACHE_DIR")
    assert_refused(run("cache", "rm", "--all"), "has no locks")
    assert run("ask", str(other), *QUESTION, "--no-cache").code == 0
    result = run("ask", str(book), *QUESTION)
    assert (result.code, result.json["tokens_condensed"]) == (0, 0)
    assert kept(cache_dir) == before
