"""Answering a question from a memory: what is read again, the prompt, the answer as it comes, and where it stands."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Literal

from beacon_cli.answering.citations import Citation, cite
from beacon_cli.answering.decoding import generate
from beacon_cli.answering.passages import PASSAGE_WORDS, Passage
from beacon_cli.answering.prompts import TEMPLATE, check_template, question_text, summary_text
from beacon_cli.answering.search import SearchIndex
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.placing import Placed
from beacon_cli.errors import SettingsError
from beacon_cli.settings import Settings, declared

# Positions that a passage may take when it is read again: words are seldom more than two tokens.
PASSAGE_TOKENS = 2 * PASSAGE_WORDS


@dataclass(frozen=True)
class Decoding:
    """How an answer is made.

    Attributes:
        max_new_tokens: longest answer.
        temperature: 0 always takes the likeliest token.
        passages: how many passages are read again before a question; 0 answers from the condensed memory alone.
        template: in which words a question is put, see `check_template`.

    Raises:
        SettingsError: for values that cannot be.
    """

    max_new_tokens: int
    temperature: float
    passages: int
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        check_template(self.template)
        for name in ("max_new_tokens", "temperature", "passages"):
            declared(Settings)[name].check(getattr(self, name), name)


@dataclass
class Outcome:
    """What is known of an answer when it is complete; see `Answer`."""

    text: str = ""
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    generated: int = 0
    finished: Literal["stop", "length"] = "stop"
    seconds: dict[str, float] = field(default_factory=dict)


class Answer:
    """An answer: iterate over it to have its text piece by piece, as it comes.

    Its attributes are those of the complete answer; asking for one waits until it is.

    Attributes:
        question: that was asked; None for a summary.
        text: all of the answer.
        supported: whether it stands, word for word, in the documents; None for a summary, which cannot.
        citations: where it stands, the best place first; empty if nowhere.
        passages: what was read again before answering, the best last.
        generated: tokens.
        finished: "stop" where the model ended, "length" where `max_new_tokens` or the model's context did.
        seconds: spent, by stage: "first_token", "answer" (all of it).
    """

    def __init__(self, question: str | None, make: Callable[["Answer"], Generator[str, None, Outcome]]) -> None:
        self.question = question
        self._source = make(self)
        self._pieces: list[str] = []
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        position = 0
        while position < len(self._pieces) or self._advance():
            yield self._pieces[position]
            position += 1

    def _advance(self) -> bool:
        """Bring one more piece; False if there is none."""
        if self.ended:
            return False
        try:
            self._pieces.append(next(self._source))
        except StopIteration as stop:
            self._outcome = stop.value
            return False
        except BaseException as error:
            self._error = error
            raise
        return True

    @property
    def ended(self) -> bool:
        """Whether it is complete, or was ended by an error."""
        return self._outcome is not None or self._error is not None

    def complete(self) -> Outcome:
        """Wait for all of it; raises again what ended it."""
        while self._advance():
            pass
        if self._outcome is None:
            raise self._error or RuntimeError("an answer ended without an outcome")
        return self._outcome

    @property
    def text(self) -> str:
        return self.complete().text

    @property
    def supported(self) -> bool | None:
        return None if self.question is None else bool(self.complete().citations)

    @property
    def citations(self) -> tuple[Citation, ...]:
        return self.complete().citations

    @property
    def passages(self) -> tuple[Passage, ...]:
        return self.complete().passages

    @property
    def generated(self) -> int:
        return self.complete().generated

    @property
    def finished(self) -> Literal["stop", "length"]:
        return self.complete().finished

    @property
    def seconds(self) -> dict[str, float]:
        return self.complete().seconds

    def __str__(self) -> str:
        return self.text


def answer(
    engine: Engine, placed: Placed, index: SearchIndex, question: str | None, how: Decoding
) -> Generator[str, None, Outcome]:
    """Read a question (None: ask for a summary) after the memory, and yield the answer as it comes.

    The memory goes on from there: rewind it before the next question.

    Raises:
        SettingsError: if the question and an answer do not fit the model's context.
    """
    began = time.perf_counter()
    outcome, reader = Outcome(), placed.reader
    prompt, again = _prompt(engine, placed, index, question, how)
    outcome.passages = tuple(again)
    if again:
        # What is read again is to be seen as it is: the interval it stands in keeps its raw activations.
        reader.condense_at(0)
    logits = reader.read(prompt)
    reader.condense_at(placed.ratio)
    decoder = engine.source.tokenizer.stream_decoder()
    pieces: list[str] = []
    for token in generate(engine, reader, logits, max_new_tokens=how.max_new_tokens, temperature=how.temperature):
        if token is None:
            outcome.finished = "length"
            break
        if not outcome.generated:
            outcome.seconds["first_token"] = time.perf_counter() - began
        outcome.generated += 1
        if piece := decoder.push(token):
            pieces.append(piece)
            yield piece
    if piece := decoder.finish():
        pieces.append(piece)
        yield piece
    outcome.text = "".join(pieces).strip()
    outcome.seconds["answer"] = time.perf_counter() - began
    if question is not None:
        outcome.citations = tuple(cite(index, question, outcome.text))
    return outcome


def _prompt(
    engine: Engine, placed: Placed, index: SearchIndex, question: str | None, how: Decoding
) -> tuple[list[int], list[Passage]]:
    """Token ids of what follows the memory, and the passages in it: as many of those wanted as fit, the best last."""
    source = engine.source
    again = list(reversed(index.find(question, how.passages))) if question is not None else []
    while True:
        if question is None:
            request = summary_text(len(placed.documents))
        else:
            request = question_text(question, [passage.text for passage in again], template=how.template)
        prompt = [*placed.tail, *source.tokenizer.encode(request), *source.frame.closing]
        if placed.reader.memory.size + len(prompt) + how.max_new_tokens <= source.context:
            return prompt, again
        if not again:
            raise SettingsError(
                f"the question and an answer of {how.max_new_tokens} tokens do not fit after the document in the "
                f"context of {source.context:,} tokens: ask in fewer words, or lower --max-new-tokens"
            )
        again = again[1:]
