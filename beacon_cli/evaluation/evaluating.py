"""What `beacon eval` runs: from a plan to results in a folder."""

import lzma
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import torch
import transformers

from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.condensing.text import PAGE_BREAK
from beacon_cli.documents import open_document
from beacon_cli.errors import SettingsError
from beacon_cli.evaluation import plots, report
from beacon_cli.evaluation.needle import Needle, needle
from beacon_cli.evaluation.passkey import passkey
from beacon_cli.evaluation.perplexity import Text
from beacon_cli.evaluation.plan import Plan
from beacon_cli.evaluation.qa import qa
from beacon_cli.evaluation.records import Journal, cannot_write
from beacon_cli.evaluation.running import answer_questions, make_methods, predict_texts
from beacon_cli.evaluation.samples import QuestionTask
from beacon_cli.evaluation.topic import topic
from beacon_cli.events import Note, Progress, silent
from beacon_cli.library import Model, load
from beacon_cli.settings import Condense, Settings
from beacon_cli.version import __version__

RATIOS = (4, 8, 16)
SAMPLES = {"passkey": 10, "topic": 10}
EMBEDDED = "the-time-machine.txt"
# Counts up when the same plan would give other figures: results of before are not gone on with.
MEASURING = 3


@dataclass(frozen=True)
class Evaluated:
    """What came of an evaluation.

    Attributes:
        columns, rows: its table.
        results: everything, for machines.
        paths: of the files that were written.
    """

    columns: list[str]
    rows: list[list[str]]
    results: dict[str, Any]
    paths: tuple[str, ...]


def evaluate(plan: Plan, chosen: Settings, progress: Progress = silent) -> Evaluated:
    """Measure what `plan.out` does not hold yet.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    model, others = _loaded(plan, chosen, progress)
    source = model.source
    for each in (model, *others.values()):
        for ratio in plan.ratios or ():
            each.source.check_ratio(ratio)
    ratios = plan.ratios or _own_ratios(source)
    if plan.stream is not None and plan.stream > source.context:
        raise SettingsError(
            f"--stream {plan.stream:,} is more than the model's {source.context:,} positions: give less"
        )
    task, texts = _prepared(plan, source.tokenizer)
    identity = {
        "measuring": MEASURING,
        "task": plan.task,
        "model": source.name,
        "base_fingerprint": source.base_fingerprint,
        "beacon_fingerprint": source.beacon_fingerprint,
        "tokenizer_fingerprint": source.tokenizer.fingerprint,
        "lengths": list(plan.lengths),
        "depths": list(plan.depths),
        "samples": plan.samples,
        "seed": plan.seed,
        "passages": chosen.passages,
        "recall": chosen.recall,
        "stream": plan.stream,
        "settings": {"files": [text.sha256 for text in texts]} if task is None else task.settings,
    }
    journal = Journal(plan.out, identity)
    engine = model.engine
    began = time.perf_counter()
    methods = make_methods(plan.methods, model, ratios, chosen.passages, chosen.recall, plan.stream, others)
    if task is None:
        predict_texts(methods, texts, plan.lengths, journal, progress)
    else:
        answer_questions(methods, task, journal, progress)
    header = {**identity, "command": plan.command, **_circumstances(engine), "seconds": time.perf_counter() - began}
    measured = [each for method in methods for each in journal.records if each.method == method.name]
    axis, metrics = ("length", ["loss"]) if task is None else (task.axis, list(task.metrics))
    return _kept(plan.out, report.results(header, axis, measured, metrics), progress)


def _loaded(plan: Plan, chosen: Settings, progress: Progress) -> tuple[Model, dict[str, Model]]:
    """The model as it is chosen, and its weights with whatever else the methods name, by what condenses."""

    def found(condense: Condense | None) -> Model:
        return load(
            chosen.model, chosen.beacon if condense != "select" else None, beacon_bits=chosen.beacon_bits,
            condense=condense, device=chosen.device, threads=chosen.threads, progress=progress,
        )  # fmt: skip

    model = found(chosen.condense)
    wanted = [name for name in get_args(Condense) if name in plan.methods and name != model.source.condense]
    others = {name: found(name) for name in wanted}
    # Selection reads with a beacon's model as well, and leaves the beacon alone.
    first = next((each for each in (model, *others.values()) if each.source.condense == "beacon"), model)
    for each in (model, *others.values()):
        if each is not first:
            each.share_weights(first)
    return model, others


def _own_ratios(source: ModelSource) -> tuple[int, ...]:
    return tuple(ratio for ratio in RATIOS if ratio in source.ratios) or tuple(
        ratio for ratio in source.ratios if ratio
    )


def _prepared(plan: Plan, tokenizer: Tokenizer) -> tuple[QuestionTask | None, list[Text]]:
    """The task if it asks questions, or else the texts to predict."""
    if plan.task == "qa":
        return qa(tokenizer, plan.files, plan.samples, plan.seed), []
    samples = plan.samples or SAMPLES.get(plan.task, 1)
    if plan.task == "passkey":
        return passkey(tokenizer, plan.lengths, samples, plan.seed), []
    if plan.task == "topic":
        return topic(tokenizer, plan.lengths, samples, plan.seed), []
    named = [(path.name, _text(path)) for path in plan.files] or [(EMBEDDED, embedded_text())]
    if plan.task == "needle":
        hay = "\n\n".join(text for _, text in named)
        own = Needle(str(plan.needle), str(plan.question), str(plan.answer)) if plan.needle else None
        return needle(tokenizer, hay, own, plan.lengths, plan.depths, samples, plan.seed), []
    texts = [Text(name, tokenizer.encode(text)) for name, text in named]
    longest = max(len(text.ids) for text in texts)
    if min(plan.lengths) > longest:
        raise SettingsError(f"the longest text has {longest:,} tokens; give longer ones, or a smaller --lengths")
    return None, texts


def embedded_text() -> str:
    """The book that comes with the tool: The Time Machine by H. G. Wells (public domain)."""
    with lzma.open(Path(__file__).with_name(f"{EMBEDDED}.xz"), "rt", encoding="utf-8") as file:
        text: str = file.read()
    return text


def _text(path: Path) -> str:
    with open_document(str(path)) as document:
        return PAGE_BREAK.join(page.text for page in document.pages())


def _circumstances(engine: Engine) -> dict[str, Any]:
    source = engine.source
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "context": source.context,
        "window": source.window,
        "device": str(engine.device),
        "dtype": engine.computing,
        "threads": torch.get_num_threads(),
        "versions": {
            "beacon": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }


def _kept(out: Path | None, found: dict[str, Any], progress: Progress) -> Evaluated:
    columns, rows = report.table(report.rows_of(found), found["axis"])
    paths: Sequence[Path] = ()
    if out is not None:
        paths = report.write(out, found)
        try:
            paths = [*paths, *plots.draw(out, found)]
        except ImportError:
            progress(Note("no pictures: matplotlib is not installed; pip install 'beacon-cli[plots]' brings it"))
        except OSError as error:
            raise cannot_write(out, error) from error
    return Evaluated(columns, rows, found, tuple(map(str, paths)))
