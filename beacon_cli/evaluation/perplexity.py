"""How well running text is predicted, by how much of it stands before (as on PG19)."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beacon_cli.evaluation.methods import Method

BLOCK = 1024


@dataclass(frozen=True)
class Text:
    """A text to be predicted."""

    name: str
    ids: list[int]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(" ".join(map(str, self.ids)).encode()).hexdigest()


@dataclass(frozen=True)
class LossBlock:
    """The mean loss, in nats, of some tokens in a row.

    Attributes:
        first, end: the bucket of positions that they are counted under.
        tokens: how many they are.
    """

    first: int
    end: int
    tokens: int
    loss: float


def edges(lengths: Sequence[int], longest: int) -> list[int]:
    """Where buckets of positions end: at `lengths`, as far as a text of `longest` tokens fills them."""
    return [0, *(length for length in sorted(set(lengths)) if length <= longest)]


def blocks(method: Method, text: Text, lengths: Sequence[int]) -> Iterator[LossBlock]:
    """The losses of one text's tokens, `BLOCK` by `BLOCK`; only of buckets that the method reads to their end."""
    ends = edges(lengths, len(text.ids))
    scored = itertools.chain.from_iterable(part.tolist() for part in method.losses(text.ids[: ends[-1]]))
    for first, end in itertools.pairwise(ends):
        found = list[LossBlock]()
        for start in range(first, end, BLOCK):
            # Nothing predicts a text's first token.
            wanted = min(start + BLOCK, end) - max(start, 1)
            losses = list(itertools.islice(scored, wanted))
            if len(losses) < wanted:
                return
            found.append(LossBlock(first, end, wanted, sum(losses) / wanted))
        yield from found
