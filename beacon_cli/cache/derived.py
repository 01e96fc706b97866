"""The search index beside a cache, which is computed of it: it goes with the cache, and nothing is lost with it.

The manifest does not name it, and it is neither exported nor verified: whoever reads it checks it.
"""

from contextlib import suppress
from pathlib import Path

from beacon_cli.cache.manifest import Manifest, read_manifest
from beacon_cli.durable.files import write_durably
from beacon_cli.errors import CacheError


def read_derived(folder: Path) -> bytes | None:
    """The search index of the cache in `folder` as it is now; None if that is not there or cannot be read."""
    try:
        path = _path(folder)
        return None if path is None else path.read_bytes()
    except (CacheError, OSError):
        return None


def write_derived(folder: Path, data: bytes) -> None:
    """Keep the search index, as long as the cache is what it is now; where that cannot be done, it is not."""
    with suppress(CacheError, OSError):
        path = _path(folder)
        if path is not None:
            write_durably(path, data)


def index_name(manifest: Manifest) -> str | None:
    """What the search index of a complete cache is called."""
    return None if manifest.pages is None else f"search-{manifest.pages.sha256[:16]}.bin"


def _path(folder: Path) -> Path | None:
    manifest = read_manifest(folder)
    name = None if manifest is None else index_name(manifest)
    return None if name is None else folder / name
