"""Files beside a cache that are computed of it: they go with it, and nothing is lost with them.

The manifest does not name them, and they are neither exported nor verified: whoever reads one checks it.
"""

from contextlib import suppress
from pathlib import Path

from beacon_cli.cache.manifest import Manifest, read_manifest
from beacon_cli.durable.files import write_durably
from beacon_cli.errors import CacheError

KINDS = ("search",)


def read_derived(folder: Path, kind: str) -> bytes | None:
    """What was computed of the cache in `folder` as it is now; None if that is not there or cannot be read."""
    try:
        path = _path(folder, kind)
        return None if path is None else path.read_bytes()
    except (CacheError, OSError):
        return None


def write_derived(folder: Path, kind: str, data: bytes) -> None:
    """Keep what was computed, as long as the cache is what it is now; where that cannot be done, it is not."""
    with suppress(CacheError, OSError):
        path = _path(folder, kind)
        if path is not None:
            write_durably(path, data)


def derived_names(manifest: Manifest) -> set[str]:
    """What files that belong to the cache may be called."""
    if manifest.pages is None:
        return set()
    return {f"{kind}-{manifest.pages.sha256[:16]}.bin" for kind in KINDS}


def _path(folder: Path, kind: str) -> Path | None:
    manifest = read_manifest(folder)
    if manifest is None or manifest.pages is None:
        return None
    return folder / f"{kind}-{manifest.pages.sha256[:16]}.bin"
