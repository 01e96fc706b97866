"""What a PDF has beside its pages: labels and bookmarks to cite them by, and what is not read of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pypdf import PdfReader
from pypdf.generic import Destination

from beacon_cli.documents.content import Extras
from beacon_cli.documents.pdf.objects import attempt
from beacon_cli.documents.text.prose import one_line

_LONGEST_LABEL = 40
_LONGEST_TITLE = 120
_MOST_NAMES = 5
# What programs call bookmarks that they make of pages and of the files that a PDF is put together from.
_NO_HEADING = re.compile(r"page\s+[\divxlc]+|.+\.(pdf|docx?|rtf|indd|pptx?|xlsx?|tiff?|e?ps)", re.IGNORECASE)


def extras(reader: PdfReader) -> Extras:
    """All of them; whatever cannot be read is left out."""
    notes = (attempt(lambda: _attachments(reader), None), attempt(lambda: _dynamic_form(reader), None))
    return Extras(
        labels=tuple(attempt(lambda: _labels(reader), [])),
        sections=tuple(attempt(lambda: _sections(reader), [])),
        notes=tuple(filter(None, notes)),
    )


def _labels(reader: PdfReader) -> list[str]:
    if "/PageLabels" not in reader.root_object:
        return []
    return [one_line(label, _LONGEST_LABEL) for label in reader.page_labels]


def _sections(reader: PdfReader) -> list[str | None]:
    """For each page the bookmark that it is under, with those above it: the first that starts on the page itself,
    else the last one before."""
    starts: dict[int, str] = {}
    latest: dict[int, str] = {}
    for path, destination in _bookmarks(reader.outline, ()):
        index = reader.get_destination_page_number(destination)
        if index is not None and 0 <= index < len(reader.pages):
            starts.setdefault(index, path)
            latest[index] = path
    if not starts:
        return []
    sections: list[str | None] = []
    before = None
    for index in range(len(reader.pages)):
        sections.append(starts.get(index, before))
        before = latest.get(index, before)
    return sections


def _bookmarks(outline: Sequence[Any], above: tuple[str, ...]) -> Iterator[tuple[str, Destination]]:
    """The bookmarks in order that are headings; a list in pypdf's outline holds those below the entry before it."""
    title = ""
    for entry in outline:
        if isinstance(entry, list):
            yield from _bookmarks(entry, (*above, title) if title else above)
        else:
            title = one_line(str(entry.title or ""), _LONGEST_TITLE)
            if _NO_HEADING.fullmatch(title):
                title = ""
            if title:
                yield " › ".join((*above, title)), entry


def _attachments(reader: PdfReader) -> str | None:
    names = [one_line(str(file.name), _LONGEST_TITLE) for file in reader.attachment_list]
    if not names:
        return None
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"has attached files, which are not read: {', '.join(names[:_MOST_NAMES])}{more}"


def _dynamic_form(reader: PdfReader) -> str | None:
    if "/XFA" not in (reader.root_object.get("/AcroForm") or {}):
        return None
    return "has an XFA form, of which only what its pages show is read: print it to a new PDF if something is missing"
