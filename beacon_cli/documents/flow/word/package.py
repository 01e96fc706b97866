"""A Word file as an archive: which part is the document, and the parts that belong to it."""

from __future__ import annotations

import posixpath
from functools import cached_property
from zipfile import ZipFile

from lxml import etree

from beacon_cli.documents.flow.xml import local_name, named, parse_strictly
from beacon_cli.errors import DocumentError

_MOST_BYTES = 1 << 28


class Package:
    """The parts of a Word file; strict and transitional, with and without macros."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._left = _MOST_BYTES
        self.damaged: list[str] = []  # kinds of parts that are named but not to be read
        self._path = self._related("", "officeDocument") or "word/document.xml"

    @cached_property
    def document(self) -> etree._Element:
        """The root of the text; `DocumentError` if there is none."""
        root = self._parsed(self._path)
        if root is None and self._path in self._archive.namelist():
            raise ValueError(f"{self._path} is damaged")
        if root is None or local_name(root) != "document":
            raise DocumentError("is no Word file, though it is called one: give it the suffix of what it is")
        return root

    def part(self, kind: str) -> etree._Element | None:
        """The root of another part by the kind of relation, for instance "footnotes"; None if there is none."""
        path = self._related(self._path, kind)
        root = None if path is None else self._parsed(path)
        if path is not None and root is None:
            self.damaged.append(kind)
        return root

    @cached_property
    def title(self) -> str | None:
        """As its author gave it."""
        path = self._related("", "core-properties")
        root = None if path is None else self._parsed(path)
        return None if root is None else next((each.text for each in named(root, "title") if each.text), None)

    def _related(self, path: str, kind: str) -> str | None:
        folder, name = posixpath.split(path)
        relations = self._parsed(posixpath.join(folder, "_rels", f"{name}.rels"))
        for relation in () if relations is None else named(relations, "Relationship"):
            if relation.get("Type", "").endswith(f"/{kind}") and relation.get("TargetMode") != "External":
                return posixpath.normpath(posixpath.join(f"/{folder}", relation.get("Target", ""))).lstrip("/")
        return None

    def _parsed(self, path: str) -> etree._Element | None:
        """None if it is not there or damaged: of a part that is repaired, text would be missing in silence."""
        try:
            with self._archive.open(path) as part:
                data = part.read(self._left + 1)
        except KeyError:
            return None
        self._left -= len(data)
        if self._left < 0:
            raise DocumentError(f"unpacks to more than {_MOST_BYTES >> 20} MiB: it is made to fill the memory")
        return parse_strictly(data)
