"""Texts that begin alike, condensed one after another without a cache: their common beginning is condensed once."""

from collections.abc import Sequence
from typing import Any

from activation_beacon import Activations, SequenceReader
from beacon_cli.cache.growing import new_reader
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.settings import DEFAULTS


class Stem:
    """One reader for all of them, rewound to where a text parts from the one before: that one's memory ends with it."""

    def __init__(self) -> None:
        self._reader: SequenceReader | None = None
        self._ratio: int | None = None
        self._ids: list[int] = []  # of the whole intervals
        self._marks: list[Any] = []  # before the first of them, and after each

    def needs_more(self, ids: Sequence[int]) -> bool:
        """Whether more of a text must be read before it can be compared with the one before."""
        return len(ids) < len(self._ids)

    def reader(self, engine: Engine, ratio: int, ids: Sequence[int]) -> SequenceReader:
        """A reader that has read the whole intervals with which the text before began as `ids` do."""
        if self._reader is None or self._ratio != ratio:
            self._reader, self._ratio = new_reader(engine, ratio, DEFAULTS.cache_bits), ratio
            self._ids, self._marks = [], [self._reader.mark()]
        pairs = zip(self._ids, ids, strict=False)
        alike = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(self._ids), len(ids)))
        shared = alike // self._reader.window
        del self._ids[shared * self._reader.window :], self._marks[shared + 1 :]
        self._reader.rewind(self._marks[-1])
        return self._reader

    def add(self, ids: Sequence[int], ratio: int, rows: Activations, sink: Activations | None) -> None:
        """Remember where the reader is: it has condensed one more interval. As `Builder.add`, which keeps its rows."""
        if self._reader is not None:
            self._ids += ids
            self._marks.append(self._reader.mark())
