"""The public API: a model reads documents into a memory, and the memory answers (see `docs/api.md`)."""

import time
import weakref
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Literal

from beacon_cli.answering.answer import Answer, Outcome
from beacon_cli.answering.asking import LEAST_AGAIN, PASSAGE_TOKENS, answer
from beacon_cli.answering.chat import Chat
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.prompts import question_text, template_for
from beacon_cli.answering.request import Decoding, Turn
from beacon_cli.answering.search_file import IndexedText, keep_index
from beacon_cli.answering.texts import Texts
from beacon_cli.cache.store import Store, default_root, key_at
from beacon_cli.checkpoints.engine import Engine, load_engine
from beacon_cli.checkpoints.model_source import ModelSource, locate_model
from beacon_cli.condensing.condenser import Condenser
from beacon_cli.condensing.measuring import Measured, Measuring, Request
from beacon_cli.condensing.placing import Placed
from beacon_cli.condensing.stem import Stem
from beacon_cli.documents import PageSelection
from beacon_cli.documents.finding import Documents, Place, find_documents, paths_of
from beacon_cli.errors import DocumentError, SettingsError
from beacon_cli.events import Condensed, Note, Progress, Stage, silent
from beacon_cli.settings import DEFAULTS, Condense, Device, Settings

Ratio = int | Literal["auto"]


def load(
    model: str = DEFAULTS.model,
    beacon: str | None = None,
    *,
    beacon_bits: int | None = None,
    condense: Condense | None = None,
    device: Device = "auto",
    threads: int | None = None,
    system: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    cache_bits: int = DEFAULTS.cache_bits,
    cache_limit: int | None = None,
    progress: Progress = silent,
) -> "Model":
    """Find a model and its beacon, if it has one, fetching and converting what is not on this disk.

    The weights are loaded when something is first read.

    Args:
        model: a checkpoint folder, a GGUF file, a hub id, or a short name, as the default model has.
        beacon: the same for the beacon; by default the model's own.
        beacon_bits: of the beacon's weights, 16 or 4; None takes them as they are stored.
        condense: "beacon", or "select", which needs none; None takes the beacon where there is one.
        device: "auto", "cpu" or "cuda".
        threads: that compute on the CPU, in all of the process; None for as many as there are processors to use.
        system: the message to the model that stands in front of what it reads; None leaves that to its chat template.
        cache_dir: where condensed documents are kept; by default `BEACON_CACHE_DIR`, else the user's cache folder.
        cache_bits: bits of a stored activation: 16, 8 or 4.
        cache_limit: bytes that all cached documents may take; None for as many as there are.
        progress: is called with the events of `beacon_cli.events`.

    Raises:
        BeaconError: if it cannot be found, or model and beacon do not belong together.
    """
    Settings(  # refuses what cannot be
        beacon_bits=beacon_bits, condense=condense, device=device, threads=threads, cache_bits=cache_bits
    )
    root = default_root() if cache_dir is None else Path(cache_dir).expanduser().absolute()
    began = time.perf_counter()
    source = locate_model(model, beacon, root, beacon_bits, system=system, condense=condense, progress=progress)
    seconds = time.perf_counter() - began
    return Model(source, device, root, cache_bits, cache_limit, threads=threads, seconds=seconds, progress=progress)


class Model:
    """A language model, and what condenses for it. Made by `load`.

    Attributes:
        source: which model it is: name, context (positions), ratios, tokenizer, fingerprints.
        seconds: that finding it took, downloading and converting included.
    """

    def __init__(
        self,
        source: ModelSource,
        device: Device,
        cache_dir: Path,
        cache_bits: int = DEFAULTS.cache_bits,
        cache_limit: int | None = None,
        *,
        threads: int | None = None,
        seconds: float = 0.0,
        progress: Progress = silent,
    ) -> None:
        self.source, self.seconds = source, seconds
        self._device, self._threads, self._cache = device, threads, (cache_dir, cache_bits, cache_limit)
        self._progress = progress

    @property
    def name(self) -> str:
        """What it was called when it was loaded."""
        return self.source.name

    @cached_property
    def engine(self) -> Engine:
        """The loaded weights; loads them.

        Raises:
            ModelError: if they are missing, damaged, or of an architecture that cannot carry a beacon.
            SettingsError: if CUDA is asked for and not there.
        """
        self._progress(Stage(f"loading {self.source.name}"))
        engine = load_engine(self.source, self._device, self._threads)
        if engine.note:
            self._progress(Note(engine.note))
        return engine

    def share_weights(self, other: "Model") -> None:
        """Use the weights of a model that differs in nothing but what condenses, and has a beacon if either has."""
        self.engine = replace(other.engine, source=self.source)

    def read(
        self,
        documents: Documents,
        *,
        ratio: Ratio = "auto",
        pages: str | None = None,
        password: str | None = None,
        cache: bool = True,
        refresh: bool = False,
        ocr: bool = False,
        room: int | None = None,
        whole: bool = False,
        when_needed: bool = False,
        progress: Progress = silent,
    ) -> "Memory":
        """Read documents: condense them now, or take what the cache has of them.

        Args:
            documents: paths of files, of folders (all documents in them) or patterns; "-" is standard input. The key of
                a cache (or its beginning) stands for a document that is not at hand.
            ratio: condensing ratio; "auto" takes the smallest that was trained for at which everything fits; where
                questions recall parts of the memory, each document alone, and none at which too little would be kept.
            pages: which pages to read, like "1-50,60-"; None reads all.
            password: of encrypted PDFs.
            cache: keep the memory on disk, and use what is there; without it nothing is written.
            refresh: condense anew whatever the cache has.
            ocr: read pages of PDFs that are only images by tesseract, which must be installed.
            room: positions to keep free for a question and its answer, see `room_for`; an eighth of the model's context
                is kept free in any case.
            whole: all of the memory is to fit the model's context at once, as a summary wants it, and a question with
                `recall` 0. That of a beacon does in any case.
            when_needed: condense only when the memory is needed, which a question that is answered from passages alone
                does not: see `Memory.complete`.

        Raises:
            BeaconError: for whatever the caller can act on: see its subclasses in `beacon_cli.errors`.
        """
        places = find_documents(paths_of(documents), partial(key_at, self._cache[0]))
        measuring = self._measuring(ratio, pages, password, cache, refresh, ocr, room, progress, whole)
        measured = measuring.measure(places, ahead=when_needed)
        condenser = self._condenser(measuring)
        return Memory(self, condenser, measured, None if when_needed else condenser.read(measured))

    def read_text(
        self,
        text: str,
        *,
        name: str = "text",
        ratio: Ratio = "auto",
        cache: bool = True,
        room: int | None = None,
        whole: bool = False,
        stem: Stem | None = None,
        progress: Progress = silent,
    ) -> "Memory":
        """Read a text that is no file, as a text file that says the same would be read; see `read`.

        Args:
            text: paragraphs with blank lines between them; form feeds separate pages.
            name: what messages and citations call it.
            stem: without a cache, takes from the text that was read with it before what begins like this one; the
                memory of that text ends.
        """
        measuring = self._measuring(ratio, None, None, cache, False, False, room, progress, whole, stem)
        measured = measuring.measure([Place(name, text=text)])
        condenser = self._condenser(measuring)
        return Memory(self, condenser, measured, condenser.read(measured))

    def condense(
        self,
        documents: Documents,
        *,
        ratio: Ratio = "auto",
        pages: str | None = None,
        password: str | None = None,
        refresh: bool = False,
        ocr: bool = False,
        room: int | None = None,
        shard: tuple[int, int] = (1, 1),
        progress: Progress = silent,
    ) -> list[Condensed]:
        """Condense documents into the cache, each by itself, so that questions about them are answered at once.

        See `read`. What cannot be read of a folder is left out, with a note.

        Args:
            shard: (i, n) takes the i-th of every n documents, for one of n machines with one cache.

        Returns:
            The figures of each document.
        """
        places = find_documents(paths_of(documents))[shard[0] - 1 :: shard[1]]
        measuring = self._measuring(ratio, pages, password, True, refresh, ocr, room, progress)
        condenser = self._condenser(measuring)
        done: list[Condensed] = []
        for place in places:
            try:
                # The memory itself is let go before the next one is built.
                measured = measuring.measure([replace(place, folder=None)], ahead=False)
                done.append(condenser.read(measured).documents[0].summary)
            except DocumentError as error:
                if place.folder is None:
                    raise
                progress(Note(f"left out: {error}"))
        return done

    def room_for(
        self,
        question: str = "",
        *,
        max_new_tokens: int = DEFAULTS.max_new_tokens,
        passages: int | None = DEFAULTS.passages,
        template: str | None = None,
    ) -> int:
        """Positions that a question, the passages read again for it, and the longest answer take."""
        text = question_text(question, template=template or template_for(self.source))
        asked = len(self.source.tokenizer.encode(text)) + len(self.source.frame.closing)
        return asked + (LEAST_AGAIN if passages is None else passages) * PASSAGE_TOKENS + max_new_tokens

    def _condenser(self, measuring: Measuring) -> Condenser:
        return Condenser(measuring, lambda: self.engine)

    def _measuring(
        self,
        ratio: Ratio,
        pages: str | None,
        password: str | None,
        cache: bool,
        refresh: bool,
        ocr: bool,
        room: int | None,
        progress: Progress,
        whole: bool = False,
        stem: Stem | None = None,
    ) -> Measuring:
        self._progress = progress
        selected = None if pages is None else PageSelection.parse(pages)
        if ocr:
            selected = replace(selected or PageSelection.all(), ocr=True)
        request = Request(
            ratio=None if ratio == "auto" else self.source.check_ratio(ratio),
            needed=self.room_for() if room is None else room,
            pages=selected,
            password=password,
            refresh=refresh,
            whole=whole,
            stem=stem,
        )
        store = Store(*self._cache) if cache else None
        return Measuring(self.source, store, request, progress)


class Memory:
    """What a model has read: ask it as often as you like, a question does not use it up. Made by `Model.read`.

    What it was read from is condensed; with `when_needed`, as soon as a question needs that, or one of its figures is
    asked for.
    """

    def __init__(self, model: Model, condenser: Condenser, measured: Measured, placed: Placed | None) -> None:
        self._engine, self._condenser, self._measured = model.engine, condenser, measured
        self._running: weakref.ref[Answer] | None = None
        if placed is not None:
            self._placed = placed

    @cached_property
    def _placed(self) -> Placed:
        return self._condenser.read(self._measured)

    @property
    def pending(self) -> bool:
        """Whether documents that were not in the cache have still to be condensed."""
        return "_placed" not in vars(self) and any(text.folder is None for text in self._measured.texts)

    def complete(self) -> None:
        """Condense what was not needed until now; what the cache has is left there.

        Raises:
            BeaconError: see `Model.read`.
        """
        if "_placed" in vars(self) or self._condenser.kept(self._measured):
            return
        unkept = self._measured.texts[0].folder is None and "texts" in vars(self)
        where = self._placed.documents[0].summary.cache_path
        if unkept and where is not None:  # the index was made when there was no cache to keep it in
            keep_index(self.texts.index, Path(where), several=len(self._placed.documents) > 1)

    @property
    def documents(self) -> tuple[Condensed, ...]:
        """The figures of each document that was read."""
        return tuple(document.summary for document in self._placed.documents)

    @property
    def rows(self) -> int:
        """Rows of memory that they take."""
        return self._placed.rows

    @property
    def seconds(self) -> dict[str, float]:
        """Spent on reading, by stage: "open", "load_model", "condense" or "load_cache"."""
        spent: Counter[str] = Counter()
        for document in self.documents:
            spent.update(document.seconds)
        return {**self._condenser.seconds, **spent}

    @property
    def tokens(self) -> int:
        """Tokens of all documents."""
        return sum(document.tokens for document in self.documents)

    @property
    def ratio(self) -> int:
        """The condensing ratio; of several documents, the largest."""
        return self._measured.ratio

    def ask(
        self,
        question: str,
        *,
        max_new_tokens: int = DEFAULTS.max_new_tokens,
        temperature: float = DEFAULTS.temperature,
        passages: int | None = DEFAULTS.passages,
        recall: int = DEFAULTS.recall,
        template: str | None = None,
        history: Sequence[Turn] = (),
    ) -> Answer:
        """Ask a question; the answer is made while it is iterated over, or at once when one of its fields is read.

        Args:
            question: in words.
            max_new_tokens: longest answer.
            temperature: 0 always takes the likeliest token.
            passages: how many passages that the question is about are found by BM25 and read again, uncondensed, before
                it is answered; None for as many as the model has room for, 0 answers from the condensed memory alone.
            recall: around how many of these passages the memory is read; 0 for all of it, as is always done with what a
                beacon condensed.
            template: in which words the question is put: it has {question} in it, and may have {passages}, which stand
                before it otherwise.
            history: questions and answers before it, the oldest first; see `chat`.

        Raises:
            SettingsError: for an empty question and settings that cannot be; when answering, if question and answer do
                not fit the context.
        """
        if not question.strip():
            raise SettingsError('the question is empty; write one, like "Who is the narrator?"')
        return self._answer(
            question.strip(), Decoding(max_new_tokens, temperature, passages, recall, template), history
        )

    def chat(
        self,
        *,
        max_new_tokens: int = DEFAULTS.max_new_tokens,
        temperature: float = DEFAULTS.temperature,
        passages: int | None = DEFAULTS.passages,
        recall: int = DEFAULTS.recall,
        template: str | None = None,
    ) -> Chat:
        """A conversation, in which each question is asked in the light of those before; see `ask`."""
        return Chat(
            partial(
                self.ask,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                passages=passages,
                recall=recall,
                template=template,
            )
        )

    def summarize(
        self,
        *,
        length: int | None = None,
        max_new_tokens: int = DEFAULTS.max_new_tokens,
        temperature: float = DEFAULTS.temperature,
    ) -> Answer:
        """Ask for a summary of about `length` words; see `ask`. (`texts.summarize` makes one without the model.)"""
        return self._answer(None, Decoding(max_new_tokens, temperature, 0, 0, length=length))

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._engine.source.tokenizer.encode(text))

    def find(self, words: str, count: int = 5) -> list[Passage]:
        """The passages of the documents that share most with `words`, the best first; no model takes part."""
        return self.texts.find(words, count)

    @cached_property
    def texts(self) -> Texts:
        """The documents' text, for what needs no model: searching, marking what was found, and a summary of the text's
        own sentences.
        """
        if "_placed" not in vars(self):
            known = zip(self._measured.names, self._measured.texts, strict=True)
            return Texts(tuple(IndexedText(name, text.pages, text.file, text.folder) for name, text in known))
        read = (
            IndexedText(about.name, text.pages, about.path, Path(about.cache_path) if about.cache_path else None)
            for text in self._placed.documents
            for about in (text.summary,)
        )
        return Texts(tuple(read))

    def _answer(self, question: str | None, how: Decoding, history: Sequence[Turn] = ()) -> Answer:
        return Answer(question, lambda made: self._pieces(made, question, how, tuple(history)))

    def _pieces(
        self, made: Answer, question: str | None, how: Decoding, history: tuple[Turn, ...]
    ) -> Generator[str, None, Outcome]:
        running = None if self._running is None else self._running()
        if running is not None and not running.ended:
            # There is one memory, and rewinding it would spoil an answer in the making; what ends that is its own.
            with suppress(Exception):
                running.complete()
        self._running = weakref.ref(made)
        del made, running  # an answer that nobody holds any more need not be completed
        texts = self.texts.index
        return (yield from answer(self._engine, self.ratio, lambda: self._placed, texts, question, how, history))
