"""A sentence at chosen depths of a haystack of chosen lengths."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.errors import SettingsError
from beacon_cli.evaluation.metrics import found
from beacon_cli.evaluation.samples import EvalSample, Haystack, QuestionTask, hidden_sample


@dataclass(frozen=True)
class Needle:
    """A sentence, a question that only it answers, and the answer. `{value}` stands for a random one."""

    sentence: str
    question: str
    answer: str = "{value}"

    def filled(self, value: str) -> "Needle":
        return Needle(*(part.replace("{value}", value) for part in (self.sentence, self.question, self.answer)))


OWN = (
    Needle("The lighthouse of Morvane is kept by {value}.", "Who keeps the lighthouse of Morvane?"),
    Needle("The secret password of the Tallow Club is {value}.", "What is the secret password of the Tallow Club?"),
    Needle("The bridge of Ostrelle was built by {value}.", "Who built the bridge of Ostrelle?"),
    Needle("The capital of Brenmark is {value}.", "What is the capital of Brenmark?"),
)
_BEGINNINGS = ("Bal", "Cor", "Dren", "Fal", "Gar", "Hol", "Jas", "Kel", "Lor", "Mar", "Nev", "Orl", "Per", "Ros", "Tam")
_ENDS = ("ban", "dor", "fin", "gan", "lin", "mond", "nick", "ret", "son", "ton", "ver", "wick")


def needle(
    tokenizer: Tokenizer,
    text: str,
    given: Needle | None,
    lengths: Sequence[int],
    depths: Sequence[float],
    samples: int,
    seed: int,
) -> QuestionTask:
    """`samples` needles at each length and depth; the tool's own ones unless one is `given`; with random values.

    Raises:
        SettingsError: if the haystack is empty, or only the question or answer of the needle has a random value.
    """
    if given and "{value}" in given.question + given.answer and "{value}" not in given.sentence:
        raise SettingsError("--needle says no {value}, which the question or the answer has: write it in there, too")
    haystack = Haystack(tokenizer, text)

    def generate() -> Iterator[EvalSample]:
        for length in lengths:
            for depth in sorted(depths):
                for number in range(samples):
                    rng = random.Random(f"needle {seed} {length} {depth} {number}")
                    value = rng.choice(_BEGINNINGS) + rng.choice(_ENDS)
                    hidden = (given or rng.choice(OWN)).filled(value)
                    group, key = {"length": length, "depth": depth}, f"{length}-{depth:.3f}-{number}"
                    place = haystack.hide(hidden.sentence, length, depth)
                    yield hidden_sample(tokenizer, key, group, place, hidden.question, hidden.answer)

    count = len(lengths) * len(depths) * samples
    settings = {
        "haystack_tokens": haystack.tokens,
        "haystack_sha256": haystack.sha256,
        "needle": vars(given) if given else None,
    }
    return QuestionTask("needle", "length", {"found": found}, 24, count, generate, settings)
