"""What stopped writers have left in a cache's folder: what of it counts, and what goes."""

from pathlib import Path

from beacon_cli.cache.damage import DamageError, read_checked
from beacon_cli.cache.derived import index_names
from beacon_cli.cache.manifest import MANIFEST, Manifest, read_manifest
from beacon_cli.cache.origin import ORIGIN
from beacon_cli.durable.files import sync_path, write_error
from beacon_cli.durable.locks import alone


def trustworthy(folder: Path, found: Manifest) -> Manifest:
    """`found` itself if all its files are whole, else what remains without the damaged one and what follows it."""
    for index, (name, file) in enumerate(found.files.items()):
        try:
            read_checked(folder / name, file.size, file.sha256)
        except DamageError:
            return found.truncated(index)
    return found


def discard(folder: Path) -> None:
    """Let nothing in `folder` be durable; its files are strays then.

    Raises:
        CacheError: if that cannot be written.
    """
    try:
        if folder.exists():
            (folder / MANIFEST).unlink(missing_ok=True)
            sync_path(folder)
            (folder / ORIGIN).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error


def tidy(folder: Path, use: Path) -> None:
    """Remove files that the manifest on disk does not name, nor are computed of it, and the folder without a manifest.

    While somebody reads, files stay: what replaces them has other names, and whoever writes next tidies again.

    Args:
        use: the lock file of the cache's readers.

    Raises:
        CacheError: if they cannot be removed, or the manifest cannot be used.
    """
    try:
        with alone(use):
            _remove_strays(folder)
    except BlockingIOError:
        return
    except OSError as error:
        raise write_error(use, error) from error


def _remove_strays(folder: Path) -> None:
    found = read_manifest(folder)
    named = set() if found is None else {MANIFEST, ORIGIN, *found.files, *index_names(found)}
    try:
        if not folder.exists():
            return
        for path in folder.iterdir():
            if path.name not in named:
                path.unlink()
        if found is None:
            folder.rmdir()
    except OSError as error:
        raise write_error(folder, error) from error
