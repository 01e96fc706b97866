"""EPUB: chapters in reading order, under the titles of the table of contents."""

from __future__ import annotations

import posixpath
from typing import Any, BinaryIO
from urllib.parse import unquote, urldefrag
from zipfile import ZipFile

from bs4 import BeautifulSoup
from defusedxml.ElementTree import fromstring

from beacon_cli.documents.content import WholeFile
from beacon_cli.documents.flow.html import paragraphs
from beacon_cli.documents.flow.paging import Part, paged

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_TEXT_TYPES = ("application/xhtml+xml", "text/html")
_NCX_TYPE = "application/x-dtbncx+xml"
# Fonts may be scrambled in a book that is not protected.
_FONT_SCRAMBLING = {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}
_MOST_BYTES = 1 << 28


def read_epub(file: BinaryIO) -> WholeFile:
    """A book; raises `ValueError` if it is protected, and whatever the libraries raise if it is damaged."""
    with ZipFile(file) as archive:
        book = _Book(archive)
        package_path = _find(book.xml(_CONTAINER), "rootfile").get("full-path")
        package = book.xml(package_path)
        folder = posixpath.dirname(package_path)
        items = {item.get("id"): item for item in _all(package, "item")}
        paths = {key: _resolve(folder, item.get("href")) for key, item in items.items()}
        spine = [
            paths[reference.get("idref")]
            for reference in _all(package, "itemref")
            if reference.get("idref") in items and items[reference.get("idref")].get("media-type") in _TEXT_TYPES
        ]
        titles = _titles(book, items, paths)
        parts = [
            Part(list(paragraphs(BeautifulSoup(book.read(path), "html.parser"))), titles.get(path)) for path in spine
        ]
        title = next((element.text for element in _all(package, "title")), None)
        return paged(parts, title)


class _Book:
    """An archive whose entries are read as far as they go together, whatever it says about their sizes."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._left = _MOST_BYTES
        if _ENCRYPTION in archive.namelist():
            methods = {element.get("Algorithm") for element in _all(self.xml(_ENCRYPTION), "EncryptionMethod")}
            if not methods <= _FONT_SCRAMBLING:
                raise ValueError("it is protected, and only books without DRM can be read")

    def read(self, path: str) -> bytes:
        with self._archive.open(path) as entry:
            data = entry.read(self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {_MOST_BYTES >> 20} MiB")
        return data

    def xml(self, path: str) -> Any:
        return fromstring(self.read(path))


def _titles(book: _Book, items: dict[str, Any], paths: dict[str, str]) -> dict[str, str]:
    """The title of each file that the table of contents names: the first of several in one file."""
    titles: dict[str, str] = {}
    for key, item in items.items():
        folder = posixpath.dirname(paths[key])
        if "nav" in (item.get("properties") or "").split():
            for link in BeautifulSoup(book.read(paths[key]), "html.parser").select("nav a[href]"):
                titles.setdefault(_resolve(folder, str(link["href"])), link.get_text())
        elif item.get("media-type") == _NCX_TYPE:
            for point in _all(book.xml(paths[key]), "navPoint"):
                label, content = _find(point, "text"), _find(point, "content")
                titles.setdefault(_resolve(folder, content.get("src")), label.text or "")
    return titles


def _resolve(folder: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(urldefrag(href).url)))


def _all(root: Any, name: str) -> list[Any]:
    """The elements called `name` in whatever namespace."""
    return [element for element in root.iter() if str(element.tag).rpartition("}")[2] == name]


def _find(root: Any, name: str) -> Any:
    found = _all(root, name)
    if not found:
        raise ValueError(f"it has no {name}")
    return found[0]
