"""Evaluations: every method reads every sample."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.evaluation.baselines import Full, Truncated
from beacon_cli.evaluation.condensed import Ask, Condensed
from beacon_cli.evaluation.methods import DoesNotFitError, Method, Prompt
from beacon_cli.evaluation.perplexity import Text, blocks, edges
from beacon_cli.evaluation.records import Journal, Record
from beacon_cli.evaluation.samples import QuestionTask, Sample
from beacon_cli.evaluation.sequences import Reading, continuation, read
from beacon_cli.evaluation.sharing import Shared
from beacon_cli.evaluation.streaming import Streaming
from beacon_cli.events import Counting, Progress, silent

Item = TypeVar("Item")


def make_methods(
    names: Sequence[str],
    engine: Engine,
    frame: Frame,
    ratios: Sequence[int],
    passages: int,
    stream: int | None = None,
) -> list[Method]:
    """The methods called `names`; `beacon` is one at each of `ratios`, `streaming` keeps `stream` rows."""
    made: dict[str, list[Method]] = {
        "full": [Full(engine, frame)],
        "truncated": [Truncated(engine, frame)],
        "streaming": [Streaming(engine, frame, stream)],
        "beacon": [Condensed(engine, frame, ratio) for ratio in ratios],
        "ask": [Ask(engine, frame, passages)],
    }
    return [method for name in names for method in made[name]]


def answer_questions(
    methods: Sequence[Method], task: QuestionTask, journal: Journal, progress: Progress = silent
) -> None:
    """Measure every sample that `journal` does not hold yet.

    Methods that read a document alike are asked together, with the first of them.
    """
    done = set(journal.done())
    for number, method in enumerate(methods):
        text, finished = f"{task.name}, {method.name}", sum(name == method.name for name, _ in done)
        progress(Counting(text, finished, task.count))
        waiting = (sample for sample in task.samples() if (method.name, sample.key) not in done)
        shared = Shared(method)
        for (sample, prompt), following in _with_next((each, _prompt(method, each, task)) for each in waiting):
            if isinstance(prompt, str):
                details = {"tokens": len(sample.ids)}
                records = [Record(method.name, sample.key, sample.group, {}, prompt, 1.0, details)]
            else:
                others = [other for other in methods[number + 1 :] if (other.name, sample.key) not in done]
                asked = [(method, prompt), *_alike(prompt, method, others, sample, task)]
                after = None if following is None or isinstance(following[1], str) else following[1]
                readings = shared.readings(prompt, after, len(asked))
                records = [_asked(each, task, sample, its, readings) for each, its in asked]
            journal.add(records)
            done.update((record.method, record.key) for record in records)
            finished += 1
            progress(Counting(text, finished, task.count))


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
            if (method.name, text.name) in done:
                continue
            began = time.perf_counter()
            found = list(blocks(method, text, lengths))
            seconds = round(time.perf_counter() - began, 3)
            records = [
                Record(
                    method.name, text.name, {"length": block.end, "from": block.first}, {"loss": block.loss}, None,
                    block.tokens, {"seconds": seconds, "text_sha256": text.sha256},
                )
                for block in found
            ]  # fmt: skip
            read_to = found[-1].end if found else 0
            for end in edges(lengths, len(text.ids))[1:]:
                if end > read_to:
                    problem = "does not fit the context"
                    records.append(Record(method.name, text.name, {"length": end}, {}, problem, 1.0, {}))
            journal.add(records)
        progress(Counting(f"perplexity, {method.name}", len(texts), len(texts)))


def _prompt(method: Method, sample: Sample, task: QuestionTask) -> Prompt | str:
    try:
        return method.prompt(sample, task.max_new_tokens)
    except DoesNotFitError as problem:
        return str(problem)


def _alike(
    prompt: Prompt, method: Method, others: Sequence[Method], sample: Sample, task: QuestionTask
) -> Iterator[tuple[Method, Prompt]]:
    """Those of `others` that read the prompt's very document as `method` does, and their prompts."""
    for other in others:
        if other.reads == method.reads:
            try:
                if other.ratio(sample, task.max_new_tokens) == prompt.ratio:
                    its = other.prompt(sample, task.max_new_tokens)
                    if its.document == prompt.document:
                        yield other, its
            except DoesNotFitError:
                continue  # which its own turn will say


def _asked(method: Method, task: QuestionTask, sample: Sample, prompt: Prompt, readings: Iterator[Reading]) -> Record:
    began = time.perf_counter()
    reading = next(readings)
    method.request_follows(reading)
    hidden = read(reading, prompt.request)
    rows = reading.rows
    answer = method.engine.source.tokenizer.decode(
        continuation(method.engine, reading, hidden, task.max_new_tokens)
    ).strip()
    whole = " ".join(map(str, [*prompt.document, *prompt.request]))
    details = {
        "question": sample.question,
        "expected": list(sample.answers),
        "answer": answer,
        "place": sample.place,
        "tokens": len(sample.ids),
        "rows": rows,
        "ratio": prompt.ratio,
        "prompt_sha256": hashlib.sha256(whole.encode()).hexdigest(),
        "seconds": round(time.perf_counter() - began, 3),
    }
    scores = {name: metric(answer, sample.answers) for name, metric in task.metrics.items()}
    return Record(method.name, sample.key, sample.group, scores, None, 1.0, details)


def _with_next(items: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
    iterator = iter(items)
    current = next(iterator, None)
    while current is not None:
        following = next(iterator, None)
        yield current, following
        current = following
