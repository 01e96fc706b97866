"""Laws of the methods: where two of them ought to be the same, they are."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from activation_beacon.architecture import decoder_of
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.evaluation.baselines import Full, Plain, Truncated
from beacon_cli.evaluation.condensed import Ask, Condensed, Condensing
from beacon_cli.evaluation.methods import DoesNotFitError, Method
from beacon_cli.evaluation.metrics import found
from beacon_cli.evaluation.perplexity import Text, blocks
from beacon_cli.evaluation.records import Journal
from beacon_cli.evaluation.running import answer_questions, make_methods
from beacon_cli.evaluation.samples import QuestionTask, Sample
from beacon_cli.evaluation.sequences import Reading, continuation, read
from beacon_cli.evaluation.sharing import Shared
from beacon_cli.evaluation.streaming import Stream
from tests.activation_beacon.tiny import VOCABULARY, random_ids
from tests.evaluation.tiny_engine import FRAME, tiny_engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine()


def hidden(reading: Reading, ids: Sequence[int]) -> torch.Tensor:
    return torch.cat(list(reading.feed(ids)))


def sample(ids: list[int], question: str = "who?") -> Sample:
    return Sample("key", {}, ids, ["a page"], question, ("answer",))


def test_plain_reading_is_what_transformers_computes(engine: Engine) -> None:
    ids = random_ids(600)
    expected = decoder_of(engine.model)(input_ids=torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(hidden(Plain(engine), ids), expected, atol=1e-4, rtol=1e-4)


def test_a_beacon_at_ratio_0_is_full_attention(engine: Engine) -> None:
    ids = random_ids(200)
    torch.testing.assert_close(hidden(Condensing(engine, 0), ids), hidden(Plain(engine), ids), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("start", [lambda e: Plain(e), lambda e: Stream(e, 64), lambda e: Condensing(e, 4)])
def test_a_fork_goes_on_like_its_origin_and_leaves_it_alone(engine: Engine, start: object) -> None:
    first, second, third = random_ids(64, 1), random_ids(50, 2), random_ids(50, 3)
    origin = start(engine)  # type: ignore[operator]
    read(origin, first)
    fork = origin.fork()
    read(fork, second)
    went_on = hidden(origin, third)
    alone = start(engine)  # type: ignore[operator]
    read(alone, first)
    assert torch.equal(went_on, hidden(alone, third))


GROWING = {
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
}


@pytest.mark.parametrize("settings", [{}, GROWING], ids=["fixed", "growing"])
@pytest.mark.parametrize("name", ["full", "truncated", "streaming", "beacon", "ask"])
def test_sharing_changes_nothing(name: str, settings: dict[str, Any]) -> None:
    engine = tiny_engine(200, **settings)
    (method,) = make_methods([name], engine, FRAME, [4], passages=0)
    common = random_ids(130, 1)
    texts = [common[:cut] + random_ids(140 - cut, cut) for cut in (20, 60, 60, 125, 3)]
    prompts = [method.prompt(sample(ids), 8) for ids in texts]
    shared = Shared(method)
    for prompt, following in zip(prompts, [*prompts[1:], None], strict=True):
        together = [hidden(reading, prompt.request) for reading in shared.readings(prompt, following, count=2)]
        alone = method.start(prompt.ratio)
        if prompt.document:
            read(alone, prompt.document)
        expected = hidden(alone, prompt.request)
        assert all(torch.equal(each, expected) for each in together)


def test_methods_that_read_alike_are_asked_together_and_answer_as_they_do_alone(engine: Engine) -> None:
    texts = [random_ids(length, length) for length in (60, 200, 560)]
    samples = [
        Sample(str(number), {"length": number}, ids, ["a page"], "who?", ("x",)) for number, ids in enumerate(texts)
    ]
    task = QuestionTask("test", "length", {"found": found}, 3, len(samples), lambda: iter(samples), {})

    def measured(*names: str) -> dict[tuple[str, str], tuple[str, object]]:
        journal = Journal(None, {})
        methods = make_methods(names, engine, FRAME, [2, 4], passages=0)
        counts: list[Any] = []
        answer_questions(methods, task, journal, counts.append)
        assert counts[-1].done == len(samples)
        assert len(journal.records) == len(set(journal.done())) == len(methods) * len(samples)
        return {(r.method, r.key): (r.problem or r.details["answer"], r.details.get("rows")) for r in journal.records}

    together = measured("full", "truncated", "streaming", "beacon", "ask")
    alone = {k: v for name in ("full", "truncated", "streaming", "beacon", "ask") for k, v in measured(name).items()}
    assert together == alone


def test_what_does_not_fit_is_said_not_scored(engine: Engine) -> None:
    long = sample(random_ids(3000))
    with pytest.raises(DoesNotFitError, match="of 512"):
        Full(engine, FRAME).prompt(long, 8)
    with pytest.raises(DoesNotFitError, match="at ratio 2"):
        Condensed(engine, FRAME, 2).prompt(long, 8)
    assert len(Condensed(engine, FRAME, 8).prompt(long, 8).document) == 2992


def test_truncation_keeps_both_ends_and_fills_the_context(engine: Engine) -> None:
    ids = random_ids(3000)
    prompt = Truncated(engine, FRAME).prompt(sample(ids), 8)
    assert len(prompt.document) + len(prompt.request) + 8 == engine.source.context
    assert prompt.document[:100] == [*FRAME.opening, *ids[:98]]
    assert prompt.document[-100:] == ids[-100:]
    assert Truncated(engine, FRAME).prompt(sample(ids[:100]), 8).document == [*FRAME.opening, *ids[:100]]


def test_the_unfinished_interval_and_the_question_are_read_raw(engine: Engine) -> None:
    method = Condensed(engine, FRAME, 8)
    prompt = method.prompt(sample(random_ids(37)), 8)
    reading = method.start(8)
    read(reading, prompt.document)
    assert reading.rows == 2 * 2  # two intervals of 16 tokens at ratio 8
    method.request_follows(reading)
    read(reading, prompt.request)
    assert reading.rows == 4 + len(prompt.request)


def test_ask_takes_the_smallest_ratio_that_fits(engine: Engine) -> None:
    ask = Ask(engine, FRAME, passages=0)
    assert ask.prompt(sample(random_ids(100)), 8).ratio == 0
    assert ask.prompt(sample(random_ids(800)), 8).ratio == 2
    with pytest.raises(DoesNotFitError):
        ask.prompt(sample(random_ids(9000)), 8)


def test_all_methods_score_the_same_tokens(engine: Engine) -> None:
    ids = random_ids(1500)
    methods = make_methods(["full", "truncated", "streaming", "beacon"], engine, FRAME, [2, 8], passages=0)
    scored = {method.name: list(blocks(method, Text("text", ids), [100, 200, 1400])) for method in methods}
    spans = {name: [(block.first, block.end, block.tokens) for block in found] for name, found in scored.items()}
    everything = [(0, 100, 99), (100, 200, 100), (200, 1400, 1024), (200, 1400, 176)]
    assert spans == {
        "full": everything[:2],
        "truncated": everything,
        "streaming": everything,
        "beacon 2x": everything[:2],
        "beacon 8x": everything,
    }
    # Before the context is full, three of them are the same.
    assert scored["truncated"][1].loss == pytest.approx(scored["full"][1].loss, abs=1e-4)
    assert scored["streaming"][1].loss == pytest.approx(scored["full"][1].loss, abs=1e-4)


def test_full_attention_predicts_one_token_more_than_it_reads() -> None:
    engine = tiny_engine(context=64)
    assert sum(map(len, Full(engine, FRAME).losses(random_ids(300)))) == 64 - len(FRAME.opening)


def test_truncated_losses_see_the_last_tokens_only() -> None:
    engine = tiny_engine(context=64)
    ids = random_ids(300)
    truncated, full = Truncated(engine, FRAME), Full(tiny_engine(context=512), FRAME)
    losses = torch.cat(list(truncated.losses(ids)))
    assert len(losses) == 299
    last = ids[300 - 63 :]
    alone = torch.cat(list(full.losses(last)))
    torch.testing.assert_close(losses[-20:], alone[-20:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["full", "truncated", "streaming", "beacon"])
def test_the_perplexity_of_a_model_that_knows_nothing_is_its_vocabulary(name: str) -> None:
    engine = tiny_engine()
    torch.nn.init.zeros_(engine.model.get_output_embeddings().weight)  # type: ignore[operator]
    (method,) = make_methods([name], engine, FRAME, [8], passages=0)
    for block in blocks(method, Text("text", random_ids(400)), [400]):
        assert torch.tensor(block.loss).exp().item() == pytest.approx(VOCABULARY, rel=1e-5)


def test_continuation_is_greedy_and_bounded(engine: Engine) -> None:
    ids, reading = random_ids(20), Plain(engine)
    went_on = continuation(engine, reading, read(reading, ids), 5)
    assert len(went_on) == 5
    output = engine.model(input_ids=torch.tensor([[*ids, *went_on]])).logits[0, len(ids) - 1 : -1]
    assert output.argmax(-1).tolist() == went_on


def test_methods_are_made_in_the_order_of_their_names(engine: Engine) -> None:
    made: list[Method] = make_methods(["beacon", "full"], engine, FRAME, [2, 8], passages=0)
    assert [method.name for method in made] == ["beacon 2x", "beacon 8x", "full"]
