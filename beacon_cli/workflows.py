"""What the tool does, as generators of events: they print nothing and know nothing of the command line."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from activation_beacon.ratios import Fixed
from beacon_cli.condensing import DocumentMemory, Request, condense
from beacon_cli.documents import PageSelection, open_document
from beacon_cli.engine import Device, Engine, generate, load_engine
from beacon_cli.errors import SettingsError
from beacon_cli.events import Answered, AnswerPiece, Event, Note, Stage
from beacon_cli.model_source import ModelSource, find_model
from beacon_cli.passages import PASSAGE_WORDS, cite, find_passages, split_passages
from beacon_cli.prompts import SUMMARY_TEXT, Frame, chat_frame, question_text
from beacon_cli.store import Store, default_root

# Positions that a re-read passage may take: words are seldom more than two tokens.
PASSAGE_TOKENS = 2 * PASSAGE_WORDS


@dataclass(frozen=True)
class Options:
    """What every workflow can be told.

    Attributes:
        model, beacon: see `find_model`.
        ratio: condensing ratio; None takes the smallest that fits.
        pages: which pages to read; None reads all.
        password: of an encrypted PDF.
        use_cache: keep the memory on disk and use what is there; without it nothing is written.
        refresh: condense anew.
        max_new_tokens: longest answer.
        temperature: 0 decodes greedily.
        passages: how many passages to re-read for a question; 0 answers from the condensed memory alone.
    """

    model: str
    beacon: str | None = None
    device: Device = "auto"
    ratio: int | None = None
    pages: PageSelection | None = None
    password: str | None = None
    use_cache: bool = True
    refresh: bool = False
    max_new_tokens: int = 256
    temperature: float = 0.0
    passages: int = 2


def build_cache(paths: list[str], options: Options) -> Iterator[Event]:
    """Condense documents into the cache, one after another; a `Condensed` event ends each.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    engine: Engine | None = None
    source, frame, store = _prepare(options)
    for path in paths:
        with open_document(path, password=options.password, pages=options.pages) as document:
            if engine is None:
                yield Stage(f"loading {source.name}")
                engine = load_engine(source, options.device)
                if engine.note:
                    yield Note(engine.note)
            yield from condense(engine, frame, document, store, _request(options, 0))


def ask(path: str, question: str, options: Options) -> Iterator[Event]:
    """Answer a question about a document; an `Answered` event ends it.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    if not question.strip():
        raise SettingsError(
            'the question is empty; write it behind the document: beacon ask book.pdf "who is the narrator?"'
        )
    yield from _answer(path, question.strip(), options)


def summarize(path: str, options: Options) -> Iterator[Event]:
    """Summarize a document; an `Answered` event ends it.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    yield from _answer(path, None, options)


def _prepare(options: Options) -> tuple[ModelSource, Frame, Store | None]:
    """What can fail before anything heavy is loaded."""
    source = find_model(options.model, options.beacon, default_root())
    if options.ratio is not None:
        source.check_ratio(options.ratio)
    return source, chat_frame(source.tokenizer), Store.default() if options.use_cache else None


def _request(options: Options, question_tokens: int) -> Request:
    needed = question_tokens + options.passages * PASSAGE_TOKENS + options.max_new_tokens
    return Request(options.ratio, needed, options.refresh)


def _answer(path: str, question: str | None, options: Options) -> Iterator[Event]:
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    source, frame, store = _prepare(options)
    with open_document(path, password=options.password, pages=options.pages) as document:
        seconds["open"] = time.perf_counter() - began
        began = time.perf_counter()
        yield Stage(f"loading {source.name}")
        engine = load_engine(source, options.device)
        seconds["load_model"] = time.perf_counter() - began
        if engine.note:
            yield Note(engine.note)
        length = len(source.tokenizer.encode(question or "")) + len(frame.closing)
        memory = yield from condense(engine, frame, document, store, _request(options, length))
    if question is None and source.note:
        yield Note(source.note)
    yield from answer(engine, frame, memory, question, options, seconds)


def answer(
    engine: Engine,
    frame: Frame,
    memory: DocumentMemory,
    question: str | None,
    options: Options,
    seconds: dict[str, float],
) -> Iterator[Event]:
    """Answer a question (None: summarize) from a document's memory, which is used up by it.

    Args:
        seconds: spent so far, by stage; goes into the `Answered` event.
    """
    began = time.perf_counter()
    tokenizer, reader = engine.source.tokenizer, memory.reader
    places = split_passages(memory.pages) if question is not None else []
    again = find_passages(places, question, options.passages) if question is not None else []
    while True:
        request = SUMMARY_TEXT if question is None else question_text(question, [passage.text for passage in again])
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
    reader.planner.chooser = Fixed(memory.summary.ratio)
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
    text = "".join(pieces).strip()
    if not text:
        yield Note(f"{engine.source.name} gave no answer; ask in other words, or use a larger model (--model)")
    yield Answered(
        text=text,
        citations=tuple(cite(places, question, text)) if question is not None else (),
        passages=len(again),
        generated=generated,
        finished=finished,
        condensed=memory.summary,
        seconds={**seconds, **memory.summary.seconds},
    )
