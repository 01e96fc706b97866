"""Makes pypdf tell where every piece of text stands, and see how wide it is: the text's letters stay the same.

Of the pieces along a line in one text object pypdf tells only where the first stands: each move becomes the end of one
text object and the beginning of another. It finds the gaps between words by the width of what was drawn, but knows
nothing of spaces made wider (Tw) or of text made narrower (Tz): the one is written as moves within the text, the other
as part of the matrix. And where a font has no space, it takes gaps for none that readers see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pypdf import PageObject
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    ContentStream,
    DictionaryObject,
    FloatObject,
    NameObject,
    StreamObject,
)

from beacon_cli.documents.pdf.objects import FORMS_WITHIN_FORMS, within

_IDENTITY = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
# A gap of so many thousandths of the font size parts words, and so much pypdf takes for one whatever the font.
_GAP, _CLEARLY = 200.0, 1000.0

Operation = tuple[list[Any], bytes]


@dataclass(frozen=True)
class _State:
    """What `q` keeps and `Q` brings back, as far as it matters for where text stands."""

    leading: float = 0.0
    narrowed: float = 1.0
    word_space: float = 0.0
    size: float = 0.0
    of_bytes: bool = True  # a character of the font is a byte, so that a space is one too


def separated(page: PageObject) -> PageObject:
    """A page with the content of this one, and of the forms that it draws, written so."""
    copy = PageObject(page.pdf)
    copy.update(page)
    if "/Contents" in page:
        contents = ContentStream(page["/Contents"].get_object(), page.pdf, "bytes")
        copy[NameObject("/Contents")] = contents
        _separate(contents, copy, page.pdf, depth=0)
    return copy


def _separate(contents: ContentStream, holder: DictionaryObject, pdf: Any, depth: int) -> None:
    """Change `contents`, and put changed forms among the objects of `holder`, whose content it is."""
    operations = contents.operations
    drawn = {str(operands[0]) for operands, operator in operations if operator == b"Do" and operands}
    resources, objects = within(holder, "/Resources"), within(holder, "/Resources", "/XObject")
    forms = DictionaryObject()
    for name in drawn.intersection(objects) if depth < FORMS_WITHIN_FORMS else ():
        form = objects[name].get_object()
        if isinstance(form, StreamObject) and form.get("/Subtype") == "/Form":
            changed = ContentStream(form, pdf, "bytes")
            changed.update(form)
            _separate(changed, changed, pdf, depth + 1)
            forms[NameObject(name)] = changed
    contents.operations = list(_separated(operations, within(resources, "/Font")))
    if forms:
        changed_objects = DictionaryObject({**objects, **forms})
        holder[NameObject("/Resources")] = DictionaryObject({**resources, NameObject("/XObject"): changed_objects})


def _separated(operations: list[Operation], fonts: DictionaryObject) -> Iterator[Operation]:
    state, kept, matrix = _State(), list[_State](), list(_IDENTITY)
    for operands, operator in operations:
        numbers = [float(each) for each in operands] if all(isinstance(each, int | float) for each in operands) else []
        if operator == b"q":
            kept.append(state)
        elif operator == b"Q":
            state = kept.pop() if kept else state
        elif operator in (b"TL", b"Tz", b"Tw", b"Tf"):
            state = _changed(state, operands, operator, fonts)
        elif operator == b"BT":
            matrix = list(_IDENTITY)
        elif operator == b"Tm" and len(numbers) == 6:
            matrix = numbers
            yield from _begun(matrix, state)
            continue
        elif operator in (b"Td", b"TD") and len(numbers) == 2:
            if operator == b"TD":
                state = replace(state, leading=-numbers[1])
            matrix = _moved(matrix, *numbers)
            if state.narrowed != 1 or (operator == b"Td" and numbers[0] > 0 and numbers[1] == 0):
                if operator == b"TD":
                    yield [FloatObject(state.leading)], b"TL"
                yield from _begun(matrix, state)
                continue
        elif operator in (b"T*", b"'", b'"'):
            matrix = _moved(matrix, 0, -state.leading)
        if operator in (b"Tj", b"TJ") and operands:
            operands, operator = [_with_gaps(operands[0], state)], b"TJ"
        yield operands, operator


def _changed(state: _State, operands: list[Any], operator: bytes, fonts: DictionaryObject) -> _State:
    if operator == b"Tf" and len(operands) == 2 and isinstance(operands[1], int | float):
        composite = within(fonts, operands[0]).get("/Subtype") == "/Type0"
        return replace(state, size=float(operands[1]), of_bytes=not composite)
    if not operands or not isinstance(operands[0], int | float):
        return state
    number = float(operands[0])
    if operator == b"TL":
        return replace(state, leading=number)
    if operator == b"Tz":
        return replace(state, narrowed=number / 100 if number > 0 else 1.0)
    return replace(state, word_space=number) if operator == b"Tw" else state


def _begun(matrix: list[float], state: _State) -> Iterator[Operation]:
    """A text object of its own for what stands at `matrix`."""
    a, b, *others = matrix
    told = [a * state.narrowed, b * state.narrowed, *others]
    yield from (([], b"ET"), ([], b"BT"), ([FloatObject(each) for each in told], b"Tm"))


def _with_gaps(shown: Any, state: _State) -> ArrayObject:
    """The operand of `Tj` or `TJ` as one of `TJ`, with wider spaces as moves, and no gap that pypdf passes over."""
    parts = ArrayObject()
    for part in shown if isinstance(shown, list) else [shown]:
        if isinstance(part, bytes) and state.word_space and state.size and state.of_bytes:
            *words, last = part.split(b" ")
            for word in words:
                parts.append(ByteStringObject(word + b" "))
                parts.append(FloatObject(-1000 * state.word_space / state.size))
            parts.append(ByteStringObject(last))
        elif isinstance(part, int | float) and -_CLEARLY < part < -_GAP:
            parts.extend([FloatObject(-_CLEARLY), FloatObject(_CLEARLY + part)])
        else:
            parts.append(part)
    return parts


def _moved(matrix: list[float], x: float, y: float) -> list[float]:
    a, b, c, d, e, f = matrix
    return [a, b, c, d, e + x * a + y * c, f + x * b + y * d]
