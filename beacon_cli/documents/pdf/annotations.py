"""What a PDF page shows beside its content: values of form fields and text that was typed onto it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pypdf.generic import ArrayObject, DictionaryObject

from beacon_cli.documents.pdf.objects import attempt, within
from beacon_cli.documents.text.prose import clean, one_line

_HIDDEN = 0b10_0010  # of an annotation: Hidden, NoView
_PASSWORD = 1 << 13  # of a text field
_MOST = 10_000
_LONGEST_NAME = 120
_PARENTS = 32


def visible_texts(page: DictionaryObject) -> list[str]:
    """One text each: `name: value` for a form field that is filled in, and the words of text boxes."""
    annotations: Any = page.get("/Annots", ArrayObject())
    return attempt(
        lambda: [text for entry in annotations.get_object()[:_MOST] for text in _texts(entry.get_object())], []
    )


def _texts(annotation: Any) -> Iterator[str]:
    if not isinstance(annotation, DictionaryObject) or int(annotation.get("/F", 0)) & _HIDDEN:
        return
    if annotation.get("/Subtype") == "/FreeText":
        if text := clean(str(annotation.get("/Contents", ""))).strip():
            yield text
    elif annotation.get("/Subtype") == "/Widget":
        value = _value(annotation)
        name = one_line(str(_inherited(annotation, "/TU") or _inherited(annotation, "/T") or ""), _LONGEST_NAME)
        if value:
            yield f"{name}: {value}" if name else value


def _value(widget: DictionaryObject) -> str:
    kind = _inherited(widget, "/FT")
    if kind == "/Btn":
        state = str(widget.get("/AS", "/Off")).removeprefix("/")
        return "" if state == "Off" else "yes" if state in ("Yes", "On", "1") else one_line(state, _LONGEST_NAME)
    if kind not in ("/Tx", "/Ch") or int(_inherited(widget, "/Ff") or 0) & _PASSWORD:
        return ""
    value = _inherited(widget, "/V")
    if isinstance(value, ArrayObject):
        return ", ".join(one_line(str(part.get_object()), _LONGEST_NAME) for part in value[:_MOST])
    return "" if value is None else clean(str(value)).strip()


def _inherited(field: DictionaryObject, key: str) -> Any:
    """An entry of a field or of those that it is part of."""
    for _ in range(_PARENTS):
        if key in field:
            return field[key]
        field = within(field, "/Parent")
    return None
