"""Questions about texts, and texts of any length to hide an answer in."""

import bisect
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.errors import EvaluationError


@dataclass(frozen=True)
class EvalSample:
    """A question about a text.

    Attributes:
        key: its name within the task, the same in every run.
        group: what it is counted under, for example {"length": 4096, "depth": 0.5}.
        text: the document.
        path: of the file that it stands in, if it does.
        ids: its tokens.
        place: the token at which the answer stands; None if unknown.
    """

    key: str
    group: dict[str, Any]
    text: str
    ids: list[int]
    question: str
    answers: tuple[str, ...]
    place: int | None = None
    path: str | None = None


@dataclass(frozen=True)
class QuestionTask:
    """A task whose samples are questions.

    Attributes:
        axis: the part of a sample's group that becomes the columns of its table.
        metrics: scores of an answer, the leading one first.
        max_new_tokens: longest answer.
        count: of samples.
        samples: yields them, always the same; those that begin alike stand together.
        settings: what else makes the task what it is.
    """

    name: str
    axis: str
    metrics: Mapping[str, Callable[[str, Sequence[str]], float]]
    max_new_tokens: int
    count: int
    samples: Callable[[], Iterator[EvalSample]]
    settings: dict[str, Any]


class Haystack:
    """A text that goes on as long as is asked for, from its beginning again when it ends.

    Args:
        text: paragraphs with blank lines between them.
    """

    def __init__(self, tokenizer: Tokenizer, text: str) -> None:
        self._tokenizer = tokenizer
        self._paragraphs = [tokenizer.encode(f"{part.strip()}\n\n") for part in text.split("\n\n") if part.strip()]
        self.tokens = sum(map(len, self._paragraphs))
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        if not self.tokens:
            raise EvaluationError("the haystack holds no text; give a file with some pages of it")

    def hide(self, needle: str, length: int, depth: float) -> tuple[list[int], int]:
        """A text of `length` tokens, and the token at which the needle stands in it.

        Args:
            needle: becomes a paragraph of its own, between the two that are nearest.
            depth: 0 puts it at the beginning, 1 at the end.

        Raises:
            EvaluationError: if the needle is longer than the text.
        """
        inside = self._tokenizer.encode(f"{needle}\n\n")
        room = length - len(inside)
        if room < 0:
            raise EvaluationError(
                f"a text of {length} tokens is too short for a needle of {len(inside)}; use longer ones"
            )
        hay, ends = list[int](), [0]
        for paragraph in itertools.cycle(self._paragraphs):
            if len(hay) >= room:
                break
            hay += paragraph
            ends.append(len(hay))
        fitting = [end for end in ends if end <= room]
        after = bisect.bisect_left(fitting, depth * room)
        place = min(fitting[max(after - 1, 0) : after + 1], key=lambda end: abs(end - depth * room))
        return [*hay[:place], *inside, *hay[place:room]], place


def hidden_sample(
    tokenizer: Tokenizer, key: str, group: dict[str, Any], text: tuple[list[int], int], question: str, answer: str
) -> EvalSample:
    """The sample of a needle in a haystack; `text` is what `Haystack.hide` returned."""
    ids, place = text
    return EvalSample(key, group, tokenizer.decode(ids), ids, question, (answer,), place)
