"""Running an evaluation: every method reads every sample that is not measured yet."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from beacon_cli.errors import TooLongError
from beacon_cli.evaluation.baselines import Full, Streaming, Truncated
from beacon_cli.evaluation.beacon import BeaconMethod
from beacon_cli.evaluation.methods import Method
from beacon_cli.evaluation.perplexity import Text, predict
from beacon_cli.evaluation.records import Journal, Measurement
from beacon_cli.evaluation.samples import EvalSample, QuestionTask
from beacon_cli.events import Counting, Progress, silent
from beacon_cli.library import Model


def make_methods(
    names: Sequence[str],
    model: Model,
    ratios: Sequence[int],
    passages: int | None,
    recall: int,
    stream: int | None = None,
    others: Mapping[str, Model] = MappingProxyType({}),
) -> list[Method]:
    """The methods called `names`; what condenses is one at each of `ratios`, `streaming` keeps `stream` rows.

    Args:
        others: the same weights with what else condenses, by its name.
    """
    condensing = {model.source.condense: model, **others}
    made: dict[str, list[Method]] = {
        "full": [Full(model.engine)],
        "truncated": [Truncated(model.engine)],
        "streaming": [Streaming(model.engine, stream)],
        **{
            name: [BeaconMethod(f"{name} {ratio}x", each, ratio, 0, 0) for ratio in ratios]
            for name, each in condensing.items()
        },
        "recall": [BeaconMethod(f"recall {ratio}x", model, ratio, 0, recall) for ratio in ratios],
        "ask": [BeaconMethod("ask", model, "auto", passages, recall)],
    }
    chosen = dict.fromkeys(model.source.condense if name == "condensed" else name for name in names)
    return [method for name in chosen for method in made[name]]


def answer_questions(
    methods: Sequence[Method], task: QuestionTask, journal: Journal, progress: Progress = silent
) -> None:
    """Ask every question of `task` that `journal` does not hold yet."""
    done = set(journal.done())
    for method in methods:
        text, finished = f"{task.name}, {method.name}", sum(name == method.name for name, _ in done)
        progress(Counting(text, finished, task.count))
        for sample in task.samples():
            if (method.name, sample.key) not in done:
                journal.add([_asked(method, task, sample)])
                finished += 1
                progress(Counting(text, finished, task.count))
        method.forget()


def predict_texts(
    methods: Sequence[Method],
    texts: Sequence[Text],
    lengths: Sequence[int],
    journal: Journal,
    progress: Progress = silent,
) -> None:
    """Measure the losses of every text that `journal` does not hold yet."""
    done = set(journal.done())
    for method in methods:
        for number, text in enumerate(texts):
            progress(Counting(f"perplexity, {method.name}", number, len(texts)))
            if (method.name, text.name) not in done:
                journal.add(predict(method, text, lengths))
        progress(Counting(f"perplexity, {method.name}", len(texts), len(texts)))


def _asked(method: Method, task: QuestionTask, sample: EvalSample) -> Measurement:
    began = time.perf_counter()
    try:
        reply = method.ask(sample, task.max_new_tokens)
    except TooLongError as problem:
        return Measurement(method.name, sample.key, sample.group, {}, str(problem), 1.0, {"tokens": len(sample.ids)})
    details = {
        "question": sample.question,
        "expected": list(sample.answers),
        "answer": reply.text,
        "place": sample.place,
        "tokens": len(sample.ids),
        "rows": reply.rows,
        "ratio": reply.ratio,
        "text_sha256": hashlib.sha256(sample.text.encode("utf-8", "replace")).hexdigest(),
        "seconds": round(time.perf_counter() - began, 3),
    }
    scores = {name: metric(reply.text, sample.answers) for name, metric in task.metrics.items()}
    return Measurement(method.name, sample.key, sample.group, scores, None, 1.0, details)
