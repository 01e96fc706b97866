"""The documents that a server answers about: by name, condensed when first asked about, the latest kept in memory."""

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from beacon_cli.answering.search_file import IndexedText
from beacon_cli.documents.finding import Place
from beacon_cli.documents.raw import printable
from beacon_cli.errors import DocumentError
from beacon_cli.events import Event, IntervalDone, PageRead, Reading
from beacon_cli.library import Memory, Model
from beacon_cli.pace import ReadingPace
from beacon_cli.settings import Settings

Names = tuple[str, ...]


@dataclass(frozen=True)
class HowToRead:
    """What `Model.read` is told of all documents: the password of encrypted PDFs, and whether scanned ones get OCR."""

    password: str | None = None
    ocr: bool = False


class NotHereError(DocumentError):
    """A document that is not on the shelf, or was not read yet."""


class Shelf:
    """Names of documents, and their memories. Only these files are ever read, whatever a request says.

    Args:
        places: of the documents.
        keep: how many memories stay in memory; the one that was used longest ago goes, and comes back from the cache.

    Attributes:
        model: that reads them.
        how: they are read.
        paces: how far those are that are being read.
        on_step: is called with every step of reading, in the reading thread; what it raises ends the reading.
    """

    def __init__(
        self, model: Model, places: Sequence[Place], settings: Settings, keep: int, how: HowToRead | None = None
    ) -> None:
        self.model, self.how, self._settings, self._keep = model, how or HowToRead(), settings, keep
        self.paces: dict[Names, ReadingPace] = {}
        self.on_step: Callable[[], object] = lambda: None
        times = Counter(PurePath(place.path).name for place in places)
        self._paths = {
            printable(place.path if times[name] > 1 else name): place.path
            for place in places
            for name in (PurePath(place.path).name,)
        }
        self._memories: OrderedDict[Names, Memory] = OrderedDict()
        self._texts: dict[str, IndexedText] = {}

    @property
    def names(self) -> Names:
        """Of the documents, in their order: of files, or paths where two files have one name."""
        return tuple(self._paths)

    def check(self, names: Sequence[str]) -> Names:
        """`names`, each once.

        Raises:
            NotHereError: if one is not on the shelf.
        """
        for name in names:
            if name not in self._paths:
                raise NotHereError(f"no document is called {name!r} here; GET /v1/models lists them")
        return tuple(dict.fromkeys(names))

    def add(self, path: Path) -> None:
        """Put one more document on the shelf, under the name of its file, which none has."""
        self._paths[path.name] = str(path)

    def remove(self, name: str) -> None:
        """Take a document off, and out of memory."""
        del self._paths[name]
        self._texts.pop(name, None)
        for names in [names for names in self._memories if name in names]:
            del self._memories[names]

    def path(self, name: str) -> Path:
        """The file of a document on the shelf."""
        return Path(self._paths[name])

    def is_ready(self, names: Names) -> bool:
        """Whether these documents, together, are in memory."""
        return names in self._memories

    def text(self, name: str) -> IndexedText:
        """What was read of a document.

        Raises:
            NotHereError: if nothing was yet.
        """
        if name not in self._texts:
            raise NotHereError(f"{name} was not read yet; ask about it first")
        return self._texts[name]

    def memory(self, names: Names) -> Memory:
        """What the model makes of these documents, together; for one thread at a time.

        Raises:
            BeaconError: if they cannot be read, or do not fit.
        """
        if names in self._memories:
            self._memories.move_to_end(names)
            return self._memories[names]
        self.check(names)  # one may have been removed meanwhile
        settings = self._settings
        room = self.model.room_for(max_new_tokens=settings.max_new_tokens, passages=settings.passages)
        paths = [self._paths[name] for name in names]
        while len(self._memories) >= self._keep:  # before the new one takes room
            self._memories.popitem(last=False)
        try:
            memory = self.model.read(
                paths, ratio=settings.ratio or "auto", room=room, whole=not settings.recall,
                password=self.how.password, ocr=self.how.ocr, progress=lambda event: self._follow(names, event),
            )  # fmt: skip
        except DocumentError as error:
            said = str(error)
            for name in names:  # where a document lies is no business of who asks
                said = said.replace(printable(self._paths[name]), name)
            raise DocumentError(said) from error
        finally:
            self.paces.pop(names, None)
        self._memories[names] = memory
        called = self.called(memory)
        for text in memory.texts.documents:
            self._texts[called[text.name]] = text
        return memory

    def called(self, memory: Memory) -> dict[str, str]:
        """The name on the shelf of each document that a memory names."""
        names = {printable(os.path.abspath(path)): name for name, path in self._paths.items()}
        return {about.name: names.get(about.path or "", about.name) for about in memory.documents}

    def _follow(self, names: Names, event: Event) -> None:
        if isinstance(event, Reading):
            self.paces[names] = ReadingPace(event)
        elif isinstance(event, PageRead | IntervalDone) and names in self.paces:
            self.paces[names].update(event)
            self.on_step()
