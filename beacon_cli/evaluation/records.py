"""What is known of every sample, kept as lines of JSON so that an interrupted evaluation goes on.

The first line says which evaluation it is; each other one is the list of all records of one sample by one method.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beacon_cli.durable.lines import add_line, read_lines, rewrite_lines
from beacon_cli.errors import EvaluationError

FILE = "samples.jsonl"


@dataclass(frozen=True)
class Measurement:
    """One sample by one method.

    Attributes:
        group: what it is counted under.
        scores: by metric; empty if the method cannot read a text so long.
        problem: why there are none.
        weight: how much it counts for among its like.
        details: whatever else helps to understand it.
    """

    method: str
    key: str
    group: dict[str, Any]
    scores: dict[str, float]
    problem: str | None
    weight: float
    details: dict[str, Any]


class Journal:
    """The records of one evaluation, on disk if it has a folder.

    Args:
        folder: made if missing.
        identity: what the evaluation is; records of another one are refused.

    Raises:
        EvaluationError: if the folder holds another evaluation, or cannot be written.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any]) -> None:
        self.records: list[Measurement] = []
        self._path = None if folder is None else folder / FILE
        if folder is None or self._path is None:
            return
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # A line that an interruption cut short is measured again; the first one never is.
            lines = read_lines(self._path)
            if lines[:1] not in ([], [identity]):
                raise EvaluationError(f"{folder} holds the results of another evaluation: choose another --out")
            kept = [line for line in lines[1:] if line is not None]
            self.records = [Measurement(**value) for line in kept for value in line]
            rewrite_lines(self._path, (identity, *kept))

    def add(self, records: list[Measurement]) -> None:
        """Keep all the records of one sample by one method; interrupted, it keeps none of them.

        Raises:
            EvaluationError: if they cannot be written.
        """
        self.records += records
        if self._path is not None:
            with writing(self._path.parent):
                add_line(self._path, [asdict(record) for record in records])

    def done(self) -> Iterator[tuple[str, str]]:
        """Method and key of what is measured."""
        return ((record.method, record.key) for record in self.records)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What goes wrong with the disk meanwhile is said of the folder of the results.

    Raises:
        EvaluationError: if anything does.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise EvaluationError(
            f"results cannot be written to {folder} ({reason}): make room, or choose another --out"
        ) from error
