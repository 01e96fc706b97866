"""The documents that a server answers about: by name, condensed when first asked about, the latest kept in memory."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import PurePath

from beacon_cli.documents.finding import Place
from beacon_cli.errors import DocumentError
from beacon_cli.library import Memory, Model
from beacon_cli.settings import Settings


class Shelf:
    """Names of documents, and their memories. Only these files are ever read, whatever a request says.

    Args:
        places: of the documents.
        keep: how many memories stay in memory; the one that was used longest ago goes, and comes back from the cache.

    Attributes:
        names: of the documents, in their order: of files, or paths where two files have one name.
    """

    def __init__(self, model: Model, places: Sequence[Place], settings: Settings, keep: int) -> None:
        self._model, self._settings, self._keep = model, settings, keep
        times = Counter(PurePath(place.path).name for place in places)
        self._paths = {
            place.path if times[name] > 1 else name: place.path
            for place in places
            for name in (PurePath(place.path).name,)
        }
        self.names = tuple(self._paths)
        self._memories: OrderedDict[tuple[str, ...], Memory] = OrderedDict()

    def check(self, names: Sequence[str]) -> tuple[str, ...]:
        """`names`, each once.

        Raises:
            DocumentError: if one is not on the shelf.
        """
        for name in names:
            if name not in self._paths:
                raise DocumentError(f"no document is called {name!r} here; GET /v1/models lists them")
        return tuple(dict.fromkeys(names))

    def memory(self, names: tuple[str, ...]) -> Memory:
        """What the model makes of these documents, together; for one thread at a time.

        Raises:
            BeaconError: if they cannot be read, or do not fit.
        """
        if names in self._memories:
            self._memories.move_to_end(names)
            return self._memories[names]
        settings = self._settings
        room = self._model.room_for(max_new_tokens=settings.max_new_tokens, passages=settings.passages)
        paths = [self._paths[name] for name in names]
        while len(self._memories) >= self._keep:  # before the new one takes room
            self._memories.popitem(last=False)
        memory = self._model.read(paths, ratio=settings.ratio or "auto", room=room)
        self._memories[names] = memory
        return memory
