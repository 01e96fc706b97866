"""Makes pypdf tell where every piece of text stands: of those along a line in one text object it tells only the first.

Each move becomes the end of one text object and the beginning of another; the text that is extracted stays the same.
"""

from __future__ import annotations

from typing import Any

from pypdf import PageObject
from pypdf.generic import ContentStream, FloatObject, NameObject

_IDENTITY = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]

Operation = tuple[list[Any], bytes]


def separate_strokes(page: PageObject) -> None:
    """Change the content of a page that was read; forms within it stay as they are."""
    if "/Contents" not in page:
        return
    contents = ContentStream(page["/Contents"].get_object(), page.pdf, "bytes")
    separated: list[Operation] = []
    matrix, leading = list(_IDENTITY), 0.0
    for operands, operator in contents.operations:
        numbers = [float(each) for each in operands] if all(isinstance(each, int | float) for each in operands) else []
        if operator == b"BT":
            matrix = list(_IDENTITY)
        elif operator == b"TL" and numbers:
            leading = numbers[0]
        elif operator == b"Tm" and len(numbers) == 6:
            matrix = numbers
            separated += [([], b"ET"), ([], b"BT")]
        elif operator in (b"Td", b"TD") and len(numbers) == 2:
            leading = -numbers[1] if operator == b"TD" else leading
            matrix = _moved(matrix, *numbers)
            if operator == b"Td" and numbers[0] > 0 and numbers[1] == 0:
                separated += [([], b"ET"), ([], b"BT"), ([FloatObject(each) for each in matrix], b"Tm")]
                continue
        elif operator in (b"T*", b"'", b'"'):
            matrix = _moved(matrix, 0, -leading)
        separated.append((operands, operator))
    contents.operations = separated
    page[NameObject("/Contents")] = contents


def _moved(matrix: list[float], x: float, y: float) -> list[float]:
    a, b, c, d, e, f = matrix
    return [a, b, c, d, e + x * a + y * c, f + x * b + y * d]
