import errno
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from beacon_cli.documents import open_document
from beacon_cli.documents.content import Kind
from beacon_cli.documents.worker.readers import open_file
from beacon_cli.errors import DocumentError
from tests.documents.pdf_samples import pdf
from tests.documents.reading import refusal


def _stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pdf"
    empty.touch()
    assert refusal(str(tmp_path / "none.pdf")) == f"{tmp_path}/none.pdf: no such file: check the path"
    assert "is a directory" in refusal(str(tmp_path))
    assert "is empty" in refusal(str(empty))
    assert "neither a file nor a pipe" in refusal("/dev/null")
    assert "cannot be opened" in refusal("a\0b")
    assert "cannot be opened" in refusal("x" * 300)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything

        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr("builtins.open", refuse)
    assert "may not be read: check the permissions" in refusal(str(path))


@pytest.mark.parametrize("kind", ["text", "pdf", "html"])
def test_a_disk_that_fails(kind: Kind) -> None:
    class Failing(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(DocumentError, match=r"^a: cannot be read \(Input/output error\)"):
        open_file(kind, Failing(b"text"), "a", None)


@pytest.mark.parametrize("name", ["a.odt", "a.mobi", "a.PNG"])
def test_unsupported_kinds_are_refused_with_what_is_supported(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04")
    assert f"{path.suffix.lower()} is not supported, only PDF, .txt, .md, .html, .epub and .docx" in refusal(str(path))


def test_a_name_without_suffix_is_text(tmp_path: Path) -> None:
    path = tmp_path / "README"
    path.write_text("text")
    with open_document(str(path)) as document:
        assert document.source.kind == "text"


def test_any_file_name_can_be_shown(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff\nname.txt")
    Path(name).write_text("text")
    with open_document(name) as document:
        assert document.source.name == "bad\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}name.txt"
        assert [page.text for page in document.pages()] == ["text"]
    assert "no such file" in refusal(name + "\n")


def test_standard_input_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    _stdin(monkeypatch, b"# text")
    with open_document("-") as document:
        assert (document.source.name, document.source.path, document.source.kind) == ("stdin", None, "text")
        assert [page.text for page in document.pages()] == ["# text"]


def test_standard_input_may_be_a_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    _stdin(monkeypatch, pdf(["one", "two"]))
    with open_document("-") as document:
        assert (document.source.path, document.source.kind) == (None, "pdf")
        assert [page.text for page in document.pages()] == ["one", "two"]


def test_standard_input_may_be_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    _stdin(monkeypatch, b"")
    assert refusal("-") == "stdin: is empty: there is nothing to read"
    _stdin(monkeypatch, b"\x89PNG\r\n\x1a\n\0")
    assert "stdin: is not text but a PNG image" in refusal("-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "stdin: is closed" in refusal("-")


def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    writer = threading.Thread(target=Path(path).write_bytes, args=(b"text",))
    writer.start()
    with open_document(path) as document:
        assert [page.text for page in document.pages()] == ["text"]
    writer.join()
