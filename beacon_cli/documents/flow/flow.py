"""Documents without pages of their own (web pages, EPUB, Word): blocks of text, cut into pages at headings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import BinaryIO

from beacon_cli.documents.text.prose import clean, one_line
from beacon_cli.documents.text.running_heads import RunningHead
from beacon_cli.documents.text.slicing import slices
from beacon_cli.documents.worker.protocol import Extras, PageContent, Reader
from beacon_cli.errors import DocumentError

# What the extra `formats` installs, by the kind that needs it.
_LIBRARIES = {"html": ("bs4",), "epub": ("bs4", "defusedxml"), "docx": ("docx",)}
_LONGEST_HEADING = 120
# Pages that are longer than paper can hold are not those of the document: it was never laid out.
_LONGEST_PAGE = 10_000


@dataclass(frozen=True)
class Block:
    """A paragraph, a row of a table or list, or a heading of a `level` from 1 (0: no heading); form feeds end pages."""

    text: str
    level: int = 0
    is_row: bool = False


@dataclass(frozen=True)
class Flow:
    """What a document says, in parts (chapters) that begin on pages of their own.

    A part has a title, which its headings stand under, or None.
    """

    title: str | None
    parts: Sequence[tuple[str | None, Sequence[Block]]]
    notes: tuple[str, ...] = ()


class FlowFile:
    """A flow in pages, as the reading process serves it."""

    def __init__(self, flow: Flow) -> None:
        pages = [page for title, blocks in flow.parts for page in _cut(title, blocks)]
        self.title = one_line(flow.title or "", _LONGEST_HEADING) or None
        self.page_count = len(pages)
        self._texts = [text for _, text in pages]
        self._sections = tuple(section for section, _ in pages)
        self._notes = flow.notes

    def has_text(self, ranges: tuple[tuple[int, int], ...]) -> bool:
        """Whether any page in `ranges` has text."""
        return any(any(map(str.strip, self._texts[first - 1 : last])) for first, last in ranges)

    def extras(self) -> Extras:
        """Headings as sections."""
        return Extras(sections=self._sections, notes=self._notes)

    def page(self, number: int, running: Sequence[RunningHead]) -> PageContent:
        """Page `number`, from 1; there are no running heads."""
        text = self._texts[number - 1]
        return PageContent(text, "text" if text else "blank")

    def edges(self, number: int) -> tuple[str, ...]:
        """Nothing: there are no running heads."""
        return ()


def open_flow(kind: Reader, file: BinaryIO, name: str) -> FlowFile:
    """Read all of a document; `DocumentError` if it is damaged, empty, or of a kind whose libraries are not there."""
    if missing := [library for library in _LIBRARIES[kind] if find_spec(library) is None]:
        raise DocumentError(
            f"{name}: reading {kind} files needs {' and '.join(missing)}: "
            "install beacon with its formats (pip install 'beacon-cli[formats]')"
        )
    try:
        flow = _reader(kind)(file)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # whatever parsing a damaged file runs into
        reason = one_line(str(error), 80) or type(error).__name__
        raise DocumentError(f"{name}: cannot be read as {kind} ({reason}): save or download it again") from error
    document = FlowFile(flow)
    if not document.page_count:
        raise DocumentError(f"{name}: holds no text: there is nothing to read")
    return document


def _reader(kind: Reader) -> Callable[[BinaryIO], Flow]:
    # Each imports libraries that may not be there.
    if kind == "html":
        from beacon_cli.documents.flow.html import read_html as read  # noqa: PLC0415  optional dependencies
    elif kind == "epub":
        from beacon_cli.documents.flow.epub import read_epub as read  # noqa: PLC0415  optional dependencies
    else:
        from beacon_cli.documents.flow.docx import read_docx as read  # noqa: PLC0415  optional dependencies
    return read


def _cut(title: str | None, given: Sequence[Block]) -> Iterator[tuple[str | None, str]]:
    """Pages as (section, text): those of the document if it has any, else one begins with every heading."""
    blocks = [replace(block, text=clean(block.text)) for block in given]
    if any("\f" in block.text for block in blocks):
        pages = list(_given_pages(title, blocks))
        if all(len(text) <= _LONGEST_PAGE for _, text in pages):
            yield from pages
            return
        blocks = [replace(block, text=block.text.replace("\f", "\n")) for block in blocks]
    path: list[tuple[int, str]] = []
    gathered: list[Block] = []
    for block in blocks:
        if block.level and any(not before.level for before in gathered):
            yield from ((_section(title, path), text) for text in _pages(gathered))
            gathered = []
        path = _deeper(path, block)
        gathered.append(block)
    yield from ((_section(title, path), text) for text in _pages(gathered))


def _given_pages(title: str | None, blocks: Sequence[Block]) -> Iterator[tuple[str | None, str]]:
    path: list[tuple[int, str]] = []
    section, gathered = _section(title, path), list[Block]()
    for block in blocks:
        path = _deeper(path, block)
        if block.level and not any(before.text for before in gathered):
            section = _section(title, path)
        first, *others = block.text.split("\f")
        gathered.append(replace(block, text=first))
        for text in others:
            yield section, _joined(gathered)
            section, gathered = _section(title, path), [replace(block, text=text)]
    if last := _joined(gathered):
        yield section, last


def _deeper(path: list[tuple[int, str]], block: Block) -> list[tuple[int, str]]:
    """The headings above what follows `block`."""
    heading = one_line(block.text, _LONGEST_HEADING)
    if not block.level or not heading:
        return path
    return [(level, text) for level, text in path if level < block.level] + [(block.level, heading)]


def _section(title: str | None, path: Iterable[tuple[int, str]]) -> str | None:
    names = [one_line(title, _LONGEST_HEADING)] if title else []
    names += [text for _, text in path if text not in names]
    return " › ".join(names) or None


def _pages(blocks: Sequence[Block]) -> Iterator[str]:
    return (page.strip("\n") for page in slices(_joined(blocks)) if page.strip())


def _joined(blocks: Sequence[Block]) -> str:
    text, before = "", None
    for block in blocks:
        if not block.text.strip():
            continue
        if before is not None:
            text += "\n" if block.is_row and before.is_row else "\n\n"
        text += block.text.strip("\n")
        before = block
    return text
