"""A pass key of five digits in a text that says nothing else (as Mohtashami and Jaggi ask for it, arXiv 2305.16300)."""

import random
from collections.abc import Iterator, Sequence

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.evaluation.metrics import found
from beacon_cli.evaluation.samples import EvalSample, Haystack, QuestionTask, hidden_sample

FILLER = (
    "The river runs past the mill. The sky is grey above the fields. The road goes up the hill and comes down again. "
    "We walk on, and we wait, and the evening comes.\n\n"
)
QUESTION = "What is the pass key?"


def passkey(tokenizer: Tokenizer, lengths: Sequence[int], samples: int, seed: int) -> QuestionTask:
    """`samples` texts of each length, the key at random depths."""

    def generate() -> Iterator[EvalSample]:
        haystack = Haystack(tokenizer, FILLER)
        for length in lengths:
            rng = random.Random(f"passkey {seed} {length}")
            drawn = [(rng.random(), rng.randint(10_000, 99_999), number) for number in range(samples)]
            for depth, value, number in sorted(drawn):
                text = haystack.hide(f"The pass key is {value}. Remember it: {value} is the pass key.", length, depth)
                yield hidden_sample(tokenizer, f"{length}-{number}", {"length": length}, text, QUESTION, str(value))

    return QuestionTask("passkey", "length", {"found": found}, 16, len(lengths) * samples, generate, {})
