"""Which passages answer a question, as the model judges: each is read by itself, with the question after it.

A model that was taught to refuse where a text does not say shows, by how likely it would, what search by words cannot
see. A passage's score is the logarithm of the probability that the model does not refuse, and a part of what search
makes of the passage. (`benchmarks/search.py --model` has figures.)
"""

import math

import torch

from activation_beacon import SequenceReader
from beacon_cli.answering.passages import Passage
from beacon_cli.answering.prompts import REFUSAL, question_text
from beacon_cli.answering.search import SearchIndex
from beacon_cli.checkpoints.engine import Engine

# So many passages are read at most, best first as search has them: `SOME`, and more as long as the model would refuse
# to answer from each with a probability of more than `UNSURE`.
MOST, SOME, UNSURE = 12, 3, 0.05
# What search counts for.
SEARCH_WEIGHT = 0.2


@torch.inference_mode()
def judged(engine: Engine, index: SearchIndex, question: str) -> list[Passage]:
    """The passages that search finds, in the order of the model's judgement; those that it has not read come last."""
    found, search = index.ranked(question), index.scores(question)
    reader = engine.reader(engine.source.ratios[0])
    reader.condense_at(0)
    reader.remember(engine.source.frame.opening)
    opened = reader.mark()
    scores: dict[int, float] = {}
    surest = 0.0
    for number in found[:MOST]:
        if len(scores) >= SOME and surest < math.log(UNSURE):
            break
        reader.rewind(opened)
        doubt = _doubt(engine, reader, index.passages[number], question)
        surest = min(surest, doubt)
        scores[number] = math.log(max(-math.expm1(doubt), 1e-9)) + SEARCH_WEIGHT * float(search[number])
    best = sorted(scores, key=lambda number: -scores[number])
    return [index.passages[number] for number in (*best, *found[len(best) :])]


def _doubt(engine: Engine, reader: SequenceReader, passage: Passage, question: str) -> float:
    """The logarithm of the probability that the model, asked about a passage alone, says that it does not say.

    Args:
        reader: has read what opens a prompt.
    """
    source, encode = engine.source, engine.source.tokenizer.encode
    refusal = encode(REFUSAL)
    prompt = [*encode(passage.headed), *encode(question_text(question)), *source.frame.closing]
    if reader.consumed + len(prompt) + len(refusal) > source.context:
        return 0.0
    hidden = torch.cat([step.hidden for step in reader.feed([*prompt, *refusal])])
    logits = engine.attached.logits(hidden[-1 - len(refusal) : -1]).log_softmax(-1)
    return float(logits.gather(-1, torch.tensor(refusal, device=logits.device)[:, None]).sum())
