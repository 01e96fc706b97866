"""Several documents in one memory: each condensed by itself, then placed one behind the other.

Position-free keys make that possible. The memory begins with the prompt's opening, as it is: the first token of all, to
which much of the attention goes, is there once, and the sinks of the documents' own memories are left out. Then come,
for each document, a line with its name, as it is; the memory it was condensed to; and the tokens of its unfinished
interval, condensed as far as they go (`Reader.end_interval`). Those of the last document stand before the question as
ever. So what the cache keeps of a document serves in any company.
"""

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from activation_beacon.ratios import Fixed
from beacon_cli.cache import Store
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.condensing import budget
from beacon_cli.condensing.condense import Measured, Memory, Request, condense_measured, condense_stream, measure
from beacon_cli.documents import PageSelection, open_document
from beacon_cli.documents.finding import Place
from beacon_cli.errors import DocumentError, ModelError
from beacon_cli.events import Event, Note
from beacon_cli.quantities import counted


def name_text(document: str) -> str:
    """What stands before a document that is one of several."""
    return f"---\n\n{document}\n\n"


@dataclass(frozen=True)
class Named:
    """A document of several, and what it is called among them."""

    name: str
    measured: Measured


def measure_all(
    source: ModelSource,
    frame: Frame,
    places: Sequence[Place],
    store: Store | None,
    request: Request,
    *,
    password: str | None,
    pages: PageSelection | None,
) -> Generator[Event, None, list[Named]]:
    """Open and measure documents, each once, leaving out those found in a folder that cannot be read.

    Raises:
        DocumentError: if one that was named, or all of them, cannot be read, or if they are too long together.
        CacheError: if the cache cannot be read.
    """
    found: dict[tuple[str, str], tuple[Place, Measured]] = {}
    for place in places:
        try:
            with open_document(place.path, password=password, pages=pages) as document:
                key = (document.source.sha256, document.selection.canonical)
                if key in found:
                    yield Note(f"{place.path} is the same document as {found[key][0].path}; it is read once")
                    continue
                measured = yield from measure(source, frame, document, store, request)
                if store is not None and store.limit is not None:
                    # Making room for one document must not take away the text of another.
                    yield from measured.stream.rest
                found[key] = place, measured
        except DocumentError as error:
            if place.folder is None:
                raise
            yield Note(f"left out: {error}")
            continue
        _check_length(source, [measured for _, measured in found.values()], len(places), request)
    if not found:
        raise DocumentError(
            f"{places[0].folder}: {counted(len(places), 'document')} in this directory, and none can be read: "
            "`beacon inspect` says why"
        )
    names = Counter(measured.document.source.name for _, measured in found.values())
    return [
        Named(measured.document.source.name if names[measured.document.source.name] == 1 else place.path, measured)
        for place, measured in found.values()
    ]


def condense_together(
    engine: Engine, frame: Frame, documents: Sequence[Named], store: Store | None, request: Request
) -> Generator[Event, None, Memory]:
    """Bring documents into one memory, at the request's ratio or the smallest at which all of them fit.

    Raises:
        DocumentError: if they are too long for the model together.
        ModelError: if the model's rotary frequencies are not fixed.
        CacheError: if the cache cannot be written, read or trusted.
    """
    if len(documents) == 1:
        return (yield from condense_measured(engine, frame, documents[0].measured, store, request))
    source = engine.source
    if engine.attached.rotary.grows:
        raise ModelError(
            f"{source.name} changes its rotary frequencies with the length of the text, so documents that were "
            "condensed each by itself cannot stand in one memory: ask them one at a time"
        )
    names = [source.tokenizer.encode(name_text(document.name)) for document in documents]
    request = replace(request, needed=request.needed + len(frame.opening) + sum(map(len, names)))
    ratio = _check_length(source, [document.measured for document in documents], len(documents), request)
    together = Memory(engine.reader(ratio), [], ())
    for document, name in zip(documents, names, strict=True):
        measured = document.measured
        memory = yield from condense_stream(engine, frame, measured.document, measured.stream, store, request, ratio)
        together = _placed(together, memory, ratio, frame.opening, name)
    texts = [
        replace(text, summary=replace(text.summary, name=document.name))
        for text, document in zip(together.documents, documents, strict=True)
    ]
    return replace(together, documents=tuple(texts))


def _placed(together: Memory, memory: Memory, ratio: int, opening: Sequence[int], name: Sequence[int]) -> Memory:
    """`together` with a document's memory behind it, which stays as it is; `name`: token ids that stand before it."""
    reader, other = together.reader, memory.reader
    _read(together, together.tail, ratio)
    _read(together, name if together.documents else [*opening, *name], 0)
    reader.planner.chooser = Fixed(ratio)
    tokens, sink, size = other.planner.consumed, other.planner.sink, other.memory.size
    if not tokens:
        # All of the document is tail, the opening too.
        return Memory(reader, memory.tail[len(opening) :], (*together.documents, *memory.documents))
    reader.load(other.memory.activations(sink, size))
    intervals = tokens // reader.planner.config.window
    reader.restore(tokens=tokens, sink=0, beacons=size - sink, intervals=intervals, ratio=ratio)
    return Memory(reader, memory.tail, (*together.documents, *memory.documents))


def _read(memory: Memory, ids: Sequence[int], ratio: int) -> None:
    """Read an interval, however short, that nothing else goes into."""
    reader = memory.reader
    reader.planner.chooser = Fixed(ratio)
    for _step in reader.feed(ids):
        pass
    reader.end_interval()


def _check_length(source: ModelSource, documents: Sequence[Measured], number: int, request: Request) -> int:
    """The ratio for `documents`, which are the first of `number`.

    Raises:
        DocumentError: if they do not fit.
    """
    *before, last = [measured.tokens for measured in documents]
    ratio = request.ratio
    if ratio is None:
        ratio = budget.smallest_ratio(source, last, request.needed, before)
    if ratio is not None and budget.fits(source, last, ratio, request.needed, before):
        return ratio
    if number == 1:
        document, pages = documents[0].document, documents[0].stream.pages
        raise budget.too_long(source, document.source.name, last, request.ratio, request.needed, pages)
    raise budget.too_long_together(source, [*before, last], number, request.ratio, request.needed)
