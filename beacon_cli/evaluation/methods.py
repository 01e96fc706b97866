"""What every method of reading a long text has to say: whether a prompt fits, and how it is read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from beacon_cli.answering.prompts import question_text
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.evaluation.samples import Sample
from beacon_cli.evaluation.sequences import Reading, losses


class DoesNotFitError(Exception):
    """A text is too long for a method; its text says by how much."""


@dataclass(frozen=True)
class Prompt:
    """A question about a text, as one method reads it.

    Attributes:
        document: token ids of the text, the chat template's opening first.
        request: those of what follows it.
        ratio: at which the document is condensed; 0 if it is not.
    """

    document: list[int]
    request: list[int]
    ratio: int = 0


class Method(ABC):
    """A way of reading a text that may be longer than the model's context.

    Args:
        name: as the tables have it.
        frame: of the chat template.

    Attributes:
        reads: "plain", "streaming" or "condensed": two methods that read alike, at the same ratio, can share a reading.
    """

    reads = "plain"

    def __init__(self, name: str, engine: Engine, frame: Frame) -> None:
        self.name, self.engine, self.frame = name, engine, frame

    @abstractmethod
    def start(self, ratio: int) -> Reading:
        """A reading of nothing yet."""

    def ratio(self, sample: Sample, room: int) -> int:
        """At which it condenses a sample's document, see `prompt`; 0 if it does not.

        Raises:
            DoesNotFitError: if it is too long at any.
        """
        return 0

    @abstractmethod
    def prompt(self, sample: Sample, room: int) -> Prompt:
        """A sample's prompt, with `room` positions left for the answer.

        Raises:
            DoesNotFitError: if it is too long.
        """

    @abstractmethod
    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """Losses (tokens), in nats, of a plain text's tokens from the second on, in order, as far as they fit."""

    def request_follows(self, reading: Reading) -> None:  # noqa: B027  # most methods read a request like a text
        """The document has been read, and the request comes next."""

    def _document(self, sample: Sample) -> list[int]:
        return [*self.frame.opening, *sample.ids]

    def _request(self, sample: Sample, passages: Sequence[str] = ()) -> list[int]:
        encode = self.engine.source.tokenizer.encode
        return [*encode(question_text(sample.question, passages)), *self.frame.closing]


def running_losses(engine: Engine, reading: Reading, ids: Sequence[int], behind: Sequence[int]) -> Iterator[Tensor]:
    """Losses (tokens) of the tokens of `ids` from the second on, pass by pass, read behind the ids `behind`."""
    whole = [*behind, *ids]
    done = 0
    for hidden in reading.feed(whole[:-1]):  # nothing follows the last
        first, end = max(done, len(behind)), done + len(hidden)
        if end > first:
            yield losses(engine, hidden[first - done :], whole[first + 1 : end + 1])
        done = end
