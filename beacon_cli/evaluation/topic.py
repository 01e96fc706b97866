"""The first topic of a long conversation about many (the task of LongEval, with texts of our own)."""

import itertools
import random
from collections.abc import Iterator, Sequence

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.evaluation.metrics import found
from beacon_cli.evaluation.samples import EvalSample, QuestionTask

QUESTION = "What was the first topic that the visitor wanted to talk about?"
_SIDES = ("the history of", "the future of", "the cost of", "the dangers of", "the beauty of", "the science of")
_SUBJECTS = (
    "beekeeping", "lighthouses", "clockmaking", "glaciers", "volcanoes", "railways", "shipbuilding", "gardening",
    "chess", "opera", "bridges", "windmills", "cartography", "falconry", "pottery", "weaving", "mountaineering",
    "astronomy", "bread", "tea", "cheese", "circuses", "libraries", "postage stamps", "submarines", "balloons",
    "canals", "carnivals", "deserts", "coral reefs", "violins", "photography", "kites", "mushrooms", "horses",
    "whales", "castles", "cathedrals", "markets", "tunnels", "puppets", "perfume", "glassblowing", "salt",
)  # fmt: skip
_TALK = (
    ("What made people take it up?", "Curiosity, mostly, and long winters in which there was little else to do."),
    ("Is it hard to learn?", "The first year is; after that it is a matter of patience and of good teachers."),
    ("Who knows most about it?", "Those who have failed at it often, and have written down why."),
    ("Has it changed much?", "Less than one would think: the tools are new, but the habits are old."),
    ("What would you read first?", "A short book with many pictures, and only then a long one with none."),
    ("Do you enjoy it yourself?", "On quiet days, yes; it asks for more time than I usually have."),
    ("Where is it at home?", "Wherever there is a harbour or a fair, and people who stay for the evening."),
    ("Will it last?", "As long as somebody shows it to somebody younger, it will."),
)


def topic(tokenizer: Tokenizer, lengths: Sequence[int], samples: int, seed: int) -> QuestionTask:
    """`samples` conversations of each length."""

    def generate() -> Iterator[EvalSample]:
        for length in lengths:
            for number in range(samples):
                rng = random.Random(f"topic {seed} {length} {number}")
                topics = [f"{side} {subject}" for side in _SIDES for subject in _SUBJECTS]
                rng.shuffle(topics)
                ids = list[int]()
                # A very long talk comes back to its topics, but not to the first.
                for subject in itertools.chain(topics[:1], itertools.cycle(topics[1:])):
                    if len(ids) >= length:
                        break
                    ids += tokenizer.encode(_talk(subject, rng))
                del ids[length:]
                key, group = f"{length}-{number}", {"length": length}
                yield EvalSample(key, group, tokenizer.decode(ids), ids, QUESTION, (topics[0],), 0)

    return QuestionTask("topic", "length", {"found": found}, 24, len(lengths) * samples, generate, {})


def _talk(subject: str, rng: random.Random) -> str:
    exchanges = rng.sample(_TALK, 4)
    lines = [f"Visitor: I would like to talk about {subject}.", f"Guide: Gladly. Let us talk about {subject}."]
    for question, answer in exchanges:
        lines += [f"Visitor: {question}", f"Guide: {answer}"]
    return "\n\n".join(lines) + "\n\n"
