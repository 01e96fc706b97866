"""Frozen dataclasses as JSON, read back strictly: every field there, none unknown, each of its declared type."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import cache, partial
from reprlib import repr as short_repr
from types import UnionType
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
Parser = Callable[[Any, str], Any]  # of a value and of what to call it

INTEGER_LIMIT = 2**63
TOKEN_LIMIT = 2**31
CHECKSUM = "checksum"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def to_json(value: Any) -> bytes:
    """Canonical JSON (ASCII, sorted keys) of a dataclass or of anything that JSON knows."""
    text = json.dumps(value, default=vars, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def from_json(data: bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: for anything else, not-a-number included.
        RecursionError: if it is nested absurdly deep.
    """
    return json.loads(data, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def seal(record: Any) -> bytes:
    """Canonical JSON of a dataclass, with the SHA-256 of all the rest as one more member, `checksum`."""
    return _seal(vars(record))


def unseal(data: bytes, value: dict[str, Any]) -> dict[str, Any]:
    """The members of `value`, which `data` was parsed to, without the checksum.

    Raises:
        ValueError: unless `data` is, byte for byte, what `seal` writes: white space and repeated names count too.
    """
    members = {name: member for name, member in value.items() if name != CHECKSUM}
    if data != _seal(members):
        raise ValueError("it does not match its checksum")
    return members


def _seal(members: dict[str, Any]) -> bytes:
    return to_json(members | {CHECKSUM: hashlib.sha256(to_json(members)).hexdigest()})


def parse(kind: type[Record], value: Any) -> Record:
    """Make a `kind` of the JSON value that `to_json` wrote for one.

    Whole numbers must lie in 0 .. 2**63 - 1; further limits are the dataclass's own (`__post_init__`).

    Raises:
        ValueError: naming the field that is missing, unknown, or not what it should be.
    """
    record: Record = _parser(kind)(value, "it")  # type: ignore[arg-type]  # types are hashable
    return record


@cache
def _parser(kind: Any) -> Parser:
    """What parses values of a type: made once, for a list of a thousand books has half a million values."""
    if kind is Any:
        return lambda value, where: value
    if isinstance(kind, type) and is_dataclass(kind):
        return _record_parser(kind)
    origin = get_origin(kind)
    if origin is UnionType:
        inner = _parser(get_args(kind)[0])
        return lambda value, where: None if value is None else inner(value, where)
    if origin is tuple:
        item = _parser(get_args(kind)[0])
        return lambda value, where: tuple([item(each, where) for each in _typed(list, value, where)])
    if kind is int:
        return _whole_number
    return partial(_typed, dict if origin is dict else kind)


def _record_parser(kind: type[Any]) -> Parser:
    parsers = {name: _parser(hint) for name, hint in get_type_hints(kind).items()}

    def parse_record(value: Any, where: str) -> Any:
        fields = _typed(dict, value, where)
        if fields.keys() != parsers.keys():
            odd = ", ".join(sorted(short_repr(name) for name in fields.keys() ^ parsers.keys()))
            raise ValueError(f"{where} lacks or does not know {odd}")
        return kind(**{name: parser(fields[name], name) for name, parser in parsers.items()})

    return parse_record


def _whole_number(value: Any, where: str) -> int:
    if not 0 <= _typed(int, value, where) < INTEGER_LIMIT:
        raise ValueError(f"{where} is out of range: {short_repr(value)}")
    return int(value)


def _typed(kind: type[Any], value: Any, where: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{where} is {short_repr(value)}, not of type {kind.__name__}")
    return value


def check_sha256(name: str, value: str) -> None:
    """Refuse, with ValueError, a `value` that is not 64 lower-case hexadecimal digits."""
    if not _SHA256.fullmatch(value):
        raise ValueError(f"{name} is {short_repr(value)}, not a SHA-256")


def check_token_ids(name: str, ids: tuple[int, ...]) -> None:
    """Refuse, with ValueError, `ids` outside 0 .. 2**31 - 1."""
    if any(not 0 <= token < TOKEN_LIMIT for token in ids):
        raise ValueError(f"{name} holds a number that is no token id")
