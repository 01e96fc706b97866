"""Laws of the methods: where two of them ought to be the same, they are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from beacon_cli.checkpoints.engine import Engine
from beacon_cli.errors import TooLongError
from beacon_cli.evaluation.baselines import Baseline, Full, Truncated
from beacon_cli.evaluation.beacon import BeaconMethod
from beacon_cli.evaluation.methods import Method
from beacon_cli.evaluation.metrics import found
from beacon_cli.evaluation.perplexity import Text, predict
from beacon_cli.evaluation.records import FILE, Journal, Measurement
from beacon_cli.evaluation.running import answer_questions, make_methods, predict_texts
from beacon_cli.evaluation.samples import EvalSample, QuestionTask
from beacon_cli.events import Counting, Event
from beacon_cli.library import Model, Ratio
from tests.activation_beacon.tiny import VOCABULARY, random_ids
from tests.evaluation.tiny_engine import FRAME, Letters, tiny_engine, tiny_model_of

METHODS = ("full", "truncated", "streaming", "beacon", "ask")
LENGTH = 8
GROWING = {
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine()


def methods_of(engine: Engine, *names: str, ratios: Sequence[int] = (2, 8), passages: int = 0) -> list[Method]:
    return make_methods(names, tiny_model_of(engine), ratios, passages, 0)


def sample(ids: list[int], question: str = "who?") -> EvalSample:
    """For methods that look at nothing but the ids."""
    return EvalSample("key", {}, "a text", ids, question, ("answer",))


def story(lines: int, question: str = "who?", key: str = "0") -> EvalSample:
    """A text, and the ids that a text file which says it has."""
    text = "\n\n".join(f"Line {number} says that {number} is odd." for number in range(lines))
    return EvalSample(key, {"length": lines}, text, Letters().encode(text), question, ("x",))


@pytest.mark.parametrize(("ratio", "passages"), [("auto", 0), ("auto", 2), (4, 0)])
def test_what_is_measured_is_what_the_library_answers(tmp_path: Path, ratio: Ratio, passages: int) -> None:
    engine = tiny_engine(1500)
    asked = [story(60, "who is 7?"), story(60, "is line 3 odd?"), story(3, "is line 1 odd?")]
    method = BeaconMethod("ask", tiny_model_of(engine), ratio, passages, 0)
    replies = [method.ask(each, LENGTH) for each in asked]
    for each, reply in zip(asked, replies, strict=True):
        (tmp_path / "story.txt").write_text(each.text)
        model = tiny_model_of(engine, tmp_path / "cache")
        room = model.room_for(each.question, max_new_tokens=LENGTH, passages=passages)
        memory = model.read(tmp_path / "story.txt", ratio=ratio, cache=False, room=room)
        answer = memory.ask(each.question, max_new_tokens=LENGTH, temperature=0.0, passages=passages)
        assert (reply.text, reply.rows, reply.ratio) == (answer.text, memory.rows, memory.ratio)
        assert len(reply.text) > 0


def selecting(model: Model) -> Model:
    """The same weights, of which selection condenses."""
    source = replace(model.source, info=None, beacon_folder=None, beacon_fingerprint="select")
    vars(source)["frame"] = FRAME
    other = Model(source, "cpu", Path())
    other.share_weights(model)
    return other


def test_what_else_condenses_is_measured_on_the_same_weights(tmp_path: Path) -> None:
    model = tiny_model_of(tiny_engine(1500), tmp_path)
    other = selecting(model)
    methods = make_methods(["condensed", "select", "beacon"], model, [2, 8], 0, 0, others={"select": other})
    assert [method.name for method in methods] == ["beacon 2x", "beacon 8x", "select 2x", "select 8x"]
    assert other.engine.model is model.engine.model
    told = story(40, "is line 3 odd?")
    beacon, *_, selected = (method.ask(told, LENGTH) for method in methods)
    (recalling,) = make_methods(["recall"], other, [8], 0, 2)
    memory = other.read_text(told.text, ratio=8, cache=False)
    for method, recall in ((selected, 0), (recalling.ask(told, LENGTH), 2)):
        answer = memory.ask(told.question, max_new_tokens=LENGTH, temperature=0.0, passages=0, recall=recall)
        assert (method.text, method.rows) == (answer.text, memory.rows)
    assert recalling.name == "recall 8x"
    assert selected.rows < beacon.rows < len(told.ids)


def test_selection_predicts_texts_of_any_length() -> None:
    model = selecting(tiny_model_of(tiny_engine(300)))
    (method,) = make_methods(["condensed"], model, [2], 0, 0)
    assert sum(map(len, method.losses(random_ids(3000)))) == 2999


def test_a_file_is_read_as_its_text_is(engine: Engine, tmp_path: Path) -> None:
    told = story(10, "is line 3 odd?")
    path = tmp_path / "story.txt"
    path.write_text(told.text)
    filed = EvalSample("key", {}, told.text, told.ids, told.question, ("x",), path=str(path))
    for method in methods_of(engine, *METHODS, passages=1):
        assert method.ask(told, LENGTH) == method.ask(filed, LENGTH)


def test_at_ratio_0_a_beacon_answers_like_full_attention(engine: Engine) -> None:
    full, beacon = methods_of(engine, "full", "beacon", ratios=[0])
    for lines in (1, 5, 10):
        assert beacon.ask(story(lines), LENGTH) == full.ask(story(lines), LENGTH)


@pytest.mark.parametrize("settings", [{}, GROWING], ids=["fixed", "growing"])
@pytest.mark.parametrize("name", METHODS)
def test_an_answer_is_the_same_whatever_was_asked_before(name: str, settings: dict[str, Any]) -> None:
    engine = tiny_engine(200, **settings)
    (method,) = methods_of(engine, name, ratios=[4])
    asked = [story(3, "what?"), story(3, "is line 1 odd?"), story(4, "what?"), story(3, "what?")]
    together = [method.ask(each, LENGTH) for each in asked]
    for each, reply in zip(asked, together, strict=True):
        method.forget()
        assert method.ask(each, LENGTH) == reply


def task(*samples: EvalSample) -> QuestionTask:
    return QuestionTask("test", "length", {"found": found}, 3, len(samples), lambda: iter(samples), {})


def figures(measured: Sequence[Measurement]) -> list[Any]:
    """All of them but how long it took."""
    return [
        (each.method, each.key, each.group, each.scores, each.problem, {**each.details, "seconds": 0})
        for each in measured
    ]


def test_an_evaluation_that_goes_on_is_one_that_was_never_interrupted(engine: Engine, tmp_path: Path) -> None:
    questions = task(story(2), story(2, "what?", "1"), story(30, "what?", "2"), story(90, "what?", "3"))
    events: list[Event] = []
    whole = Journal(tmp_path / "whole", {})
    answer_questions(methods_of(engine, *METHODS), questions, whole, events.append)
    assert len(whole.records) == len(set(whole.done())) == 6 * 4
    assert {each.problem is None for each in whole.records} == {True, False}
    counts = [event for event in events if isinstance(event, Counting)]
    assert [each.done for each in counts] == [0, 1, 2, 3, 4] * 6
    lines = (tmp_path / "whole" / FILE).read_text().splitlines(keepends=True)
    for kept in (1, 6, 20):
        folder = tmp_path / str(kept)
        folder.mkdir()
        (folder / FILE).write_text("".join(lines[:kept]) + lines[kept][:9])
        resumed = Journal(folder, {})
        answer_questions(methods_of(engine, *METHODS), questions, resumed)
        assert figures(resumed.records) == figures(whole.records)


def test_losses_that_were_not_all_kept_are_measured_again(engine: Engine, tmp_path: Path) -> None:
    texts = [Text("one", random_ids(300, 1)), Text("two", random_ids(300, 2))]
    methods = methods_of(engine, "full", "beacon")
    whole = Journal(tmp_path, {})
    predict_texts(methods, texts, [100, 200, 300], whole)
    assert len(whole.records) == 3 * 2 * 3
    kept = (tmp_path / FILE).read_text()
    for end in range(kept.index("\n") + 1, len(kept), len(kept) // 9):
        (tmp_path / FILE).write_text(kept[:end])
        resumed = Journal(tmp_path, {})
        predict_texts(methods, texts, [100, 200, 300], resumed)
        assert figures(resumed.records) == figures(whole.records)


def test_what_does_not_fit_is_said_not_scored(engine: Engine) -> None:
    with pytest.raises(TooLongError, match="of 512"):
        Full(engine).prompt(sample(random_ids(3000)), 8)
    for method in methods_of(engine, "beacon", "ask", ratios=[2]):
        with pytest.raises(TooLongError, match="holds at most"):
            method.ask(story(200), 8)
    journal = Journal(None, {})
    answer_questions(methods_of(engine, "full", "beacon", ratios=[2]), task(story(200)), journal)
    assert [(each.scores, bool(each.problem)) for each in journal.records] == [({}, True)] * 2


def test_a_question_that_leaves_less_room_is_asked_at_another_ratio() -> None:
    model = tiny_model_of(tiny_engine(500))
    method = BeaconMethod("ask", model, "auto", 0, 0)
    replies = [method.ask(story(14, question), LENGTH) for question in ("who?", "who? " * 20, "who?")]
    assert [reply.ratio for reply in replies] == [0, 2, 0]
    assert replies[0] == replies[2]


def test_truncation_keeps_both_ends_and_fills_the_context(engine: Engine) -> None:
    ids = random_ids(3000)
    document, request = Truncated(engine).prompt(sample(ids), 8)
    assert len(document) + len(request) + 8 == engine.source.context
    assert document[:100] == [*FRAME.opening, *ids[:98]]
    assert document[-100:] == ids[-100:]
    assert Truncated(engine).prompt(sample(ids[:100]), 8)[0] == [*FRAME.opening, *ids[:100]]


def test_decoding_is_greedy_and_bounded(engine: Engine) -> None:
    (method,) = methods_of(engine, "full")
    assert isinstance(method, Baseline)
    document, request = method.prompt(sample(random_ids(20)), 5)
    ids = [*document, *request]
    for _ in range(5):
        ids.append(int(engine.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    assert method.ask(sample(random_ids(20)), 5).text == Letters().decode(ids[-5:]).strip()


def test_all_methods_score_the_same_tokens(engine: Engine) -> None:
    text = Text("text", random_ids(1500))
    methods = methods_of(engine, "full", "truncated", "streaming", "beacon")
    scored = {method.name: predict(method, text, [100, 200, 1400]) for method in methods}
    spans = {
        name: [(each.group["from"], each.group["length"], each.weight) for each in measured if each.scores]
        for name, measured in scored.items()
    }
    everything = [(0, 100, 99), (100, 200, 100), (200, 1400, 1024), (200, 1400, 176)]
    assert spans == {
        "full": everything[:2],
        "truncated": everything,
        "streaming": everything,
        "beacon 2x": everything[:2],
        "beacon 8x": everything,
    }
    assert [each.group for each in scored["full"] if each.problem] == [{"length": 1400}]
    # Before the context is full, three of them are the same.
    for name in ("truncated", "streaming"):
        assert scored[name][1].scores["loss"] == pytest.approx(scored["full"][1].scores["loss"], abs=1e-4)


def test_full_attention_predicts_one_token_more_than_it_reads() -> None:
    engine = tiny_engine(context=64)
    assert sum(map(len, Full(engine).losses(random_ids(300)))) == 64 - len(FRAME.opening)


def test_truncated_losses_see_the_last_tokens_only() -> None:
    ids = random_ids(300)
    losses = torch.cat(list(Truncated(tiny_engine(context=64)).losses(ids)))
    assert len(losses) == 299
    alone = torch.cat(list(Full(tiny_engine(context=512)).losses(ids[300 - 63 :])))
    torch.testing.assert_close(losses[-20:], alone[-20:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["full", "truncated", "streaming", "beacon"])
def test_the_perplexity_of_a_model_that_knows_nothing_is_its_vocabulary(name: str) -> None:
    engine = tiny_engine()
    torch.nn.init.zeros_(engine.model.get_output_embeddings().weight)  # type: ignore[operator]  # a PreTrainedModel method
    (method,) = methods_of(engine, name, ratios=[8])
    for each in predict(method, Text("text", random_ids(400)), [400]):
        assert torch.tensor(each.scores["loss"]).exp().item() == pytest.approx(VOCABULARY, rel=1e-5)


def test_methods_are_made_in_the_order_of_their_names(engine: Engine) -> None:
    assert [method.name for method in methods_of(engine, "beacon", "full")] == ["beacon 2x", "beacon 8x", "full"]
