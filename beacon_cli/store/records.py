"""Frozen dataclasses as JSON, read back strictly: every field there, none unknown, each of its declared type."""

import json
import re
from dataclasses import is_dataclass
from functools import cache
from reprlib import repr as short_repr
from types import UnionType
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

INTEGER_LIMIT = 2**63
TOKEN_LIMIT = 2**31
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


def parse(kind: type[Record], value: Any) -> Record:
    """Make a `kind` of the JSON value that `to_json` wrote for one.

    Whole numbers must lie in 0 .. 2**63 - 1; further limits are the dataclass's own (`__post_init__`).

    Raises:
        ValueError: naming the field that is missing, unknown, or not what it should be.
    """
    record: Record = _parse(kind, value, "it")
    return record


def _parse(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        fields = _typed(dict, value, where)
        if fields.keys() != hints.keys():
            odd = ", ".join(sorted(short_repr(name) for name in fields.keys() ^ hints.keys()))
            raise ValueError(f"{where} lacks or does not know {odd}")
        return kind(**{name: _parse(hint, fields[name], name) for name, hint in hints.items()})
    origin = get_origin(kind)
    if origin is UnionType:
        return None if value is None else _parse(get_args(kind)[0], value, where)
    if origin is tuple:
        item = get_args(kind)[0]
        return tuple(_parse(item, element, f"a member of {where}") for element in _typed(list, value, where))
    if origin is dict:
        return _typed(dict, value, where)
    if kind is int and not 0 <= _typed(int, value, where) < INTEGER_LIMIT:
        raise ValueError(f"{where} is out of range: {short_repr(value)}")
    return _typed(kind, value, where)


def _typed(kind: type[Any], value: Any, where: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{where} is {short_repr(value)}, not of type {kind.__name__}")
    return value


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def check_sha256(name: str, value: str) -> None:
    """Refuse, with ValueError, a `value` that is not 64 lower-case hexadecimal digits."""
    if not _SHA256.fullmatch(value):
        raise ValueError(f"{name} is {short_repr(value)}, not a SHA-256")


def check_token_ids(name: str, ids: tuple[int, ...]) -> None:
    """Refuse, with ValueError, `ids` outside 0 .. 2**31 - 1."""
    if any(not 0 <= token < TOKEN_LIMIT for token in ids):
        raise ValueError(f"{name} holds a number that is no token id")
