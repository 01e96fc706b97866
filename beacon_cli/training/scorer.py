"""Fitting a scorer: a text is read and said again, interval by interval, and what that scores is fitted in one step."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from activation_beacon.files import SCORER_FILE
from activation_beacon.memory import Activations
from activation_beacon.scorer import ScorerFit, save_scorer
from activation_beacon.selection import best
from beacon_cli.cache.store import default_root
from beacon_cli.checkpoints.engine import Engine, load_engine
from beacon_cli.checkpoints.model_source import locate_model
from beacon_cli.events import Counting, Note, Progress, Stage, silent
from beacon_cli.training.data import Lengths, read_data
from beacon_cli.training.layouts import Example, Layouts
from beacon_cli.training.metrics import writing
from beacon_cli.training.settings import TrainSettings

# A text is read in pieces of so many intervals; of all pieces as many as have so many tokens are taken, evenly.
INTERVALS, TOKENS = 4, 1 << 16
# While it is fitted, what is read is condensed at this ratio, at which the rows that it and saying it again keep are
# compared, too, on every tenth piece, which is not fitted to.
RATIO, HELD_OUT = 4, 10


@dataclass(frozen=True)
class Fitted:
    """A scorer that was fitted.

    Attributes:
        path: of its file.
        tokens: it was fitted to.
        agreement: share of the rows that saying it again keeps which it keeps too, on other pieces; None of too few.
    """

    path: Path
    tokens: int
    agreement: float | None
    seconds: float


def fit_scorer(settings: TrainSettings, out: Path, progress: Progress = silent) -> Fitted:
    """Fit a scorer to a model on `settings.data`, and write it to `out`.

    Raises:
        BeaconError: for whatever the user can act on.
    """
    began = time.perf_counter()
    source = locate_model(settings.model, None, default_root(), condense="select", progress=progress)
    selection = source.selection
    progress(Stage("reading the training data"))
    lengths = Lengths(selection.window, INTERVALS * selection.window)
    data = read_data(settings.data, Layouts(source.tokenizer), lengths, pack=True, skip_bad=settings.skip_bad)
    pieces = _evenly(data.examples, max(1, TOKENS // lengths.max_tokens))
    progress(Stage(f"loading {source.name}"))
    engine = load_engine(source, settings.device)
    if engine.note:
        progress(Note(engine.note))
    fit, shares = ScorerFit(), list[float]()
    apart = pieces[HELD_OUT - 1 :: HELD_OUT]
    del pieces[HELD_OUT - 1 :: HELD_OUT]
    for number, piece in enumerate(pieces):
        progress(Counting("fitting the scorer", number, len(pieces) + len(apart)))
        read_again(engine, piece, fit.add)
    scorer = fit.scorer(source.name, source.base_fingerprint)
    for number, piece in enumerate(apart, len(pieces)):
        progress(Counting("fitting the scorer", number, len(pieces) + len(apart)))
        read_again(engine, piece, lambda rows, scores: shares.append(_shared(scorer.scores(rows), scores)))
    progress(Counting("fitting the scorer", len(pieces) + len(apart), len(pieces) + len(apart)))
    with writing(out):
        save_scorer(out, scorer)
    agreement = sum(shares) / len(shares) if shares else None
    return Fitted(out / SCORER_FILE, fit.tokens, agreement, time.perf_counter() - began)


def _evenly(examples: Sequence[Example], most: int) -> list[list[int]]:
    """The token ids of up to `most` examples."""
    count = min(most, len(examples))
    return [examples[number * len(examples) // count].ids.tolist() for number in range(count)]


def read_again(engine: Engine, ids: Sequence[int], observe: Callable[[Activations, Tensor], None]) -> None:
    """Read a text as a document is read, saying its intervals again; `observe` is shown their rows and scores."""
    reader = engine.attached.selecting_reader(RATIO, engine.source.selection)
    reader.observe = observe
    reader.remember([*engine.source.frame.opening, *ids])


def _shared(scores: Tensor, others: Tensor) -> float:
    """Share of the rows that `others` keep at `RATIO` which `scores` keep, too; both (layers, kv_heads, rows)."""
    rows = max(1, others.shape[-1] // RATIO)
    both = best(scores, rows) & best(others, rows)
    return int(both.sum()) / int(best(others, rows).sum())
