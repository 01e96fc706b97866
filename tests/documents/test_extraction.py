import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from beacon_cli.documents import Limits, open_document
from beacon_cli.documents.opening import opening_ahead
from beacon_cli.errors import DocumentError
from tests.documents.pdf_samples import assemble, encrypted, pdf

PAGES = [f"page {n}" for n in range(1, 61)]
# A page that takes much longer than the limits below, and one that takes much more memory.
SLOW = b"BT /F1 12 Tf " + b"(a) Tj " * 600_000 + b"ET"
BIG = b"BT /F1 12 Tf (" + b"a" * 60_000_000 + b") Tj ET"
TIGHT = Limits(page_seconds=0.5)

# Prints its reader's process id after the first page, then waits.
READER = """
import subprocess, sys, time
from beacon_cli.documents import open_document

started = []
start = subprocess.Popen.__init__
def note(self, *args, **options):
    start(self, *args, **options)
    started.append(self.pid)
subprocess.Popen.__init__ = note

with open_document(sys.argv[1]) as document:
    pages = document.pages()
    next(pages)
    print(*started, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "a.pdf").write_bytes(pdf(PAGES))
    return str(tmp_path / "a.pdf")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that the test starts, none of which may be left at its end."""
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen.__init__

    def note(self: subprocess.Popen[bytes], *arguments: object, **options: object) -> None:
        start(self, *arguments, **options)  # type: ignore[call-overload]  # handed on
        processes.append(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", note)
    yield processes
    assert all(process.poll() is not None for process in processes)


def _compressed(*contents: bytes) -> bytes:
    """A PDF of pages with these content streams, packed."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(contents)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for i, content in enumerate(contents):
        packed = zlib.compress(content)
        objects.append(b"<</Type/Page/Parent 2 0 R/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>" % (5 + 2 * i))
        objects.append(b"<</Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream" % (len(packed), packed))
    return assemble(objects)


TEXT = b"BT /F1 12 Tf 50 750 Td (some text) Tj ET"


def test_a_document_can_be_read_twice_and_in_part(path: str, started: list[object]) -> None:
    with open_document(path) as document:
        first, again = document.pages(), document.pages()
        assert [next(first).text for _ in range(7)] == PAGES[:7]
        assert [page.text for page in again] == PAGES
        assert [page.text for page in first] == PAGES[7:]


def test_the_reader_is_given_the_password(path: str) -> None:
    Path(path).write_bytes(encrypted(pdf(PAGES), "secret", "AES-256"))
    with open_document(path, password="secret") as document:
        assert [page.text for page in document.pages()] == PAGES


def test_an_abandoned_iteration_leaves_no_process(path: str, started: list[subprocess.Popen[bytes]]) -> None:
    with open_document(path) as document:
        pages = document.pages()
        next(pages)
        assert [process.poll() for process in started] == [None]
        pages.close()  # type: ignore[attr-defined]  # a generator
        assert all(process.poll() is not None for process in started)


def test_closing_the_document_leaves_no_process(path: str, started: list[object]) -> None:
    document = open_document(path)
    next(document.pages())
    document.close()
    document.close()


@pytest.mark.parametrize("named", ["a.pdf", "a.txt"])
def test_a_process_that_was_started_ahead_reads(
    named: str, path: str, started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    (tmp_path / named).touch()  # what it is expected to be may be wrong
    with opening_ahead([str(tmp_path / named)]):
        assert len(started) == 1
        with open_document(path) as document:
            assert [page.text for page in document.pages()] == PAGES
        assert len(started) == 1


def test_a_process_that_was_started_ahead_for_nothing_ends(path: str, started: list[subprocess.Popen[bytes]]) -> None:
    with suppress(KeyError), opening_ahead([path]):
        assert [process.poll() for process in started] == [None]
        raise KeyError
    assert [process.poll() for process in started] == [-signal.SIGKILL]


def test_a_process_that_was_started_ahead_and_died_is_not_missed(
    path: str, started: list[subprocess.Popen[bytes]]
) -> None:
    with opening_ahead([path]):
        started[0].kill()
        started[0].wait()
        with open_document(path) as document:
            assert [page.text for page in document.pages()] == PAGES


@pytest.mark.parametrize("paths", [[], ["-"], ["missing.pdf"], ["."]])
def test_nothing_is_started_ahead_for_what_is_no_file(paths: list[str], started: list[object]) -> None:
    with opening_ahead(paths):
        assert started == []


def test_a_reader_that_dies_costs_a_page(path: str, started: list[subprocess.Popen[bytes]]) -> None:
    Path(path).write_bytes(pdf(["x" * 3000] * 60))  # more than the pipe takes at once
    with open_document(path) as document:
        pages = document.pages()
        read = [next(pages)]
        started[0].kill()
        read.extend(pages)
        lost = [page.number for page in read if not page.text]
        assert len(lost) == 1
        assert len(read) == 60
        assert document.warnings == [f"page {lost[0]}: left out, as reading took more than 8 s or 1,024 MiB of memory"]


def test_a_file_that_changes_is_not_read_on(path: str) -> None:
    with open_document(path) as document:
        first, again = document.pages(), document.pages()
        next(first)
        Path(path).write_bytes(pdf(["another"]))
        with pytest.raises(DocumentError, match="has changed while it was being read"):
            next(again)


def test_without_processes_nothing_is_read(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(DocumentError, match="no process can be started"):
        open_document(path)


def test_a_page_that_takes_too_long_is_left_out(path: str, started: list[object]) -> None:
    Path(path).write_bytes(_compressed(TEXT, SLOW, TEXT))
    with open_document(path, limits=TIGHT) as document:
        assert [page.text for page in document.pages()] == ["some text", "", "some text"]
        assert document.warnings == ["page 2: left out, as reading took more than 0.5 s or 1,024 MiB of memory"]


def test_a_page_that_takes_too_much_memory_is_left_out(path: str, started: list[object]) -> None:
    Path(path).write_bytes(_compressed(TEXT, BIG, TEXT))
    with open_document(path, limits=Limits(memory=200 << 20)) as document:
        assert [page.text for page in document.pages()] == ["some text", "", "some text"]
        assert document.warnings == ["page 2: left out, as reading took more than 8 s or 200 MiB of memory"]


def test_a_bomb_on_every_page_is_given_up(path: str, started: list[object]) -> None:
    Path(path).write_bytes(_compressed(*[SLOW] * 50))
    began = time.monotonic()
    with open_document(path, limits=TIGHT) as document, pytest.raises(DocumentError) as caught:
        list(document.pages())
    assert "pages 1, 2, 3 cannot be read within 0.5 s" in str(caught.value)
    assert "--pages" in str(caught.value)
    assert time.monotonic() - began < 15


def test_a_page_has_only_so_much_text(path: str) -> None:
    Path(path).write_bytes(pdf(["some text " * 50, "more"]))
    with open_document(path, limits=Limits(page_characters=100)) as document:
        assert [len(page.text) for page in document.pages()] == [100, 4]
        assert document.warnings == ["page 1: cut after 100 characters"]


def test_what_takes_too_long_to_open_is_refused(path: str) -> None:
    with pytest.raises(DocumentError, match=r"takes more than 0\.01 s to open"):
        open_document(path, limits=Limits(open_seconds=0.01))


def test_what_takes_too_much_memory_to_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.html"
    path.write_text("a" * 80_000_000)
    with pytest.raises(DocumentError, match="takes more than 300 MiB of memory to open"):
        open_document(str(path), limits=Limits(memory=300 << 20))


@pytest.mark.parametrize(
    "catalog",
    [
        b"/Outlines 4 0 R",
        b"/Outlines 1 0 R/First 1 0 R/Next 1 0 R/Title(x)",
        b"/PageLabels<</Nums[0<</S/r/St 2000000000>>]>>",
        b"/PageLabels<</Kids[1 0 R]/Limits[0 9]>>",
        b"/Names<</EmbeddedFiles<</Kids[1 0 R]>>>>/Kids[1 0 R]",
    ],
    ids=["no outline", "circle", "huge label", "circle of labels", "circle of names"],
)
def test_what_is_odd_beside_the_pages_does_not_matter(path: str, catalog: bytes) -> None:
    Path(path).write_bytes(pdf(["one", "two"], catalog=catalog))
    with open_document(path) as document:
        assert [page.text for page in document.pages()] == ["one", "two"]


def test_documents_are_light() -> None:
    code = (
        "import sys, beacon_cli.documents, beacon_cli.documents.worker.__main__;"
        "heavy = {'torch', 'transformers', 'rich', 'pypdf', 'lxml', 'selectolax', 'markdown_it'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_reader_ends_with_its_parent_and_in_silence(path: str, tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "reader.py"
    script.write_text(READER)
    with subprocess.Popen(
        [sys.executable, str(script), path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        readers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(readers) == 1
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as the terminal does: to the whole group
        else:
            process.kill()
        _, shown = process.communicate(timeout=20)
    assert shown.count("Traceback") == (how == signal.SIGINT)
    deadline = time.monotonic() + 10
    while any(map(_runs, readers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody may have asked for its exit status yet


def test_all_pages_together_are_bounded_and_those_that_were_read_are_named(path: str) -> None:
    with open_document(path, limits=Limits(all_seconds=0.0, all_seconds_per_page=0.0)) as document:
        pages = document.pages()
        assert next(pages).text == "page 1"
        with pytest.raises(DocumentError, match=r"a.pdf: reading its 60 pages takes more than 0 s.*--pages 1, or"):
            list(pages)


def test_a_text_that_is_too_large_is_told_to_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beacon_cli.documents.worker.process._LARGE", 10**6)
    path = tmp_path / "large.txt"
    path.write_text("A line of text.\n\n" * 2_000_000)
    with pytest.raises(
        DocumentError, match=r"large.txt: takes more than 150 MiB.*has 34.0 MB, and is read whole; cut it"
    ):
        open_document(str(path), limits=Limits(memory=150 << 20))
