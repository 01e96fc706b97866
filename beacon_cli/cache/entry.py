"""The cache of one document as a person sees it: what is in it, its memory, its pages, the right to write it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from beacon_cli.cache.builder import Builder
from beacon_cli.cache.damage import DamageError
from beacon_cli.cache.identity import Subject
from beacon_cli.cache.manifest import MANIFEST, Manifest, read_manifest
from beacon_cli.cache.origin import ORIGIN, Origin, read_origin
from beacon_cli.cache.pages import PageText, read_pages
from beacon_cli.durable.files import write_durably, write_error
from beacon_cli.durable.locks import shared
from beacon_cli.durable.records import seal
from beacon_cli.errors import CacheError

if TYPE_CHECKING:
    import torch

    from beacon_cli.cache.loading import StoredMemory

Read = TypeVar("Read")
USE_SUFFIX = ".use"


class Entry:
    """The cache of some pages of one document under one identity, whether there is anything in it yet or not.

    Reading waits for no builder: a reader sees what is durable, and a refresh that replaces it meanwhile is noticed.
    Within `in_use`, what was opened can be read to its end.

    Attributes:
        key: its name, see `cache_key`.
        folder: where it is.
        lock, use: the lock files of its builders and of its readers, see `locks`. They stand outside of the folder and
            are never deleted, so that removing the folder cannot leave two processes with two locks.
    """

    def __init__(self, folder: Path, lock: Path) -> None:
        self.key = folder.name
        self.folder = folder
        self.lock = lock
        self.use = lock.with_name(lock.name + USE_SUFFIX)

    def manifest(self) -> Manifest | None:
        """What is durable at this moment; None if nothing is.

        Raises:
            CacheError: if it cannot be read or is malformed.
        """
        return read_manifest(self.folder)

    def complete_manifest(self) -> Manifest | None:
        """What is durable of a whole document; None if that is not there, or cannot be used.

        For those who look into several caches for one that serves: a damaged one must not keep them from the others.
        """
        try:
            return self.finished_manifest()
        except CacheError:
            return None

    def finished_manifest(self) -> Manifest:
        """What is durable of a whole document.

        Raises:
            CacheError: if it is not finished, cannot be read or is malformed.
        """
        manifest = self.manifest()
        if manifest is None or not manifest.complete:
            raise CacheError(
                f"cache {self.key} is not finished; finish it with `beacon cache build` and its document first"
            )
        return manifest

    def origin(self) -> Origin | None:
        """Where what was imported comes from, and what of it is proven; None if it was built here.

        To be asked after the manifest that it is to say something of.
        """
        return read_origin(self.folder)

    def prove(self, manifest: Manifest, *, text: bool = False, activations: bool = False) -> None:
        """Note what of the complete cache that has this `manifest` was proven to be what it says it is, see `origin`.

        Nothing is noted of a cache that was built here.

        Raises:
            CacheError: if that cannot be written.
        """
        origin, chain = self.origin(), manifest.chain
        if origin is not None and chain is not None:
            changes = ({"text": chain} if text else {}) | ({"activations": chain} if activations else {})
            write_durably(self.folder / ORIGIN, seal(replace(origin, **changes)))

    def open(self, device: "str | torch.device" = "cpu") -> "StoredMemory":
        """The condensed memory, complete or as far as it goes, to be checked as it is read; counts as a use.

        Raises:
            CacheError: if there is none, or files are missing or cut off.
        """
        from beacon_cli.cache.loading import StoredMemory  # noqa: PLC0415  imports torch

        memory = self._read(lambda manifest: StoredMemory(self.folder, manifest, device))
        self.count_use()
        return memory

    def count_use(self) -> None:
        """Note that it was used now."""
        with suppress(OSError):
            os.utime(self.folder / MANIFEST)

    def pages(self) -> tuple[PageText, ...]:
        """The texts of the pages.

        Raises:
            CacheError: if the cache is not complete, or damaged.
        """
        return self._read(lambda manifest: read_pages(self.folder, manifest))

    def builder(self, subject: Subject, *, refresh: bool = False) -> Builder:
        """The writer of this cache, to be used as a context; see there.

        Args:
            subject: what is to be condensed; its key is this entry's.
            refresh: use nothing of what is there.
        """
        if subject.key != self.key:
            raise ValueError(f"cache {self.key} is not that of the subject, {subject.key}")
        return Builder(self.folder, self.lock, self.use, subject, refresh)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Meanwhile, no file of the cache is deleted, by whomever; never wait for a builder within this.

        Raises:
            CacheError: if that cannot be arranged.
        """
        with ExitStack() as held:
            try:
                held.enter_context(shared(self.use))
            except OSError as error:
                raise write_error(self.use, error) from error
            yield

    def _read(self, read: Callable[[Manifest], Read]) -> Read:
        """`read` what is durable; once more if that failed because another process replaced it."""
        before = self._durable()
        try:
            return read(before)
        except CacheError:
            after = self._durable()
            if after.files == before.files:
                raise
        return read(after)

    def _durable(self) -> Manifest:
        manifest = self.manifest()
        if manifest is None:
            raise DamageError(self.folder, "nothing of the document is condensed yet")
        return manifest
