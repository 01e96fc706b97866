"""Past questions and their answers, in a database of their asker's own (SQLite; `log = false` keeps none)."""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from beacon_cli.errors import CacheError

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    id INTEGER PRIMARY KEY, asked TEXT NOT NULL, model TEXT NOT NULL, documents TEXT NOT NULL, question TEXT NOT NULL,
    answer TEXT NOT NULL, answered INTEGER NOT NULL, supported TEXT NOT NULL, citations TEXT NOT NULL,
    seconds REAL NOT NULL
)"""
_JSON = ("documents", "supported", "citations")


@dataclass(frozen=True)
class Logged:
    """A question that was asked.

    Attributes:
        asked: when, ISO 8601 in UTC.
        supported: as JSON has it: true, false, "partly" or null.
        citations: document, page, label, section and quote of each.
    """

    id: int
    asked: str
    model: str
    documents: list[str]
    question: str
    answer: str
    answered: bool
    supported: bool | str | None
    citations: list[dict[str, str | int | None]]
    seconds: float


def state_dir() -> Path:
    """Where what was asked is kept: `BEACON_STATE_DIR`, else the user's folder for such things. Nothing is created."""
    named = os.environ.get("BEACON_STATE_DIR")
    return Path(named).expanduser().absolute() if named else platformdirs.user_state_path("beacon", appauthor=False)


def record(answer: "Answer", documents: Sequence[str], model: str) -> None:
    """Keep a complete answer.

    Raises:
        CacheError: if that cannot be done.
    """
    row = {
        "asked": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "documents": json.dumps(list(documents)),
        "question": answer.question or "",
        "answer": answer.text,
        "answered": answer.answered,
        "supported": json.dumps(answer.supported),
        "citations": json.dumps([asdict(citation) for citation in answer.citations]),
        "seconds": answer.seconds["answer"],
    }
    # Halves of characters, which a file's name that is no UTF-8 has, cannot be kept.
    values = [each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in row.values()]
    with _database() as database:
        database.execute(f"INSERT INTO questions ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", values)


def latest(count: int, words: str = "") -> list[Logged]:
    """The last `count` questions, the latest first, with these words in question, answer or a document's name.

    Raises:
        CacheError: if they cannot be read.
    """
    if not _path().exists():
        return []
    where = " AND ".join(["instr(lower(question || ' ' || answer || ' ' || documents), ?)"] * len(words.split()))
    query = f"SELECT * FROM questions {f'WHERE {where}' if where else ''} ORDER BY id DESC LIMIT ?"
    with _database() as database:
        rows = list(map(dict, database.execute(query, [*words.lower().split(), count])))
    for row in rows:
        row |= {name: json.loads(row[name]) for name in _JSON} | {"answered": bool(row["answered"])}
    return [Logged(**row) for row in rows]


def clear() -> int:
    """Forget all of them, so that nothing is left on the disk; says how many.

    Raises:
        CacheError: if that cannot be done.
    """
    if not _path().exists():
        return 0
    with _database() as database:
        database.execute("PRAGMA secure_delete = ON")
        gone = database.execute("DELETE FROM questions").rowcount
    with _database() as database:
        database.execute("VACUUM")
    return gone


def _path() -> Path:
    return state_dir() / "questions.db"


@contextmanager
def _database() -> Iterator[sqlite3.Connection]:
    """The database, made if it is not there, for its owner only; what is done within this is kept, or none of it."""
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        database = sqlite3.connect(path, timeout=10)
        database.row_factory = sqlite3.Row
        try:
            database.execute(_SCHEMA)
            with database:
                yield database
        finally:
            database.close()
    except (OSError, sqlite3.Error) as error:
        raise CacheError(
            f"the log of questions, {path}, cannot be used ({error}); remove it, or set log to false"
        ) from error
