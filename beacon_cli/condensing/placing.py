"""Several documents in one memory: each condensed by itself, then placed one after the other.

Position-free keys make that possible. The memory begins with the prompt's opening, as it is: the first token of all, to
which much of the attention goes, is there once, and the sinks of the documents' own memories are left out. Then come,
for each document, a line with its name, as it is; the memory it was condensed to; and the tokens of its unfinished
interval, condensed as far as they go (`Reader.end_interval`). Those of the last document stand before the question as
ever. So what the cache keeps of a document serves in any company. (A question that recalls parts of memories places
these alone, see `answering/recall.py`: then all of them need not fit, nor be loaded.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from activation_beacon import SequenceReader
from beacon_cli.cache.pages import PageText
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.text import PAGE_BREAK
from beacon_cli.errors import ModelError
from beacon_cli.events import Condensed


class Remembered(Protocol):
    """A document's memory, wherever it is kept. Its readers have read all finished intervals."""

    def whole(self) -> SequenceReader:
        """A reader with all of its rows; there is only one, and it begins anew each time.

        Raises:
            CacheError: if it cannot be loaded.
        """

    def parts(self, parts: Sequence[range]) -> SequenceReader:
        """A reader to take rows from, which has at least those of some parts of its tokens.

        Raises:
            CacheError: if they cannot be loaded.
        """


class Held:
    """A memory that this process holds, in the reader that made it or loaded it."""

    def __init__(self, reader: SequenceReader) -> None:
        self._reader, self._end = reader, reader.mark()

    @property
    def intact(self) -> bool:
        """Whether all rows are here, see `SequenceReader.let_go`."""
        return self._reader.memory.intact

    def whole(self) -> SequenceReader:
        self._reader.rewind(self._end)
        return self._reader

    def parts(self, parts: Sequence[range]) -> SequenceReader:
        return self.whole()


@dataclass(frozen=True)
class DocumentMemory:
    """What became of a document.

    Attributes:
        pages: its text.
        summary: the figures.
        memory: of all finished intervals.
        tail: token ids of the unfinished one.
    """

    pages: Sequence[PageText]
    summary: Condensed
    memory: Remembered
    tail: list[int]

    def own_tail(self, opening: int) -> list[int]:
        """The tail without the prompt's opening, with which it begins where nothing is finished."""
        return self.tail[opening:] if len(self.tail) == self.summary.tokens else self.tail


@dataclass(frozen=True)
class Placed:
    """One or several documents in one memory.

    Attributes:
        documents: in the order of the memory.
        whole: a reader of all finished intervals; there is only one, and it begins anew each time.
        tail: token ids of the unfinished one, to be read before the question.
        at_once: whether the model can read all of it before a question.
    """

    documents: tuple[DocumentMemory, ...]
    whole: Callable[[], SequenceReader]
    tail: list[int]
    at_once: bool

    @property
    def rows(self) -> int:
        """Rows of memory that the documents take, each by itself."""
        return sum(document.summary.rows for document in self.documents)

    @property
    def ratio(self) -> int:
        """The condensing ratio, the largest of the documents' ones."""
        return max(document.summary.ratio for document in self.documents)


def place_alone(document: DocumentMemory, at_once: bool) -> Placed:
    """A document's own memory."""
    return Placed((document,), document.memory.whole, document.tail, at_once)


def name_text(document: str, *, first: bool = False) -> str:
    """What stands before a document that is one of several."""
    return f"{'' if first else PAGE_BREAK}---\n\n{document}\n\n"


def place_together(engine: Engine, ratio: int, documents: Sequence[DocumentMemory], at_once: bool) -> Placed:
    """Documents' own memories as one, which is made when it is first read.

    Args:
        ratio: at which tails are condensed.

    Raises:
        ModelError: if the model's rotary frequencies are not fixed.
    """
    if engine.source.info is not None and engine.attached.rotary.grows:
        raise ModelError(
            f"{engine.source.name} changes its rotary frequencies with the length of the text, so documents that were "
            "condensed each by itself cannot stand in one memory: ask them one at a time"
        )
    tail = documents[-1].own_tail(len(engine.source.frame.opening))
    return Placed(tuple(documents), _Together(engine, ratio, documents).whole, tail, at_once)


class _Together:
    """The memories of several documents in one."""

    def __init__(self, engine: Engine, ratio: int, documents: Sequence[DocumentMemory]) -> None:
        self._engine, self._ratio, self._documents = engine, ratio, documents

    def whole(self) -> SequenceReader:
        return self._held.whole()

    @cached_property
    def _held(self) -> Held:
        source, ratio = self._engine.source, self._ratio
        opening, reader, tail = source.frame.opening, self._engine.reader(ratio), list[int]()
        for number, document in enumerate(self._documents):
            name = source.tokenizer.encode(name_text(document.summary.name, first=not number))
            read_interval(reader, tail, ratio)
            read_interval(reader, name if number else [*opening, *name], 0)
            reader.condense_at(ratio)
            tail = document.own_tail(len(opening))
            # Not its only reader of all rows, which would stay: these are copied here.
            other = document.memory.parts([range(document.summary.tokens)])
            if other.consumed:
                reader.place(other, ratio)
        return Held(reader)


def read_interval(reader: SequenceReader, ids: Sequence[int], ratio: int) -> None:
    """Read an interval, however short, that nothing else goes into, and let it be condensed at `ratio`."""
    reader.condense_at(ratio)
    reader.remember(ids)
    reader.end_interval()
