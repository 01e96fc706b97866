"""Reading once what several texts begin with, and what several methods read alike."""

from collections.abc import Iterator
from itertools import takewhile

from beacon_cli.evaluation.methods import Method, Prompt
from beacon_cli.evaluation.sequences import Reading, read


class Shared:
    """Reads the documents of prompts, one after another; what one begins with like the one before is not read again."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._ratio, self._ids = -1, list[int]()
        self._trunk: Reading | None = None

    def readings(self, prompt: Prompt, following: Prompt | None, count: int = 1) -> Iterator[Reading]:
        """`count` readings of the prompt's document; each is to be used up before the next is taken.

        Args:
            following: the prompt whose document will be read next, if any: what it begins with like this one is kept.
        """
        trunk = self._trunk_of(prompt, following)
        reading = self._on(trunk.fork(), prompt.document[len(self._ids) :])
        for _ in range(count - 1):
            yield reading.fork()
        yield reading

    def _trunk_of(self, prompt: Prompt, following: Prompt | None) -> Reading:
        """A reading of what `self._ids` then says: as much of the document as will be of use again."""
        ids = prompt.document
        if self._trunk is None or self._ratio != prompt.ratio or self._ids != ids[: len(self._ids)]:
            self._trunk, self._ratio, self._ids = self._method.start(prompt.ratio), prompt.ratio, []
        common = 0
        if following is not None and following.ratio == prompt.ratio:
            alike = takewhile(lambda pair: pair[0] == pair[1], zip(ids, following.document, strict=False))
            common = sum(1 for _ in alike)
        until = common // self._trunk.step * self._trunk.step
        if until > len(self._ids):
            self._on(self._trunk, ids[len(self._ids) : until])
            self._ids = ids[:until]
        return self._trunk

    def _on(self, reading: Reading, ids: list[int]) -> Reading:
        if ids:
            read(reading, ids)
        return reading
