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
from beacon_cli.condensing.placing import Held, Placed, name_text

# So many tokens before and after a passage are recalled with it.
AROUND = 64


def recalled(engine: Engine, placed: Placed, passages: Sequence[Passage]) -> Placed:
    """Of documents in a memory what stands around passages of them, and of the unfinished interval too.

    All of it if there are no passages, or if a beacon condensed it, whose rows were trained to be read together.
    """
    if not passages or engine.source.info is not None:
        return placed
    spans = _joined(_spans(engine, placed, passages))
    reader = placed.memory.parts(spans)
    if not (isinstance(reader, SelectingReader) and reader.consumed):
        return placed
    end = reader.memory.places
    within = (range(max(span.start, reader.sink), min(span.stop, end)) for span in spans)
    mine = engine.attached.selecting_reader(placed.ratio, reader.selection)
    mine.recall(reader, [span for span in within if span])
    tail = [token for span in spans for token in placed.tail[max(span.start - end, 0) : max(span.stop - end, 0)]]
    return replace(placed, memory=Held(mine), rows=mine.memory.size + len(tail), tail=tail, at_once=True)


def _spans(engine: Engine, placed: Placed, passages: Sequence[Passage]) -> Iterator[range]:
    """The places of passages in the memory, and `AROUND` of them."""
    encode, begins = engine.source.tokenizer.encode, _beginnings(engine, placed)
    pages = {(each.summary.name, page.number): page for each in placed.documents for page in each.pages}
    for passage in passages:
        page = pages[passage.document, passage.page]
        before = encode(page.text[: page.text.find(passage.text)])
        start = begins[passage.document] + page.first_token + len(before)
        yield range(start - AROUND, start + len(encode(passage.text)) + AROUND)


def _beginnings(engine: Engine, placed: Placed) -> dict[str, int]:
    """Where in the memory each document's own tokens, which begin with the prompt's opening, would begin."""
    source = engine.source
    encode, opening = source.tokenizer.encode, len(source.frame.opening)
    begins: dict[str, int] = {}
    several, end = len(placed.documents) > 1, opening
    for document in placed.documents:
        name, tokens = document.summary.name, document.pages[-1].end_token
        if several:
            end += len(encode(name_text(name, first=not begins)))
        # Of one of several documents, what stands in the first memory of all, or in the prompt, is left out.
        begins[name] = end - (opening if not several or tokens < source.window else source.sink_size)
        end = begins[name] + tokens
    return begins


def _joined(spans: Iterator[range]) -> list[range]:
    """The same places in order, each once."""
    joined: list[range] = []
    for span in sorted(spans, key=lambda span: span.start):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(span.stop, joined[-1].stop))
        else:
            joined.append(span)
    return joined
