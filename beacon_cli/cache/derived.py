"""Search indexes beside a cache, which are computed of it: they go with the cache, and nothing is lost with them.

One is the document's own, the other that of the last several documents of which this was the first. The manifest does
not name them, and they are neither exported nor verified: whoever reads one checks it.
"""

from contextlib import suppress
from pathlib import Path

from beacon_cli.cache.manifest import Manifest, read_manifest
from beacon_cli.durable.files import write_durably
from beacon_cli.errors import CacheError


def read_derived(folder: Path, *, several: bool) -> bytes | None:
    """A search index beside the cache in `folder` as it is now; None if it is not there or cannot be read."""
    try:
        path = _path(folder, several)
        return None if path is None else path.read_bytes()
    except (CacheError, OSError):
        return None


def write_derived(folder: Path, data: bytes, *, several: bool) -> None:
    """Keep a search index, as long as the cache is what it is now; where that cannot be done, it is not."""
    with suppress(CacheError, OSError):
        path = _path(folder, several)
        if path is not None:
            write_durably(path, data)


def index_names(manifest: Manifest) -> tuple[str, ...]:
    """What the search indexes beside a complete cache are called: its own, that of several documents."""
    if manifest.pages is None:
        return ()
    own = manifest.pages.sha256[:16]
    return f"search-{own}.bin", f"search-{own}-several.bin"


def _path(folder: Path, several: bool) -> Path | None:
    manifest = read_manifest(folder)
    names = () if manifest is None else index_names(manifest)
    return folder / names[several] if names else None
