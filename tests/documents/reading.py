"""Documents written, read and refused, as the tests of all kinds do it."""

from pathlib import Path

import pytest

from beacon_cli.documents import Page, PageSelection, open_document
from beacon_cli.documents.raw import printable
from beacon_cli.errors import DocumentError


def write(folder: Path, content: str | bytes, name: str) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(path: str | Path, selection: str = "1-", password: str | None = None) -> tuple[list[Page], list[str]]:
    """Pages, and warnings."""
    with open_document(str(path), password=password, pages=PageSelection.parse(selection)) as document:
        return list(document.pages()), document.warnings


def texts(path: str | Path, selection: str = "1-", password: str | None = None) -> list[str]:
    return [page.text for page in read(path, selection, password)[0]]


def refusal(path: str | Path, selection: str = "1-", password: str | None = None) -> str:
    """The one line that names the file and says why it is not read."""
    with pytest.raises(DocumentError) as caught:
        read(path, selection, password)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("stdin: " if path == "-" else printable(str(path)))
    message.encode("utf-8")
    return message
