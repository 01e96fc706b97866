"""What is said after a prompt: the refusal, the likeliest answer, or token after token."""

from collections.abc import Iterable, Sequence

from torch import Tensor

from activation_beacon import SequenceReader
from beacon_cli.answering.decoding import End, generate
from beacon_cli.answering.likeliest import TOKENS, generate_likeliest
from beacon_cli.answering.prompt_lookup import PromptLookup
from beacon_cli.answering.refusing import refusal, refuses
from beacon_cli.answering.request import Decoding
from beacon_cli.checkpoints.engine import Engine


def say(
    engine: Engine,
    reader: SequenceReader,
    logits: Tensor,
    texts: Sequence[str],
    how: Decoding,
    ratio: int,
    *,
    alone: bool,
) -> Iterable[int | End]:
    """The tokens of an answer; at last, why it ended.

    Args:
        reader: has read the prompt.
        logits: (vocabulary) of what follows it.
        texts: the passages in it.
        ratio: at which what is said is condensed.
        alone: whether there is nothing else before the question. If it is put in the tool's own words, the refusal is
            said wherever its probability reaches the model's limit, and else, if nothing is left to chance, the
            likeliest answer.
    """
    most = how.max_new_tokens
    # There must be room for the refusal and its end.
    own = alone and how.template is None and len(refusal(engine)) < most
    limit = engine.source.refuses_from if own else None
    refused = limit is not None and refuses(engine, reader, logits, limit)
    reader.condense_at(ratio)
    if refused:
        return (*refusal(engine), End("stop"))
    if limit is None or how.temperature > 0:
        asked = PromptLookup(engine, reader, logits, texts)
        return generate(engine, asked, max_new_tokens=most, temperature=how.temperature)
    asked = PromptLookup(engine, reader, logits, texts, back=TOKENS)
    return generate_likeliest(engine, asked, texts, max_new_tokens=most)
