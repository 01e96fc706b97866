"""Reading training data: which files, what each of their lines is, and whether it can be learned from."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from activation_beacon.config import BeaconConfig
from beacon_cli.documents import open_document
from beacon_cli.documents.finding import STDIN, Place, places_of
from beacon_cli.documents.opening import SUFFIXES
from beacon_cli.errors import BeaconError, DocumentError, TrainingError
from beacon_cli.training.layouts import Example, Layouts, text_pages

LINES = (".jsonl", ".ndjson")
ROLES = ("system", "developer", "user", "assistant", "tool")
KINDS = '{"text": …}, {"document": …, "question": …, "answer": …} or {"messages": […]}'


@dataclass(frozen=True)
class Lengths:
    """What fits.

    Attributes:
        window: ordinary tokens of an interval.
        max_tokens: of the longest text.
    """

    window: int
    max_tokens: int

    @property
    def shortest(self) -> int:
        """Tokens of which an interval is condensed and two are left, one to predict from and one to predict."""
        return self.window + 2

    @classmethod
    def of(cls, config: BeaconConfig, max_tokens: int) -> "Lengths":
        """Raises TrainingError if no text could be of use."""
        lengths = cls(config.window, max_tokens)
        if max_tokens < lengths.shortest:
            raise TrainingError(
                f"max_tokens is {max_tokens}, and nothing is condensed of texts of less than {lengths.shortest} tokens "
                f"at a window of {config.window}: raise --max-tokens or lower --window"
            )
        return lengths


@dataclass
class TrainingData:
    """What was read.

    Attributes:
        examples: in the order of files and lines.
        bad: what cannot be learned from, each with its place and the reason.
        dropped: tokens at the end of texts that are too few for an example.
    """

    examples: list[Example]
    bad: list[str]
    dropped: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(example.ids) for example in self.examples)

    @property
    def checksum(self) -> str:
        """SHA-256 (hexadecimal) over what is learned from what."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(len(example.ids).to_bytes(8, "little"))
            digest.update(example.ids.tobytes())
            digest.update(np.packbits(example.learned).tobytes())
        return digest.hexdigest()


def read_data(
    paths: Sequence[str], layouts: Layouts, lengths: Lengths, *, pack: bool = False, skip_bad: bool = False
) -> TrainingData:
    """Read files, and folders of them.

    Args:
        pack: join texts, with an end token between them, into examples of the full length.
        skip_bad: pass over what cannot be learned from, and list it.

    Raises:
        TrainingError: for the first thing that cannot be learned from, naming file and line; or if nothing is left.
    """
    data = TrainingData([], [])
    packed: list[int] = []
    for item in _items(paths):
        try:
            content = _content(item, layouts)
            if isinstance(content, _Answer):
                data.examples.append(_answer_example(content, item.where, lengths))
            elif pack:
                packed += content
            else:
                data.dropped += _cut(content, item.where, lengths, data.examples)
        except BeaconError as error:
            # What concerns a document begins with its name already.
            bad = f"{item.where}: {str(error).removeprefix(f'{item.where}: ')}"
            if not skip_bad:
                raise TrainingError(f"{bad} (--skip-bad passes over such texts)") from error
            data.bad.append(bad)
    if len(packed) < lengths.shortest:
        data.dropped += len(packed)
    else:
        data.dropped += _cut(packed, "packed texts", lengths, data.examples)
    if not data.examples:
        raise TrainingError(f"{', '.join(paths)}: nothing to learn from{_why_nothing(data, lengths)}")
    return data


def _why_nothing(data: TrainingData, lengths: Lengths) -> str:
    if data.bad:
        return f"; the first of {len(data.bad)} that were skipped is {data.bad[0]}"
    if data.dropped:
        return f"; all texts together are {data.dropped} tokens, and a window of {lengths.window} takes more"
    return ": every file is empty, so name others"


@dataclass(frozen=True)
class _Item:
    """A file, or a line of one."""

    where: str
    path: Path
    line: bytes | None = None


@dataclass(frozen=True)
class _Answer:
    ids: list[int]
    learned: list[bool]
    start: int  # index of the last answer


def _items(paths: Sequence[str]) -> Iterator[_Item]:
    for path in _files(paths):
        if path.suffix.lower() == ".json":
            raise TrainingError(f"{path}: a .json file is not read; write its values into a .jsonl file, a line each")
        if path.suffix.lower() not in LINES:
            yield _Item(str(path), path)
            continue
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield _Item(f"{path}:{number}", path, line)
        except OSError as error:
            raise TrainingError(f"{path} cannot be read ({error.strerror}): check the path") from error


def _files(paths: Sequence[str]) -> Iterator[Path]:
    known = SUFFIXES.union(LINES)
    for name in paths:
        places = places_of(name, known)
        if not places and os.path.isdir(name):
            raise TrainingError(f"{name} holds no training data: it takes {', '.join(sorted(known))}")
        for place in places or [Place(name)]:
            if place.path != STDIN and not os.path.exists(place.path):
                raise TrainingError(f"{place.path!r} is not there: check the path of the training data")
            yield Path(place.path)


def _content(item: _Item, layouts: Layouts) -> list[int] | _Answer:
    if item.line is None:
        with open_document(str(item.path)) as file:
            return layouts.text([page.text for page in file.pages()])
    value = _parsed(item.line)
    if not isinstance(value, dict) or not {"text", "messages", "document", "question", "answer"} & value.keys():
        raise TrainingError(f"an unknown kind of line: it must be {KINDS}")
    if "messages" in value:
        return _Answer(*layouts.chat(_messages(value["messages"])))
    if "text" in value:
        try:
            return layouts.text(text_pages(_string(value, "text")))
        except DocumentError as error:
            raise TrainingError(f"no usable text ({error})") from error
    document, question, answer = (_string(value, name) for name in ("document", "question", "answer"))
    return _Answer(*layouts.question(document, question, answer))


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        raise TrainingError(f"not UTF-8 (byte {error.start + 1} of the line): convert the file") from error
    except json.JSONDecodeError as error:
        what = f"{error.msg}, character {error.pos + 1} of the line"
        raise TrainingError(f"not JSON ({what}): every line must be {KINDS}") from error
    except (ValueError, RecursionError) as error:  # numbers and nesting beyond what Python takes
        raise TrainingError(f"not JSON that can be read ({error}): every line must be {KINDS}") from error


def _string(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text.strip():
        what = "no" if text is None else "an empty" if isinstance(text, str) else "no text as"
        raise TrainingError(f"{what} {name}: give it, or drop the line")
    return text


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
    ):
        raise TrainingError('messages must be a list of {"role": …, "content": …}, both of them texts')
    unknown = [message["role"] for message in value if message["role"] not in ROLES]
    if unknown:
        raise TrainingError(f"the role {unknown[0]!r} is not known: it must be one of {', '.join(ROLES)}")
    return [{"role": message["role"], "content": message["content"]} for message in value]


def _answer_example(answer: _Answer, where: str, lengths: Lengths) -> Example:
    length = len(answer.ids)
    if answer.start < lengths.window or length < lengths.shortest:
        raise TrainingError(
            f"{answer.start} tokens before the answer are less than one window of {lengths.window}, so nothing would "
            "be condensed: give longer documents, or lower --window"
        )
    if length > lengths.max_tokens:
        raise TrainingError(f"{length} tokens are more than --max-tokens {lengths.max_tokens}: raise that")
    return Example(np.asarray(answer.ids, np.int32), np.asarray(answer.learned, bool), where)


def _cut(ids: list[int], where: str, lengths: Lengths, examples: list[Example]) -> int:
    """Append the examples of a text; returns how many tokens at its end are too few for one."""
    if len(ids) < lengths.shortest:
        raise TrainingError(
            f"{len(ids)} tokens are less than one window of {lengths.window} and two more, so nothing would be "
            "condensed: give longer texts, join them with --pack, or lower --window"
        )
    for start in range(0, len(ids), lengths.max_tokens):
        piece = np.asarray(ids[start : start + lengths.max_tokens], np.int32)
        if len(piece) < lengths.shortest:
            return len(piece)
        examples.append(Example(piece, np.ones(len(piece), bool), f"{where}, tokens {start}-{start + len(piece) - 1}"))
    return 0
