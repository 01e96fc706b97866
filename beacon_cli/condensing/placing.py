"""Several documents in one memory: each condensed by itself, then placed one after the other.

Position-free keys make that possible. The memory begins with the prompt's opening, as it is: the first token of all, to
which much of the attention goes, is there once, and the sinks of the documents' own memories are left out. Then come,
for each document, a line with its name, as it is; the memory it was condensed to; and the tokens of its unfinished
interval, condensed as far as they go (`Reader.end_interval`). Those of the last document stand before the question as
ever. So what the cache keeps of a document serves in any company.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from activation_beacon import SequenceReader
from beacon_cli.cache.pages import PageText
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.text import PAGE_BREAK
from beacon_cli.errors import ModelError
from beacon_cli.events import Condensed


@dataclass(frozen=True)
class DocumentText:
    """What a memory was made of: a document's pages, and the figures."""

    pages: list[PageText]
    summary: Condensed


class Kept(Protocol):
    """A memory, wherever it is kept. Its readers have read all finished intervals."""

    def whole(self) -> SequenceReader:
        """A reader with all of its rows; there is only one, and it begins anew each time.

        Raises:
            CacheError: if it cannot be loaded.
        """

    def parts(self, parts: Sequence[range]) -> SequenceReader:
        """A reader that has at least the rows of some parts of its tokens, to recall from.

        Raises:
            CacheError: if they cannot be loaded.
        """


class Held:
    """A memory that this process holds, in the reader that made it or loaded it."""

    def __init__(self, reader: SequenceReader) -> None:
        self._reader, self._end = reader, reader.mark()

    def whole(self) -> SequenceReader:
        self._reader.rewind(self._end)
        return self._reader

    def parts(self, parts: Sequence[range]) -> SequenceReader:
        return self.whole()


@dataclass(frozen=True)
class Placed:
    """One or several documents in one memory.

    Attributes:
        memory: of all finished intervals.
        rows: that they and the tail take.
        tail: token ids of the unfinished one, to be read before the question.
        documents: in the order of the memory.
        at_once: whether the model can read all of it before a question.
    """

    memory: Kept
    rows: int
    tail: list[int]
    documents: tuple[DocumentText, ...]
    at_once: bool = True

    @property
    def ratio(self) -> int:
        """The condensing ratio, the same for all documents."""
        return self.documents[0].summary.ratio


def name_text(document: str, *, first: bool = False) -> str:
    """What stands before a document that is one of several."""
    return f"{'' if first else PAGE_BREAK}---\n\n{document}\n\n"


def place_together(engine: Engine, ratio: int, names: Sequence[str], memories: Iterable[Placed]) -> Placed:
    """Documents' own memories, condensed at `ratio`, as one; `names` is what they are called in it.

    Raises:
        ModelError: if the model's rotary frequencies are not fixed.
    """
    if engine.source.info is not None and engine.attached.rotary.grows:
        raise ModelError(
            f"{engine.source.name} changes its rotary frequencies with the length of the text, so documents that were "
            "condensed each by itself cannot stand in one memory: ask them one at a time"
        )
    opening, reader = engine.source.frame.opening, engine.reader(ratio)
    tail, documents = list[int](), list[DocumentText]()
    for name, memory in zip(names, memories, strict=True):
        (text,) = memory.documents
        ids = engine.source.tokenizer.encode(name_text(name, first=not documents))
        _read_interval(reader, tail, ratio)
        _read_interval(reader, ids if documents else [*opening, *ids], 0)
        tail = _place(reader, memory, ratio, opening)
        documents.append(replace(text, summary=replace(text.summary, name=name)))
    return Placed(Held(reader), reader.memory.size + len(tail), tail, tuple(documents))


def _place(reader: SequenceReader, memory: Placed, ratio: int, opening: Sequence[int]) -> list[int]:
    """Place a document's memory after what `reader` has read; returns its tail."""
    other = memory.memory.whole()
    reader.condense_at(ratio)
    if not other.consumed:
        # All of the document is tail, the opening too.
        return memory.tail[len(opening) :]
    reader.place(other, ratio)
    return memory.tail


def _read_interval(reader: SequenceReader, ids: Sequence[int], ratio: int) -> None:
    """Read an interval, however short, that nothing else goes into."""
    reader.condense_at(ratio)
    reader.remember(ids)
    reader.end_interval()
