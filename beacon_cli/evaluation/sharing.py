"""Reading once what several texts begin with."""

from itertools import takewhile

from beacon_cli.evaluation.methods import Method, Prompt
from beacon_cli.evaluation.sequences import Reading, read


class Shared:
    """Reads the documents of prompts, one after another; what one begins with like the one before is not read again."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._ratio, self._ids = -1, list[int]()
        self._trunk: Reading | None = None

    def read(self, prompt: Prompt, following: Prompt | None) -> Reading:
        """A reading of the prompt's document.

        Args:
            following: the prompt that will be read next, if any: what it begins with like this one is kept.
        """
        ids = prompt.document
        if self._trunk is None or self._ratio != prompt.ratio or self._ids != ids[: len(self._ids)]:
            self._trunk, self._ratio, self._ids = self._method.start(prompt.ratio), prompt.ratio, []
        common = 0
        if following is not None and following.ratio == prompt.ratio:
            alike = takewhile(lambda pair: pair[0] == pair[1], zip(ids, following.document, strict=False))
            common = sum(1 for _ in alike)
        until = common // self._trunk.step * self._trunk.step
        if until > len(self._ids):
            read(self._trunk, ids[len(self._ids) : until])
            self._ids = ids[:until]
        reading = self._trunk.fork()
        if len(ids) > len(self._ids):
            read(reading, ids[len(self._ids) :])
        return reading
