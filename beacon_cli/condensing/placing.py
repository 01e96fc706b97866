"""Several documents in one memory: each condensed by itself, then placed one after the other.

Position-free keys make that possible. The memory begins with the prompt's opening, as it is: the first token of all, to
which much of the attention goes, is there once, and the sinks of the documents' own memories are left out. Then come,
for each document, a line with its name, as it is; the memory it was condensed to; and the tokens of its unfinished
interval, condensed as far as they go (`Reader.end_interval`). Those of the last document stand before the question as
ever. So what the cache keeps of a document serves in any company.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Placed:
    """One or several documents in one memory.

    Attributes:
        reader: has read all finished intervals.
        tail: token ids of the unfinished one, to be read before the question.
        documents: in the order of the memory.
    """

    reader: SequenceReader
    tail: list[int]
    documents: tuple[DocumentText, ...]

    @property
    def rows(self) -> int:
        """Rows of memory that the documents take."""
        return self.reader.memory.size + len(self.tail)

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
    opening = engine.source.frame.opening
    together = Placed(engine.reader(ratio), [], ())
    for name, memory in zip(names, memories, strict=True):
        (text,) = memory.documents
        named = replace(text, summary=replace(text.summary, name=name))
        ids = engine.source.tokenizer.encode(name_text(name, first=not together.documents))
        tail = _place(together, memory, ratio, opening, ids)
        together = Placed(together.reader, tail, (*together.documents, named))
    return together


def _place(together: Placed, memory: Placed, ratio: int, opening: Sequence[int], name: Sequence[int]) -> list[int]:
    """Place a document's memory after `together`, with the token ids of its `name` before it; returns its tail."""
    reader, other = together.reader, memory.reader
    _read_interval(reader, together.tail, ratio)
    _read_interval(reader, name if together.documents else [*opening, *name], 0)
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
