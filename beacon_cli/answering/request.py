"""What is wanted of an answer, and what was said before it."""

from dataclasses import dataclass

from beacon_cli.answering.prompts import check_template
from beacon_cli.settings import Settings, declared


@dataclass(frozen=True)
class Decoding:
    """How an answer is made.

    Attributes:
        max_new_tokens: longest answer.
        temperature: 0 always takes the likeliest token.
        passages: how many passages are read again before a question; None for as many as the model has room for, 0
            answers from the condensed memory alone.
        recall: around how many of the passages that a question is about the memory is read, see `recall`; 0: all of it.
        template: in which words a question is put, see `check_template`; None for those that suit the model.
        length: words of a summary; None for a few sentences.

    Raises:
        SettingsError: for values that cannot be.
    """

    max_new_tokens: int
    temperature: float
    passages: int | None
    recall: int
    template: str | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        if self.template is not None:
            check_template(self.template)
        for name in ("max_new_tokens", "temperature", "passages", "recall"):
            declared(Settings)[name].check(getattr(self, name), name)


@dataclass(frozen=True)
class Turn:
    """A question that was asked before, and what was answered."""

    question: str
    answer: str
