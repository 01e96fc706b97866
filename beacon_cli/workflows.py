"""What the tool does, as generators of events: they print nothing and know nothing of the command line."""

import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from activation_beacon.ratios import Fixed
from beacon_cli.answering.passages import PASSAGE_WORDS, cite, find_passages, split_passages
from beacon_cli.answering.prompts import question_text, summary_text
from beacon_cli.cache import Store, default_root
from beacon_cli.checkpoints.engine import Device, Engine, generate, load_engine
from beacon_cli.checkpoints.model_source import ModelSource, locate_model
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.condensing.combining import condense_together, measure_all
from beacon_cli.condensing.condense import Memory, Request, condense
from beacon_cli.documents import PageSelection, open_document
from beacon_cli.documents.finding import find_documents
from beacon_cli.documents.opening import SUFFIXES
from beacon_cli.errors import DocumentError, SettingsError
from beacon_cli.events import Answered, AnswerPiece, Event, Note, Stage

# Positions that a re-read passage may take: words are seldom more than two tokens.
PASSAGE_TOKENS = 2 * PASSAGE_WORDS


@dataclass(frozen=True)
class Options:
    """What every workflow can be told.

    Attributes:
        model, beacon, beacon_bits: see `locate_model`.
        ratio: condensing ratio; None takes the smallest that fits.
        pages: which pages to read; None reads all.
        password: of an encrypted PDF.
        use_cache: keep the memory on disk and use what is there; without it nothing is written.
        refresh: condense anew.
        max_new_tokens: longest answer.
        temperature: 0 decodes greedily.
        passages: how many passages to re-read for a question; 0 answers from the condensed memory alone.
        cache_bits, cache_limit: how caches are kept, see `Store`.
    """

    model: str
    beacon: str | None = None
    beacon_bits: int | None = None
    device: Device = "auto"
    ratio: int | None = None
    pages: PageSelection | None = None
    password: str | None = None
    use_cache: bool = True
    refresh: bool = False
    max_new_tokens: int = 256
    temperature: float = 0.0
    passages: int = 2
    cache_bits: int = 16
    cache_limit: int | None = None


def build_cache(paths: Sequence[str], options: Options) -> Iterator[Event]:
    """Condense documents into the cache, one after another; a `Condensed` event ends each.

    Args:
        paths: see `find_documents`.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    engine: Engine | None = None
    places = find_documents(paths)
    source, frame, store = yield from _prepare(options)
    for place in places:
        try:
            with open_document(place.path, password=options.password, pages=options.pages) as document:
                if engine is None:
                    engine = yield from _load(source, options)
                yield from condense(engine, frame, document, store, _request(options, 0))
        except DocumentError as error:
            if place.folder is None:
                raise
            yield Note(f"left out: {error}")


def ask(paths: Sequence[str], question: str, options: Options) -> Iterator[Event]:
    """Answer a question about one or several documents; an `Answered` event ends it.

    Args:
        paths: see `find_documents`.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    how = 'write it behind the documents: beacon ask book.pdf "who is the narrator?"'
    if not question.strip():
        raise SettingsError(f"the question is empty; {how}")
    is_document = os.sep in question or PurePath(question).suffix.lower() in SUFFIXES
    if is_document and os.path.exists(question):
        raise SettingsError(f"the question is missing, for the last argument, {question}, is a document; {how}")
    yield from _answer(paths, question.strip(), options)


def summarize(paths: Sequence[str], options: Options) -> Iterator[Event]:
    """Summarize one or several documents; an `Answered` event ends it.

    Args:
        paths: see `find_documents`.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    yield from _answer(paths, None, options)


def _prepare(options: Options) -> Generator[Event, None, tuple[ModelSource, Frame, Store | None]]:
    """What can fail before anything heavy is loaded."""
    said: list[Event] = []
    source = locate_model(options.model, options.beacon, default_root(), options.beacon_bits, progress=said.append)
    yield from said
    if options.ratio is not None:
        source.check_ratio(options.ratio)
    return (
        source,
        source.frame,
        Store.default(options.cache_bits, options.cache_limit) if options.use_cache else None,
    )


def _request(options: Options, question_tokens: int) -> Request:
    needed = question_tokens + options.passages * PASSAGE_TOKENS + options.max_new_tokens
    return Request(options.ratio, needed, options.refresh)


def _load(source: ModelSource, options: Options) -> Generator[Event, None, Engine]:
    yield Stage(f"loading {source.name}")
    engine = load_engine(source, options.device)
    if engine.note:
        yield Note(engine.note)
    return engine


def _answer(paths: Sequence[str], question: str | None, options: Options) -> Iterator[Event]:
    places = find_documents(paths)
    began = time.perf_counter()
    source, frame, store = yield from _prepare(options)
    located = time.perf_counter()
    request = _request(options, len(source.tokenizer.encode(question or "")) + len(frame.closing))
    if len(places) == 1 and places[0].folder is None:
        with open_document(places[0].path, password=options.password, pages=options.pages) as document:
            opened = time.perf_counter()
            engine = yield from _load(source, options)
            loaded = time.perf_counter()
            memory = yield from condense(engine, frame, document, store, request)
    else:
        documents = yield from measure_all(
            source, frame, places, store, request, password=options.password, pages=options.pages
        )
        opened = time.perf_counter()
        engine = yield from _load(source, options)
        loaded = time.perf_counter()
        memory = yield from condense_together(engine, frame, documents, store, request)
    # The first may include a download and a conversion.
    seconds = {"find_model": located - began, "open": opened - located, "load_model": loaded - opened}
    if question is None and source.note:
        yield Note(source.note)
    yield from answer(engine, frame, memory, question, options, seconds)


def answer(
    engine: Engine,
    frame: Frame,
    memory: Memory,
    question: str | None,
    options: Options,
    seconds: dict[str, float],
) -> Iterator[Event]:
    """Answer a question (None: summarize) from a memory, which is used up by it.

    Args:
        seconds: spent so far, by stage; goes into the `Answered` event.
    """
    began = time.perf_counter()
    tokenizer, reader, rows = engine.source.tokenizer, memory.reader, memory.rows
    texts = memory.documents if question is not None else ()
    places = [place for text in texts for place in split_passages(text.pages, text.summary.name)]
    again = find_passages(places, question, options.passages) if question is not None else []
    while True:
        if question is None:
            request = summary_text(len(memory.documents))
        else:
            request = question_text(question, [passage.text for passage in again])
        prompt = [*memory.tail, *tokenizer.encode(request), *frame.closing]
        if reader.memory.size + len(prompt) + options.max_new_tokens <= engine.source.context:
            break
        if not again:
            raise SettingsError(
                f"the question and an answer of {options.max_new_tokens} tokens do not fit behind the document in the "
                f"context of {engine.source.context:,} tokens: ask in fewer words, or lower --max-new-tokens"
            )
        again = again[1:]  # the best stands last
    if again:
        # What is read again is to be seen as it is: the interval it stands in keeps its raw activations.
        reader.planner.chooser = Fixed(0)
    logits = reader.read(prompt)
    reader.planner.chooser = Fixed(memory.ratio)
    decoder = tokenizer.stream_decoder()
    pieces: list[str] = []
    finished = "stop"
    generated = 0
    for token in generate(
        engine, reader, logits, max_new_tokens=options.max_new_tokens, temperature=options.temperature
    ):
        if token is None:
            finished = "length"
            break
        if not generated:
            seconds["first_token"] = time.perf_counter() - began
        generated += 1
        if piece := decoder.push(token):
            pieces.append(piece)
            yield AnswerPiece(piece)
    if piece := decoder.finish():
        pieces.append(piece)
        yield AnswerPiece(piece)
    seconds["answer"] = time.perf_counter() - began
    for document in memory.documents:
        for stage, spent in document.summary.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    text = "".join(pieces).strip()
    if not text:
        advice = "use" if question is None else "ask in other words, or use"
        yield Note(f"{engine.source.name} gave no answer; {advice} a larger model (--model)")
    yield Answered(
        text=text,
        citations=tuple(cite(places, question, text)) if question is not None else (),
        passages=len(again),
        generated=generated,
        finished=finished,
        documents=tuple(document.summary for document in memory.documents),
        rows=rows,
        seconds=seconds,
    )
