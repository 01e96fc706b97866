"""How well running text is predicted, by how much of it stands before (as on PG19)."""

import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from beacon_cli.evaluation.methods import Method
from beacon_cli.evaluation.records import Measurement

BLOCK = 1024


@dataclass(frozen=True)
class Text:
    """A text to be predicted."""

    name: str
    ids: list[int]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(" ".join(map(str, self.ids)).encode()).hexdigest()


def predict(method: Method, text: Text, lengths: Sequence[int]) -> list[Measurement]:
    """Mean losses, in nats, of one text's tokens, `BLOCK` by `BLOCK`, each weighing as many as its tokens are.

    They are counted under the buckets of positions that end at `lengths`, as far as the text fills them. A bucket that
    the method does not read to its end is too long for it.
    """
    began = time.perf_counter()
    ends = [0, *(length for length in sorted(set(lengths)) if length <= len(text.ids))]
    # Nothing predicts a text's first token: the loss of token n stands at n - 1.
    losses = [loss for part in method.losses(text.ids[: ends[-1]]) for loss in part.tolist()]
    details = {"seconds": round(time.perf_counter() - began, 3), "text_sha256": text.sha256}
    measured: list[Measurement] = []
    for first, end in itertools.pairwise(ends):
        if len(losses) < end - 1:
            problem = "does not fit the context"
            measured.append(Measurement(method.name, text.name, {"length": end}, {}, problem, 1.0, {}))
            continue
        for start in range(first, end, BLOCK):
            block = losses[max(start - 1, 0) : min(start + BLOCK, end) - 1]
            group, scores = {"length": end, "from": first}, {"loss": sum(block) / len(block)}
            measured.append(Measurement(method.name, text.name, group, scores, None, len(block), details))
    return measured
