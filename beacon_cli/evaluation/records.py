"""What is known of every sample, kept as lines of JSON so that an interrupted evaluation goes on.

The first line says which evaluation it is; each other one is the list of all records of one sample by one method.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self._path.read_text(encoding="utf-8").split("\n") if self._path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise cannot_write(folder, error) from error
        kept: list[Any] = []
        if any(lines):
            # A line that an interruption cut short is measured again; the first one never is.
            first, *others = map(_parsed, lines)
            if first != identity:
                raise EvaluationError(f"{folder} holds the results of another evaluation: choose another --out")
            kept = [line for line in others if line is not None]
            self.records = [Measurement(**value) for line in kept for value in line]
        write_whole(self._path, "".join(map(_line, (identity, *kept))))

    def add(self, records: list[Measurement]) -> None:
        """Keep all the records of one sample by one method; interrupted, it keeps none of them.

        Raises:
            EvaluationError: if they cannot be written.
        """
        self.records += records
        if self._path is not None:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(_line([asdict(record) for record in records]))
            except OSError as error:
                raise cannot_write(self._path.parent, error) from error

    def done(self) -> Iterator[tuple[str, str]]:
        """Method and key of what is measured."""
        return ((record.method, record.key) for record in self.records)


def write_whole(path: Path, text: str) -> None:
    """Put a file in place at once: whatever interrupts it, what was there stays whole.

    Raises:
        EvaluationError: if it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise cannot_write(path.parent, error) from error


def cannot_write(folder: Path, error: OSError | UnicodeDecodeError) -> EvaluationError:
    """What a user is told."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return EvaluationError(f"results cannot be written to {folder} ({reason}): make room, or choose another --out")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _parsed(line: str) -> Any:
    """What a line holds; None if it was cut short, which JSON that begins with a bracket shows."""
    try:
        return json.loads(line)
    except ValueError:
        return None
