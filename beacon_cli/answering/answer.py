"""An answer: its text as it comes, and what is known of it in the end."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from beacon_cli.answering.citations import Citation
from beacon_cli.answering.decoding import Finished
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.support import Supported


@dataclass
class Outcome:
    """What is known of an answer when it is complete; see `Answer`."""

    text: str = ""
    citations: tuple[Citation, ...] = ()
    supported: Supported | None = None
    answered: bool = False
    passages: tuple[Passage, ...] = ()
    found: tuple[Passage, ...] = ()
    closest: tuple[Citation, ...] = ()
    generated: int = 0
    finished: Finished = "stop"
    seconds: dict[str, float] = field(default_factory=dict)


class Answer:
    """An answer: iterate over it to have its text piece by piece, as it comes.

    Its attributes are those of the complete answer; asking for one waits until it is.

    Attributes:
        question: that was asked; None for a summary.
        text: all of the answer.
        answered: whether it is an answer: False if the model says that the text does not say, nothing at all, or
            has lost itself (see `finished`).
        supported: True if the documents say so, "partly" if they say some of it, or say it where the question is not
            about, else False; None without an answer, and for a summary.
        citations: where it stands, the best place first; empty if nowhere.
        passages: what was read again before answering, the best last.
        found: the passages that the question is about, the best first.
        closest: what to look at where it stands nowhere: the places that say most of the question, with their words.
        generated: tokens.
        finished: "stop" where the model ended, "length" where `max_new_tokens` or the model's context did, "loop" where
            it only repeated itself and "babble" where it did not believe itself: then it was stopped.
        seconds: spent, by stage: "first_token", "answer" (all of it).
    """

    text: str
    citations: tuple[Citation, ...]
    supported: Supported | None
    answered: bool
    passages: tuple[Passage, ...]
    found: tuple[Passage, ...]
    closest: tuple[Citation, ...]
    generated: int
    finished: Finished
    seconds: dict[str, float]

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

    @property
    def whole(self) -> bool:
        """Whether it is complete, and not ended by an error."""
        return self._outcome is not None

    def stop(self) -> None:
        """End it where it is; it stays incomplete, and its fields cannot be asked for any more."""
        if not self.ended:
            self._source.close()
            self._error = RuntimeError("the answer was stopped")

    def complete(self) -> Outcome:
        """Wait for all of it; raises again what ended it."""
        while self._advance():
            pass
        if self._outcome is None:
            raise self._error or RuntimeError("an answer ended without an outcome")
        return self._outcome

    def __getattr__(self, name: str) -> Any:
        """What is known of it when it is complete."""
        if name not in Outcome.__dataclass_fields__:
            raise AttributeError(f"an answer has no {name}")
        return getattr(self.complete(), name)

    def __str__(self) -> str:
        return self.text
