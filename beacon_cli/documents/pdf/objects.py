"""What pypdf's objects hold, whatever a damaged file has in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pypdf.generic import DictionaryObject

Found = TypeVar("Found")

# Forms draw forms; deeper than this nobody looks.
FORMS_WITHIN_FORMS = 3


def attempt(find: Callable[[], Found], otherwise: Found) -> Found:
    """What `find` returns, or `otherwise` if it fails: one part of a file does not spoil the rest."""
    try:
        return find()
    except MemoryError:
        raise
    except Exception:  # pypdf raises whatever its parsing runs into
        return otherwise


def within(holder: DictionaryObject, *path: str) -> DictionaryObject:
    """The dictionary down a path of keys, empty if there is none."""
    for key in path:
        holder = _dictionary(holder.get(key))
    return holder


def drawn(holder: DictionaryObject) -> list[DictionaryObject]:
    """The images and forms among the resources of a page or form."""
    return [_dictionary(entry) for entry in within(holder, "/Resources", "/XObject").values()]


def _dictionary(entry: Any) -> DictionaryObject:
    found = None if entry is None else entry.get_object()
    return found if isinstance(found, DictionaryObject) else DictionaryObject()
