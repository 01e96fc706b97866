"""Documents that are dropped on the page: kept in a folder of the user's own until they are removed."""

import asyncio
import filecmp
import itertools
import os
import re
import time
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from beacon_cli.cache.store import Store
from beacon_cli.documents import PageSelection, open_document
from beacon_cli.documents.finding import Place, files_in
from beacon_cli.documents.opening import SUFFIXES
from beacon_cli.documents.raw import printable
from beacon_cli.durable.files import make_private_folder
from beacon_cli.errors import DocumentError
from beacon_cli.quantities import format_size
from beacon_cli.serving.shelf import HowToRead, Shelf

_PART = ".part-"
_PART_LASTS = 24 * 3600  # seconds, after which whoever was writing it is gone
# Bytes of a file's name; file systems take 255, of which some stay for a number.
_LONGEST_NAME = 200


class Uploads:
    """A folder of documents, see above.

    Args:
        most: bytes of a document; 0 takes none.

    Raises:
        DocumentError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        if not most:
            return
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            make_private_folder(folder)
            for path in folder.glob(f"{_PART}*"):  # of a server that was killed
                if path.stat().st_mtime < time.time() - _PART_LASTS:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise DocumentError(
                f"cannot keep documents in {folder}: {error.strerror}; name another folder in BEACON_STATE_DIR, or "
                "take none with --upload-limit 0"
            ) from error

    def places(self) -> list[Place]:
        """What was dropped before."""
        if not self.most:
            return []
        return [Place(path, folder=str(self.folder)) for path in files_in(str(self.folder), SUFFIXES)]

    def holds(self, path: Path) -> bool:
        """Whether this document lies here."""
        return path.parent == self.folder

    async def add(self, name: str, data: AsyncIterable[bytes], shelf: Shelf) -> str:
        """Put a document that can be read on the shelf; returns what it is called there.

        Args:
            name: what its owner calls it; no more than the last part is used, with a number if another one has it.

        Raises:
            DocumentError: if it is too large, cannot be read, or cannot be kept.
        """
        called = file_name(name)
        try:
            with NamedTemporaryFile(dir=self.folder, prefix=_PART, suffix=Path(called).suffix) as file:
                size = 0
                async for piece in data:
                    size += len(piece)
                    if size > self.most:
                        raise DocumentError(
                            f"{called}: has more than {format_size(self.most)}; start the server with a larger "
                            "--upload-limit, or name the file to it"
                        )
                    file.write(piece)
                file.flush()
                await asyncio.to_thread(_check, file.name, called, shelf.how)
                return self._keep(Path(file.name), called, shelf)
        except OSError as error:
            raise DocumentError(f"{called}: cannot be kept ({error.strerror}); is the disk full?") from error

    def remove(self, name: str, shelf: Shelf) -> None:
        """Take a document that lies here off the shelf, with its file and all that it was condensed to.

        Raises:
            CacheError: if another process is reading or building that.
        """
        path = shelf.path(name)
        shelf.remove(name)
        store = Store.default()
        for summary in store.entries():
            if summary.manifest is not None and summary.manifest.subject.document.path == str(path):
                store.remove(summary.entry)
        path.unlink(missing_ok=True)

    def _keep(self, written: Path, called: str, shelf: Shelf) -> str:
        name = called
        for number in itertools.count(2):
            if name in shelf.names:
                if filecmp.cmp(written, shelf.path(name), shallow=False):
                    return name  # the same document, dropped once more
            else:
                with suppress(FileExistsError):
                    os.link(written, self.folder / name)
                    shelf.add(self.folder / name)
                    return name
            name = f"{Path(called).stem} ({number}){Path(called).suffix}"
        raise AssertionError("numbers do not end")


def file_name(name: str) -> str:
    """A name for a file out of whatever somebody calls it: one part, nothing hidden, nothing that does not print."""
    last = printable(re.split(r"[/\\]", name)[-1].replace("\0", "")).strip().lstrip(".").strip() or "document"
    stem, suffix = Path(last).stem, Path(last).suffix
    room = _LONGEST_NAME - len(suffix.encode())
    return stem.encode()[: max(room, 0)].decode("utf-8", "ignore") + suffix if room > 0 else "document"


def _check(path: str, called: str, how: HowToRead) -> None:
    """Refuse what cannot be read, as any document is refused, before it is kept."""
    if Path(called).suffix.lower() not in SUFFIXES:
        raise DocumentError(
            f"{called}: has none of the endings {', '.join(sorted(SUFFIXES))}; give it that of its kind"
        )
    try:
        with open_document(path, password=how.password, pages=replace(PageSelection.all(), ocr=how.ocr)):
            pass
    except DocumentError as error:
        raise DocumentError(str(error).replace(path, called)) from error
