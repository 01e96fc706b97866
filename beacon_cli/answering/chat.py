"""A conversation about what was read: each question is asked in the light of those before."""

from collections.abc import Callable

from beacon_cli.answering.answer import Answer
from beacon_cli.answering.request import Turn


class Chat:
    """Made by `Memory.chat`. What was said is read again before each question, the latest as far as there is room.

    Attributes:
        answers: so far, in their order; one that was interrupted, or is none, is not gone on from.
    """

    def __init__(self, ask: Callable[..., Answer]) -> None:
        self._ask = ask
        self.answers: list[Answer] = []

    def ask(self, question: str) -> Answer:
        """The next question; see `Memory.ask`."""
        turns = [Turn(each.question or "", each.text) for each in self.answers if each.whole and each.answered]
        answer = self._ask(question, history=turns)
        self.answers.append(answer)
        return answer

    def new(self) -> None:
        """Forget what was said."""
        self.answers.clear()
