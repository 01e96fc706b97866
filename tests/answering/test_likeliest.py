"""The likeliest answer after passages alone: found for certain, said as soon as it is sure, and read from the text."""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import beacon_cli as beacon
from beacon_cli.answering import saying
from beacon_cli.answering.decoding import End, generate
from beacon_cli.answering.likeliest import ABSENT, CERTAIN, MUCH, PASSES, TOKENS, generate_likeliest, likeliest, worth
from beacon_cli.answering.prompt_lookup import PromptLookup
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.checkpoints.engine import Engine
from tests.stories import WHO_KEEPS

# Of a vocabulary of four.
END = 3


class Told:
    """A model of four tokens, each of whose answers has a probability of its own; counts how often it is asked.

    Attributes:
        sharp: how far apart probabilities are.
    """

    def __init__(self, seed: int, sharp: float) -> None:
        self.seed, self.sharp, self.asked = seed, sharp, 0

    def __call__(self, ids: tuple[int, ...]) -> Tensor:
        self.asked += 1
        chance = random.Random(f"{self.seed}/{ids}")
        return torch.tensor([self.sharp * chance.gauss(0, 1) for _ in range(4)])

    def probability(self, ids: Sequence[int], end: Sequence[int] = (END,)) -> float:
        said = [*ids, *end]
        return math.prod(float(self(tuple(said[:place])).softmax(-1)[token]) for place, token in enumerate(said))


def all_of(search: Iterator[int]) -> tuple[list[int], bool]:
    """What is said, and whether it was found."""
    said = [*search]
    return (said[:-1], True) if END in said else (said, False)


def counts(ids: Sequence[int]) -> float:
    """Nothing for none, or one that begins with 2, and little for one that ends with 1."""
    return 0.0 if not ids or ids[0] == 2 else ABSENT if ids[-1] == 1 else 1.0


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sharp", [0.5, 1.0, 2.0])
def test_it_is_the_one_of_the_highest_probability_times_what_it_counts_for(seed: int, sharp: float) -> None:
    model, most = Told(seed, sharp), 2
    every = [ids for length in range(most + 1) for ids in itertools.product(range(3), repeat=length)]
    worths = {ids: model.probability(ids) * counts(ids) for ids in every}
    if float(model(()).softmax(-1).max()) >= CERTAIN:
        return
    model.asked = 0
    said, found = all_of(likeliest(model, {END}, most, counts))
    assert model.asked <= PASSES + 1
    # Thirteen beginnings are all that there are: none was left for want of passes.
    longest = max(model.probability(ids, ()) for ids in itertools.product(range(3), repeat=most + 1))
    if found:
        assert worths[tuple(said)] == max(worths.values()) >= longest / MUCH * (1 - 1e-6)
    else:
        assert max(worths.values()) < longest / MUCH


def test_what_is_certain_is_said_before_the_rest_is_looked_for() -> None:
    asked = list[tuple[int, ...]]()

    def following(ids: tuple[int, ...]) -> Tensor:
        asked.append(ids)
        sure = {(): 0, (0,): 1}.get(ids)
        return torch.tensor([0.0, 0.0, 0.0, 1.0] if sure is None else [50.0 * (token == sure) for token in range(4)])

    search = likeliest(following, {END}, 5, lambda ids: 1.0)
    assert [next(search), asked] == [0, [()]]
    assert [next(search), asked] == [1, [(), (0,)]]
    assert all_of(search) == ([], True)


def test_what_is_too_long_or_counts_for_nothing_is_not_found() -> None:
    def endless(ids: tuple[int, ...]) -> Tensor:
        return torch.tensor([1.0, 0.0, 0.0, -50.0])

    model = Told(1, 1.0)
    assert all_of(likeliest(model, {END}, 3, lambda ids: 0.0)) == ([], False)
    said, found = all_of(likeliest(lambda ids: endless(ids) - torch.tensor([0, 0, 0, math.inf]), {END}, 2, counts))
    assert (said, found) == ([], False)


def test_the_refusal_counts_for_nothing_and_what_does_not_stand_in_the_text_for_less() -> None:
    texts = ["Edda Voss keeps\nthe lighthouse.", "Carl Pike does not."]
    assert worth("edda voss", texts) == worth("Carl Pike.", texts) == worth("keeps the lighthouse", texts) == 1
    assert worth("Edda", texts) == 1
    assert worth("Edd", texts) == worth("Pike Edda", texts) == ABSENT
    assert worth(REFUSAL, texts) == worth(" ", texts) == worth("", texts) == 0


@pytest.fixture
def engine(scripted_model: Path, tmp_path: Path) -> Engine:
    return beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu").engine


def test_an_answer_that_is_not_found_is_generated_as_ever(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, ends = engine.source.tokenizer.encode("Who keeps it? "), engine.source.tokenizer.eos_ids
    found = []
    for search in (False, True):
        reader = engine.reader(4)
        asked = PromptLookup(engine, reader, reader.read(prompt), back=TOKENS)
        if search:
            found.append(list(generate_likeliest(engine, asked, [], max_new_tokens=30)))
        else:
            found.append(list(generate(engine, asked, max_new_tokens=30, temperature=0)))
        # Without this, the model's random weights end some answer that may be found.
        monkeypatch.setattr("beacon_cli.answering.likeliest.worth", lambda *_: 0.0)
        if not search:
            continue
        assert found[0] == found[1]
    assert not {token for token in found[0] if not isinstance(token, End)} & set(ends)


def test_of_what_may_be_said_that_is_which_stands_in_the_text(engine: Engine) -> None:
    """As the tool decodes it, end and all."""
    tokenizer = engine.source.tokenizer
    words = {name: tokenizer.encode(name) for name in ("Edda Voss", "Carl Pike")}
    (end,) = tokenizer.eos_ids

    class OfTwo(PromptLookup):
        """Says one name or the other, the first with less probability."""

        def __init__(self) -> None:
            """There is nothing to read."""

        def following(self, ids: tuple[int, ...]) -> Tensor:
            logits = torch.full((end + 1,), -30.0)
            for strength, name in enumerate(words):
                said = (*words[name], end)
                if said[: len(ids)] == ids:
                    logits[said[len(ids)]] = float(strength)
            return logits

    for text, expected in (("Edda Voss keeps it.", "Edda Voss"), ("Nobody does.", "Carl Pike")):
        said = list(generate_likeliest(engine, OfTwo(), [text], max_new_tokens=20))
        assert said[-1] == End("stop")
        assert tokenizer.decode([token for token in said if isinstance(token, int)]) == expected


def test_it_is_looked_for_after_passages_alone_and_only_where_nothing_is_left_to_chance(
    scripted_model: Path, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[list[str]]()

    def searching(engine: Engine, after: PromptLookup, texts: list[str], *, max_new_tokens: int) -> Iterator[int | End]:
        asked.append(texts)
        return generate(engine, after, max_new_tokens=max_new_tokens, temperature=0)

    monkeypatch.setattr(saying, "generate_likeliest", searching)
    model = beacon.load(str(scripted_model), cache_dir=tmp_path / "cache", device="cpu")
    model.source = replace(model.source, passages_first=True, refuses_from=1.1)
    memory = model.read(book, ratio=4)
    answer = memory.ask(WHO_KEEPS, passages=2).complete()
    assert asked == [[passage.headed for passage in answer.passages]]
    memory.ask(WHO_KEEPS, passages=2, temperature=1.0).complete()
    memory.ask(WHO_KEEPS, passages=0).complete()
    memory.ask(WHO_KEEPS, passages=2, template="Say: {question}").complete()
    memory.summarize().complete()
    assert len(asked) == 1
