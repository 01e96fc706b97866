"""What is known of every sample, kept as lines of JSON so that an interrupted evaluation goes on."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beacon_cli.errors import SettingsError

FILE = "samples.jsonl"


@dataclass(frozen=True)
class Record:
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
        SettingsError: if the folder holds another evaluation, or cannot be written.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any]) -> None:
        self.records: list[Record] = []
        self._path = None if folder is None else folder / FILE
        if folder is None or self._path is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self._path.read_text(encoding="utf-8").split("\n") if self._path.exists() else []
            # A line that an interruption cut short is measured again.
            parsed = [value for value in map(_parsed, lines) if value is not None]
            if parsed and parsed[0] != identity:
                raise SettingsError(f"{folder} holds the results of another evaluation: choose another --out")
            self.records = [Record(**value) for value in parsed[1:]]
            whole = [json.dumps(value, ensure_ascii=False) for value in (identity, *map(asdict, self.records))]
            self._path.write_text("\n".join(whole) + "\n", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"results cannot be written to {folder} ({error}): choose another --out") from error

    def add(self, records: list[Record]) -> None:
        """Keep the records of one sample."""
        self.records += records
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)

    def done(self) -> Iterator[tuple[str, str]]:
        """Method and key of what is measured."""
        return ((record.method, record.key) for record in self.records)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
