"""Which passages answer a question, as the model judges: each is read by itself, with the question after it.

A model that was taught to refuse where a text does not say shows, by how likely it would, what search by words cannot
see. A passage's score is the logarithm of the probability that the model does not refuse, and a part of what search
makes of the passage. (`benchmarks/search.py --judged` has figures.)
"""

import math
from dataclasses import dataclass

import torch

from activation_beacon import SequenceReader
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.prompts import question_text
from beacon_cli.answering.refusing import log_probability, refusal
from beacon_cli.answering.search import SearchIndex
from beacon_cli.checkpoints.engine import Engine

# So many passages are read at most, best first as search has them: until the model would refuse to answer from one with
# a probability of less than `SURE`, or, after `SOME`, than `UNSURE`. (What that costs is in benchmarks/README.md.)
MOST, SOME, UNSURE, SURE = 12, 3, 0.05, 0.02
# What search counts for.
SEARCH_WEIGHT = 0.2


@dataclass(frozen=True)
class Judgement:
    """What the model thinks of passages.

    Attributes:
        passages: those that search finds, in the order of the model's judgement; those that it has not read come last.
        reader: has read what opens a prompt and the first passage; None if it is not kept.
    """

    passages: list[Passage]
    reader: SequenceReader | None


@torch.inference_mode()
def judged(engine: Engine, index: SearchIndex, question: str) -> Judgement:
    """Judge the passages that search finds."""
    found, search = index.ranked(question), index.scores(question)
    scores: dict[int, float] = {}
    surest, best, kept = 0.0, -math.inf, None
    for number in found[:MOST]:
        if surest < math.log(UNSURE if len(scores) >= SOME else SURE):
            break
        doubt, reader = _doubt(engine, index.passages[number], question)
        surest = min(surest, doubt)
        scores[number] = math.log(max(-math.expm1(doubt), 1e-9)) + SEARCH_WEIGHT * float(search[number])
        if scores[number] > best:
            best, kept = scores[number], reader
    order = sorted(scores, key=lambda number: -scores[number])
    return Judgement([index.passages[number] for number in (*order, *found[len(order) :])], kept)


def _doubt(engine: Engine, passage: Passage, question: str) -> tuple[float, SequenceReader | None]:
    """The logarithm of the probability that the model, asked about a passage alone, says that it does not say; and what
    has read the passage, unless that and the question are too long.
    """
    source, encode = engine.source, engine.source.tokenizer.encode
    text = [*source.frame.opening, *encode(passage.headed)]
    asked, refused = [*encode(question_text(question)), *source.frame.closing], refusal(engine)
    length = len(text) + len(asked) + len(refused)
    if length > source.context:
        return 0.0, None
    reader = engine.reader(source.ratios[0])
    reader.condense_at(0)
    hidden = torch.cat([step.hidden for step in reader.feed([*text, *asked, *refused])])
    doubt = log_probability(engine, hidden[-1 - len(refused) : -1], refused)
    if length >= reader.window:
        return doubt, None
    reader.forget(len(asked) + len(refused))
    return doubt, reader
