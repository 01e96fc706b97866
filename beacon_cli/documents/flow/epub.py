"""EPUB: chapters in reading order, under the titles of the table of contents; what cannot be read of it is named."""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO
from urllib.parse import unquote, urldefrag
from zipfile import BadZipFile, ZipFile

from lxml import etree
from selectolax.lexbor import LexborNode

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.flow.html import paragraphs, parsed_xhtml
from beacon_cli.documents.flow.paging import Paragraph, Part, paged
from beacon_cli.documents.flow.xml import local_name, named, parse
from beacon_cli.documents.text.prose import one_line
from beacon_cli.errors import DocumentError

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_TEXT_TYPES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")
_TEXT_SUFFIXES = (".xhtml", ".html", ".htm")
_REFERENCE = re.compile(rb"<(?:\w{1,20}:)?itemref\b")
_NCX_TYPE = "application/x-dtbncx+xml"
# Fonts may be scrambled in a book that is not protected.
_FONT_SCRAMBLING = {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}
_MOST_BYTES = 1 << 28
_LONGEST_NAME = 80
_MOST_FALLBACKS = 8
_MOST_LEVELS = 64  # of elements in a table of contents

# The titles above a chapter and its own, by the path of its file.
Titles = dict[str, str]


class _LostError(Exception):
    """A file of the book that cannot be read; says why."""


def read_epub(file: BinaryIO) -> WholeFile:
    """A book; `DocumentError` if it is protected."""
    with ZipFile(file) as archive:
        book = _Book(archive)
        package = _Package(book)
        titles = _titles(book, package)
        parts, notes, also = list[Part](), list[str](), [*titles]
        if package.is_damaged:
            notes.append("has a damaged list of its chapters: what is not in it was read last")
            also += sorted(name for name in book.names() if name.lower().endswith(_TEXT_SUFFIXES))
        for path, reason in package.chapters(also):
            try:
                part, remarks = _chapter(book, path, reason)
                parts.append(Part(part, titles.get(path)))
                notes += [f"{_shown(path, titles)} {remark}" for remark in remarks]
            except _LostError as error:
                notes.append(f"{_shown(path, titles)} {error}, so this part is left out")
        if not parts:
            raise ValueError("; ".join(notes) or "it has no chapters")
        return paged(parts, package.title, notes)


def _chapter(book: _Book, path: str, reason: str | None) -> tuple[list[Paragraph], list[str]]:
    """The text of a chapter, and remarks; `_LostError` for this `reason` or another."""
    if reason is not None:
        raise _LostError(reason)
    data = book.read(path)
    try:
        root, remarks = parsed_xhtml(data)
    except (DocumentError, ValueError) as error:
        raise _LostError("is damaged" if data.strip() else "is empty") from error
    return list(paragraphs(root)), remarks


def _shown(path: str, titles: Titles) -> str:
    title = titles.get(path)
    return one_line(f"“{title}” ({path})" if title else path or "a part without a name", _LONGEST_NAME)


class _Book:
    """An archive whose entries are read as far as they go together, whatever it says about their sizes."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._left = _MOST_BYTES
        # Many books are made where letter case does not matter.
        self._names = {name.replace("\\", "/").casefold(): name for name in archive.namelist()}
        with suppress(_LostError):
            methods = {element.get("Algorithm") for element in named(self.xml(_ENCRYPTION), "EncryptionMethod")}
            if not methods <= _FONT_SCRAMBLING:
                raise DocumentError("is protected, and only books without DRM can be read")

    def names(self) -> list[str]:
        """The paths of all files."""
        return [name.replace("\\", "/") for name in self._archive.namelist()]

    def has(self, path: str) -> bool:
        """Whether there is such a file, in whatever letter case."""
        return path.casefold() in self._names

    def read(self, path: str) -> bytes:
        """A file; `_LostError` if it is not there or is damaged."""
        name = self._names.get(path.casefold())
        if name is None:
            raise _LostError("is missing")
        try:
            with self._archive.open(name) as entry:
                data = entry.read(self._left + 1)
        except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise _LostError("is damaged") from error
        self._left -= len(data)
        if self._left < 0:
            raise DocumentError(f"unpacks to more than {_MOST_BYTES >> 20} MiB: it is made to fill the memory")
        return data

    def xml(self, path: str) -> etree._Element:
        """The root of an XML file; `_LostError` as above."""
        try:
            return parse(self.read(path))
        except ValueError as error:
            raise _LostError("is damaged") from error


class _Package:
    """What the book says that it consists of."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        path = self._path()
        self._folder = posixpath.dirname(path)
        try:
            data = book.read(path)
            root = parse(data)
        except (_LostError, ValueError):
            data, root = b"", etree.Element("package")
        self.title = next((element.text for element in named(root, "title") if element.text), None)
        listed = [item for item in named(root, "item") if item.get("href")]
        self.items = dict[str, etree._Element]()
        for item in listed:
            self.items.setdefault(item.get("id", ""), item)
        self._order = [reference.get("idref", "") for reference in named(root, "itemref")]
        # Of XML that had to be repaired, something may be gone.
        self.is_damaged = (
            not self._order
            or len(self.items) < len(listed)
            or len(_REFERENCE.findall(data)) > len(self._order)
            or any(key not in self.items for key in self._order)
        )

    def path_of(self, item: etree._Element) -> str:
        """Where an item of the manifest lies."""
        return resolved(self._folder, item.get("href", ""))

    def chapters(self, also: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """The paths of the texts in the order of reading, each once, with the reason if one cannot be read.

        Those of `also` that are not in that order, but in the book, come last.
        """
        order = self._order or [key for key, item in self.items.items() if self._is_text(item)]
        told = set[str]()
        for key in order:
            item = self.items.get(key)
            found = item if item is None or self._is_text(item) else self._instead_of(item)
            path = key if item is None else self.path_of(item if found is None else found)
            if path not in told:
                told.add(path)
                yield path, None if found is not None else "is no text" if item is not None else "is missing"
        yield from ((path, None) for path in dict.fromkeys(also) if path not in told and self._book.has(path))

    def _path(self) -> str:
        """Where the package file is: as the container says, or else the first there is."""
        with suppress(_LostError):
            for root_file in named(self._book.xml(_CONTAINER), "rootfile"):
                if self._book.has(path := resolved("", root_file.get("full-path", ""))):
                    return path
        found = next((name for name in self._book.names() if name.lower().endswith(".opf")), None)
        if found is None:
            raise ValueError("it is no EPUB: no list of what it consists of is in it")
        return found

    def _instead_of(self, item: etree._Element) -> etree._Element | None:
        """What the book offers to readers that do not know the type of `item`."""
        for _ in range(_MOST_FALLBACKS):
            following = self.items.get(item.get("fallback", ""))
            if following is None:
                return None
            if self._is_text(following):
                return following
            item = following
        return None

    def _is_text(self, item: etree._Element) -> bool:
        kind = (item.get("media-type") or "").strip().lower()
        if kind in _TEXT_TYPES:
            return True
        if kind.startswith(("image/", "audio/", "video/", "font/", "text/css")):
            return False
        try:
            return b"<html" in self._book.read(self.path_of(item))[:4096].lower()
        except _LostError:
            return posixpath.splitext(self.path_of(item))[1].lower() in _TEXT_SUFFIXES


def _titles(book: _Book, package: _Package) -> Titles:
    """The titles of the table of contents: of several in one file the first. A book can be read without."""
    titles: Titles = {}
    for item in package.items.values():
        path = package.path_of(item)
        folder = posixpath.dirname(path)
        try:
            if "nav" in (item.get("properties") or "").split():
                found = list(_nav_titles(parsed_xhtml(book.read(path))[0]))
            elif item.get("media-type") == _NCX_TYPE:
                found = list(_ncx_titles(book.xml(path)))
            else:
                continue
        except (_LostError, DocumentError, ValueError):
            continue
        for href, title in found:
            titles.setdefault(resolved(folder, href), title)
    return titles


def _nav_titles(root: LexborNode) -> Iterator[tuple[str, str]]:
    """Address and title of every entry, those above it included; not those of other lists (landmarks, pages)."""
    lists = root.css("nav")
    kinds = [f"{each.attributes.get('epub:type') or ''} {each.attributes.get('role') or ''}" for each in lists]
    contents = [each for each, kind in zip(lists, kinds, strict=True) if "toc" in kind.replace("-", " ").split()]
    contents += [each for each, kind in zip(lists, kinds, strict=True) if not kind.strip()]
    labels: dict[int, LexborNode | None] = {}  # of entries, by their identity
    for link in contents[0].css("a[href]") if contents else []:
        titles = [link.text()]
        entry = link.parent
        for _ in range(_MOST_LEVELS):
            if entry is None or entry.tag == "nav":
                break
            if entry.tag == "li":
                if entry.mem_id not in labels:
                    labels[entry.mem_id] = next((each for each in entry.iter() if each.tag in ("a", "span")), None)
                label = labels[entry.mem_id]
                if label is not None and label.mem_id != link.mem_id:
                    titles.insert(0, label.text())
            entry = entry.parent
        yield link.attributes.get("href") or "", " › ".join(titles)


def _ncx_titles(root: etree._Element) -> Iterator[tuple[str, str]]:
    for point in named(root, "navPoint"):
        above = [each for each in point.iterancestors() if local_name(each).lower() == "navpoint"]
        titles = [_ncx_label(each) for each in (*reversed(above), point)]
        for content in (child for child in point if local_name(child).lower() == "content"):
            yield content.get("src", ""), " › ".join(filter(None, titles))


def _ncx_label(point: etree._Element) -> str:
    labels = (child for child in point if local_name(child).lower() == "navlabel")
    return next((" ".join("".join(label.itertext()).split()) for label in labels), "")


def resolved(folder: str, href: str) -> str:
    """The path in the archive that an address in a file of `folder` means."""
    return posixpath.normpath(posixpath.join(folder, unquote(urldefrag(href).url).replace("\\", "/"))).lstrip("/")
