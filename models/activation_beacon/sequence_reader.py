"""What every reader does, whatever it keeps of what it has read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor

from activation_beacon.installed import Installed
from activation_beacon.memory import Activations

Hidden = Literal["all", "last", "none"]


class Step(Protocol):
    """Some tokens, read.

    Attributes:
        hidden: (tokens, hidden) their last hidden states; (0, hidden) if these are not wanted.
        sink: what became the sink, if they completed the first interval.
        interval: what else became memory, if they completed an interval.
    """

    @property
    def hidden(self) -> Tensor: ...
    @property
    def sink(self) -> Activations | None: ...
    @property
    def interval(self) -> Activations | None: ...


class Memory(Protocol):
    """What a reader keeps.

    Attributes:
        rounding: what storing does to condensed keys (position-free) and values, (…, head_dim); None if nothing.
    """

    rounding: Callable[[Tensor], Tensor] | None

    @property
    def size(self) -> int:
        """Rows that hold something, in each layer and head (on average where each has its own number)."""

    @property
    def counts(self) -> Tensor:
        """(layers, kv_heads) how many rows each head has; (layers, 0) before anything is read."""

    def truncate(self, size: int) -> None:
        """Forget the rows from `size` on, which is where a finished interval ended."""

    @property
    def intact(self) -> bool:
        """Whether all rows are here, see `SequenceReader.let_go`."""


class SequenceReader(ABC):
    """Reads one sequence in any pieces, interval by interval."""

    def __init__(self, attached: Installed, memory: Memory) -> None:
        self._attached, self._memory = attached, memory
        self._last: Tensor | None = None

    @property
    def memory(self) -> Memory:
        """Of what has been read."""
        return self._memory

    @property
    @abstractmethod
    def window(self) -> int:
        """Tokens of an interval."""

    @property
    @abstractmethod
    def consumed(self) -> int:
        """Tokens read so far."""

    @property
    @abstractmethod
    def room(self) -> int:
        """Tokens that can be read before the interval in progress ends."""

    @abstractmethod
    def feed(self, ids: Sequence[int], hidden: Hidden = "all") -> Iterator[Step]:
        """Read further tokens, yielding after every pass. Exhaust it: what is not iterated is not read.

        Args:
            hidden: which passes' hidden states are wanted; a step without them has none, and took less time.
        """

    def read(self, ids: Sequence[int]) -> Tensor:
        """Read further tokens; logits (vocabulary) of what follows the last, in float32."""
        for _step in self.feed(ids, "last"):
            pass
        return self.logits()

    def remember(self, ids: Sequence[int]) -> None:
        """Read further tokens, and nothing but what stays of them in memory is wanted: see `feed`."""
        for _step in self.feed(ids, "none"):
            pass

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """Logits (vocabulary) after the last token read, in float32.

        Raises:
            ValueError: if nothing has been read, or without hidden states.
        """
        if self._last is None:
            raise ValueError("nothing has been read yet whose hidden states were wanted")
        return self._attached.logits(self._last)

    def _wanted(self, hidden: Hidden, last: bool) -> bool:
        """Whether the hidden states of a pass, perhaps the last, are wanted."""
        return hidden == "all" or (hidden == "last" and last)

    @abstractmethod
    def condense_at(self, ratio: int) -> None:
        """From the next interval on, condense at `ratio`; at 0, keep what is read as it is."""

    @abstractmethod
    def mark(self) -> Any:
        """Remember the present state; costs a copy of the interval in progress, and none of the memory."""

    @abstractmethod
    def rewind(self, mark: Any) -> None:
        """Go back to where `mark` was taken of this reader: it is then, to the bit, as if it had not read on."""

    @abstractmethod
    def forget(self, tokens: int) -> None:
        """Forget the last tokens read, as if they had not been; frequencies that grew with them stay grown.

        Raises:
            ValueError: if they are more than the interval in progress has.
        """

    @abstractmethod
    def load(self, activations: Activations, dtype: torch.dtype | None = None, expected: int = 0) -> None:
        """Place condensed activations after the memory; then tell what they are with `restore`.

        Args:
            dtype: of the memory; None takes theirs.
            expected: rows there will be in the end, if that is known.
        """

    @abstractmethod
    def restore(self, *, tokens: int, sink: int, beacons: int, intervals: int, ratio: int) -> None:
        """Go on after `intervals` further finished intervals whose memory has been loaded, the last one at `ratio`."""

    @abstractmethod
    def place(self, other: Self, ratio: int) -> None:
        """Go on after all finished intervals of another reader, which condensed at `ratio`, without their sink."""

    @abstractmethod
    def let_go(self) -> None:
        """Let go of rows after which no further interval is read, if there are such and they are many.

        The reader can then not be asked, nor go back to what was marked before: whoever lets go has the rows elsewhere.
        """

    @abstractmethod
    def end_interval(self) -> None:
        """End the interval in progress where it is: another text follows."""
