"""The parts of a memory that a question is about: those around the passages that search finds.

What else a long text left behind distracts from them, and beyond the model's context it can no longer tell places
apart. `benchmarks/recall.py` has figures. (Choosing, by the question, of what is kept of a long text is as old as
InfLLM, arXiv 2402.04617, which compares keys; here search chooses, for it has the text.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from activation_beacon import SelectingReader
from beacon_cli.answering.passages import Passage
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.placing import DocumentMemory, Held, Placed, name_text, read_interval

# So many tokens before and after a passage are recalled with it.
AROUND = 64


def recalled(engine: Engine, placed: Placed, passages: Sequence[Passage]) -> Placed:
    """Of documents in a memory what stands around passages of them; of unfinished intervals, too, uncondensed.

    All of it if there are no passages, or if a beacon condensed it, whose rows were trained to be read together. Of
    several documents, those without such a passage are left out, and the others stand after their names.
    """
    source = engine.source
    if not passages or source.info is not None:
        return placed
    mine = engine.attached.selecting_reader(placed.ratio, source.selection)
    tail, opening = list[int](), source.frame.opening
    for document in placed.documents:
        own = [passage for passage in passages if passage.document == document.summary.name]
        if not own:
            continue
        if len(placed.documents) > 1:
            name = source.tokenizer.encode(name_text(document.summary.name, first=not mine.consumed))
            read_interval(mine, [*(tail if mine.consumed else opening), *name], 0)
        spans = _joined(_spans(engine, document, own))
        theirs = document.memory.parts(spans)
        if not (isinstance(theirs, SelectingReader) and (theirs.consumed or mine.consumed)):
            return placed  # which is all in one interval
        end = theirs.consumed
        within = (range(max(span.start, theirs.sink), min(span.stop, end)) for span in spans)
        mine.recall(theirs, [span for span in within if span])
        tail = _of_tail(document.tail, end, spans, 0 if end else len(opening))
    return replace(placed, whole=Held(mine).whole, tail=tail, at_once=True)


def _of_tail(tail: Sequence[int], end: int, spans: Sequence[range], first: int) -> list[int]:
    """What of a document's tail, which begins at token `end`, stands in spans; not what stands before `first`."""
    return [token for span in spans for token in tail[max(span.start - end, first) : max(span.stop - end, 0)]]


def _spans(engine: Engine, document: DocumentMemory, passages: Sequence[Passage]) -> Iterator[range]:
    """The tokens of passages of a document, and `AROUND` of them."""
    encode, pages = engine.source.tokenizer.encode, {page.number: page for page in document.pages}
    for passage in passages:
        page = pages[passage.page]
        start = page.first_token + len(encode(page.text[: page.text.find(passage.text)]))
        yield range(start - AROUND, start + len(encode(passage.text)) + AROUND)


def _joined(spans: Iterator[range]) -> list[range]:
    """The same places in order, each once."""
    joined: list[range] = []
    for span in sorted(spans, key=lambda span: span.start):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(span.stop, joined[-1].stop))
        else:
            joined.append(span)
    return joined
