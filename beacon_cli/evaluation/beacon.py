"""The LLM with what condenses for it, asked through the library: what is measured is what its users get."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from beacon_cli.condensing.ratio import reserve
from beacon_cli.condensing.stem import Stem
from beacon_cli.evaluation.methods import Method, Reply, running_losses
from beacon_cli.evaluation.samples import EvalSample
from beacon_cli.library import Memory, Model, Ratio


class BeaconMethod(Method):
    """Documents as `Model.read` reads them, questions as `Memory.ask` answers them; nothing is kept in a cache.

    What two texts in a row begin with alike, like a haystack up to its needle, is condensed once.

    Args:
        ratio: at which documents are condensed; "auto" takes, like `beacon ask`, the smallest at which they fit.
        passages: how many are read again before a question; None for as many as fit, see `Memory.ask`.
        recall: around how many of them the memory is read; 0 for all of it.
    """

    def __init__(self, name: str, model: Model, ratio: Ratio, passages: int | None, recall: int) -> None:
        super().__init__(name, model.engine)
        self._model, self._ratio, self._passages, self._recall = model, ratio, passages, recall
        self._stem = Stem()

    def ask(self, sample: EvalSample, max_new_tokens: int) -> Reply:
        memory = self._read(sample, max_new_tokens)
        answer = memory.ask(
            sample.question,
            max_new_tokens=max_new_tokens,
            temperature=0.0,
            passages=self._passages,
            recall=self._recall,
        )
        return Reply(answer.text, memory.rows, memory.ratio)

    def losses(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """None without a fixed ratio, for running text asks no question that one could be chosen by."""
        if self._ratio == "auto":
            return iter(())
        source, reader = self.engine.source, self.engine.reader(self._ratio)
        if source.info is not None:  # a beacon's memory is read whole, and ends with the context
            rows = source.window // self._ratio if self._ratio else source.window
            intervals = (source.context - source.sink_size - source.window) // rows
            ids = ids[: intervals * source.window - len(source.frame.opening)]
        return running_losses(self.engine, lambda whole: (step.hidden for step in reader.feed(whole)), ids)

    def forget(self) -> None:
        super().forget()
        self._stem = Stem()

    def _read(self, sample: EvalSample, max_new_tokens: int) -> Memory:
        room = self._model.room_for(sample.question, max_new_tokens=max_new_tokens, passages=self._passages)
        # Two questions that leave a document as much room find it condensed alike.
        key = sample.path, sample.text, reserve(self._model.source, room)
        if self._latest is not None and self._latest[0] == key:
            memory: Memory = self._latest[1]
            return memory
        self._latest = None
        whole = not self._recall
        if sample.path is None:
            memory = self._model.read_text(
                sample.text, ratio=self._ratio, cache=False, room=room, whole=whole, stem=self._stem
            )
        else:
            memory = self._model.read(sample.path, ratio=self._ratio, cache=False, room=room, whole=whole)
        self._latest = key, memory
        return memory
