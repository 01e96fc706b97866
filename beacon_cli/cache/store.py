"""The folder with all caches: `documents/KEY/` and `locks/KEY`."""

import errno
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import KEY_DIGITS, Identity, cache_key
from beacon_cli.cache.leftovers import tidy
from beacon_cli.cache.manifest import MANIFEST, Manifest
from beacon_cli.cache.origin import Origin
from beacon_cli.durable.files import check_private, make_private_folder, sync_path
from beacon_cli.durable.locks import alone, check_platform, no_builder
from beacon_cli.errors import CacheError

SHORTEST_PREFIX = 4
REMOVED_SUFFIX = ".removed"
IMPORT_SUFFIX = ".importing"
_KEY = re.compile(rf"[0-9a-f]{{{KEY_DIGITS}}}")
_PREFIX = re.compile(rf"[0-9a-f]{{{SHORTEST_PREFIX},{KEY_DIGITS}}}")


def key_at(root: Path, text: str) -> str | None:
    """The key of the one cache below `root` whose key begins with `text`, of 4 digits at least; None if there is none.

    Raises:
        CacheError: if there are several.
    """
    if not _PREFIX.fullmatch(text):
        return None
    found = [path.name for path in (root / "documents").glob(f"{text}*") if _KEY.fullmatch(path.name)]
    if len(found) > 1:
        raise CacheError(f"{text} is the beginning of {len(found)} keys; give more of it: {', '.join(sorted(found))}")
    return found[0] if found else None


@dataclass(frozen=True)
class Use:
    """What a cache takes, and when it was last used.

    Attributes:
        size: bytes on disk.
        last_used: when it was last built or opened, in seconds since 1970.
    """

    entry: Entry
    size: int
    last_used: float


@dataclass(frozen=True)
class Summary(Use):
    """One cache in a list.

    Attributes:
        manifest: what is durable; None if nothing is yet, or if it cannot be used.
        problem: why it cannot be used; None if it can.
        origin: where what was imported comes from; None if it was built here.
    """

    manifest: Manifest | None
    problem: str | None
    origin: Origin | None = None

    @property
    def foreign(self) -> bool:
        """Whether it was imported, and is neither proven nor signed by a trusted key."""
        return self.origin is not None and (self.manifest is None or self.origin.is_foreign(self.manifest))


def default_root() -> Path:
    """`BEACON_CACHE_DIR`, else the user's cache folder of this platform. Nothing is created."""
    named = os.environ.get("BEACON_CACHE_DIR")
    return Path(named).expanduser().absolute() if named else platformdirs.user_cache_path("beacon", appauthor=False)


class Store:
    """All caches below `root`, and how they are kept.

    Attributes:
        path: `root`.
        bits: that a number of an activation takes in caches that are built, see `settings.CACHE_BITS`.
        limit: bytes that all caches may take after a build; None for as many as there are.

    Raises:
        CacheError: if `root` cannot be created or written, if others could have written to it, or on Windows.
    """

    def __init__(self, root: Path, bits: int = 16, limit: int | None = None) -> None:
        self.path, self.bits, self.limit = root, bits, limit
        self._documents = root / "documents"
        self._locks = root / "locks"
        check_platform()
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            for folder in (root, self._documents, self._locks):
                make_private_folder(folder)
                check_private(folder)
                if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise CacheError(
                f"cannot keep caches in {root}: {error.strerror}; name another folder in BEACON_CACHE_DIR"
            ) from error

    @classmethod
    def default(cls) -> "Store":
        """The store at `default_root()`."""
        return cls(default_root())

    def entry(self, identity: Identity, document_sha256: str, selection: str) -> Entry:
        """The cache of some pages of a document under `identity`, there or not."""
        return self.entry_of_key(cache_key(identity, document_sha256, selection))

    def entry_of_key(self, key: str) -> Entry:
        """The cache with that key, there or not."""
        return Entry(self._documents / key, self._locks / key)

    def entries(self) -> list[Summary]:
        """All caches, the last used first; those that cannot be used are among them and say why."""
        return [_summary(use) for use in reversed(self.uses())]

    def uses(self) -> list[Use]:
        """What each cache takes, the one that was used longest ago first; reads no manifest."""
        keys = [path.name for path in self._documents.iterdir() if _KEY.fullmatch(path.name)]
        uses = [use for key in keys if (use := _use(self.entry_of_key(key)))]
        return sorted(uses, key=lambda use: use.last_used)

    def find(self, text: str) -> list[Summary]:
        """The caches whose key begins with `text` (4 digits at least), or whose document has that name or path."""
        path = os.path.abspath(text)
        return [summary for summary in self.entries() if _is_meant(summary, text, path)]

    def remove(self, entry: Entry) -> None:
        """Delete a cache, all or (if this is interrupted) nothing of it that could be mistaken for a cache.

        Raises:
            CacheError: if it is being built or read, or cannot be deleted.
        """
        try:
            with no_builder(entry.lock):
                self.delete(entry)
        except BlockingIOError as error:
            raise CacheError(
                f"cache {entry.key} is being built; wait until that is done, or stop it, then remove the cache"
            ) from error

    def delete(self, entry: Entry) -> None:
        """Delete a cache whose lock the caller holds.

        Raises:
            CacheError: if it is being read, or cannot be deleted.
        """
        removed = entry.folder.with_name(entry.key + REMOVED_SUFFIX)
        try:
            with alone(entry.use):
                self._delete_removed()
                if entry.folder.exists():
                    entry.folder.rename(removed)
                    # Else a power cut could bring back the old name with some of its files gone.
                    sync_path(self._documents)
            self._delete_removed()
        except BlockingIOError as error:
            raise CacheError(
                f"cache {entry.key} is being read; wait until that is done, then remove the cache"
            ) from error
        except OSError as error:
            raise CacheError(f"cannot remove {entry.folder}: {error.strerror}; check its permissions") from error
        if removed.exists():
            raise CacheError(f"cannot delete all of {removed}; check its permissions and delete it yourself")

    def sweep(self) -> None:
        """Delete what interrupted removals and imports left."""
        self._delete_removed()
        for folder in self._documents.glob(f"*{IMPORT_SUFFIX}"):
            entry = self.entry_of_key(folder.name.removesuffix(IMPORT_SUFFIX))
            # Where somebody is at it, or what is there cannot be used, it is left to the next time.
            with suppress(BlockingIOError, CacheError), no_builder(entry.lock):
                shutil.rmtree(folder, ignore_errors=True)
                tidy(entry.folder, entry.use)

    def _delete_removed(self) -> None:
        """Delete what is renamed for removal, leftovers of interrupted removals included."""
        for folder in self._documents.glob(f"*{REMOVED_SUFFIX}"):
            # Another process may be deleting the same files.
            shutil.rmtree(folder, ignore_errors=True)


def _is_meant(summary: Summary, text: str, path: str) -> bool:
    if len(text) >= SHORTEST_PREFIX and summary.entry.key.startswith(text):
        return True
    if summary.manifest is None:
        return False
    document = summary.manifest.subject.document
    return text == document.name or path == document.path


def _summary(use: Use) -> Summary:
    try:
        manifest, problem = use.entry.manifest(), None
    except CacheError as error:
        manifest, problem = None, str(error)
    return Summary(**vars(use), manifest=manifest, problem=problem, origin=use.entry.origin())


def _use(entry: Entry) -> Use | None:
    """None if the cache is being removed at this moment."""
    try:
        files = {file.name: file.stat() for file in os.scandir(entry.folder)}
        used = files.get(MANIFEST) or entry.folder.stat()
    except FileNotFoundError:
        return None
    return Use(entry, sum(stat.st_size for stat in files.values()), used.st_mtime)
