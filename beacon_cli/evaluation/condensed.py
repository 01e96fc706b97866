"""The LLM with its beacon: from the condensed memory alone, and as `beacon ask` answers."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from activation_beacon.ratios import Fixed
from beacon_cli.answering.answer import PASSAGE_TOKENS
from beacon_cli.answering.passages import split_passages
from beacon_cli.answering.search import SearchIndex
from beacon_cli.cache import PageText
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.condensing.ratio import smallest_ratio
from beacon_cli.evaluation.methods import DoesNotFitError, Method, Prompt, running_losses
from beacon_cli.evaluation.samples import Sample
from beacon_cli.evaluation.sequences import Reading, duplicate


class Condensing:
    """A text condensed interval by interval at one ratio."""

    def __init__(self, engine: Engine, ratio: int) -> None:
        self._engine, self._reader = engine, engine.reader(ratio)
        self.step = engine.source.info.config.window

    @property
    def rows(self) -> int:
        return self._reader.memory.size

    def feed(self, ids: Sequence[int]) -> Iterator[Tensor]:
        for step in self._reader.feed(ids):
            yield step.hidden

    def read_raw(self) -> None:
        """From the next interval on, nothing is condensed."""
        self._reader.planner.chooser = Fixed(0)

    def fork(self) -> "Condensing":
        twin: Condensing = duplicate(self, self._engine)
        return twin


class Condensed(Method):
    """From the condensed memory alone, at a fixed ratio; the unfinished interval and the request are read raw."""

    reads = "condensed"

    def __init__(self, engine: Engine, frame: Frame, ratio: int) -> None:
        super().__init__(f"beacon {ratio}x", engine, frame)
        self._ratio = ratio

    def start(self, ratio: int) -> Condensing:
        return Condensing(self.engine, ratio)

    def ratio(self, sample: Sample, room: int) -> int:
        return self._ratio

    def prompt(self, sample: Sample, room: int) -> Prompt:
        return self._condensed(self._ratio, sample, self._request(sample), room)

    def request_follows(self, reading: Reading) -> None:
        if isinstance(reading, Condensing):
            reading.read_raw()

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        source, opening = self.engine.source, self.frame.opening
        config = source.info.config
        intervals = (source.context - config.sink_size - config.window) // self._rows(self._ratio)
        most = intervals * config.window - len(opening)
        return running_losses(self.engine, self.start(self._ratio), ids[:most], opening)

    def _rows(self, ratio: int) -> int:
        """Of memory, that an interval leaves."""
        window = self.engine.source.info.config.window
        return window // ratio if ratio else window

    def _condensed(self, ratio: int, sample: Sample, request: list[int], room: int) -> Prompt:
        config, context, document = self.engine.source.info.config, self.engine.source.context, self._document(sample)
        intervals, rest = divmod(len(document), config.window)
        needed = config.sink_size + intervals * self._rows(ratio) + rest + len(request) + room
        if needed > context:
            raise DoesNotFitError(f"needs {needed:,} positions of {context:,} at ratio {ratio}")
        whole = intervals * config.window
        return Prompt(document[:whole], document[whole:] + request, ratio)


class Ask(Condensed):
    """As `beacon ask` does it: the smallest ratio that fits, and the passages that the question is about read again.

    Args:
        passages: how many.
    """

    def __init__(self, engine: Engine, frame: Frame, passages: int) -> None:
        super().__init__(engine, frame, 0)
        self.name, self._passages = "ask", passages

    def ratio(self, sample: Sample, room: int) -> int:
        tokens = len(self.frame.opening) + len(sample.ids)
        needed = len(self._request(sample)) + self._passages * PASSAGE_TOKENS + room
        ratio = smallest_ratio(self.engine.source, tokens, needed)
        if ratio is None:
            raise DoesNotFitError(f"{tokens:,} tokens fit at no ratio")
        return ratio

    def prompt(self, sample: Sample, room: int) -> Prompt:
        ratio = self.ratio(sample, room)
        pages = [PageText(number, str(number), text, 0, 0) for number, text in enumerate(sample.pages, 1)]
        again = SearchIndex(split_passages(pages)).find(sample.question, self._passages)[::-1]
        return self._condensed(ratio, sample, self._request(sample, [passage.text for passage in again]), room)

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """None: running text asks no question."""
        return iter(())
