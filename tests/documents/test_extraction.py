import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from beacon_cli.documents import open_document
from beacon_cli.errors import DocumentError
from tests.documents.pdf_samples import encrypted, pdf

PAGES = [f"page {n}" for n in range(1, 61)]

# Prints its workers' process ids after the first page, then waits.
READER = """
import multiprocessing, sys, time
from beacon_cli.documents import open_document

if __name__ == "__main__":
    with open_document(sys.argv[1], workers=2) as document:
        pages = document.pages()
        next(pages)
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "a.pdf").write_bytes(pdf(PAGES))
    return str(tmp_path / "a.pdf")


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_pages_do_not_depend_on_the_workers(path: str, workers: int) -> None:
    with open_document(path, workers=workers) as document:
        assert [page.text for page in document.pages()] == PAGES
    assert multiprocessing.active_children() == []


def test_a_document_can_be_read_twice_and_in_part(path: str) -> None:
    with open_document(path, workers=0) as document:
        first, again = document.pages(), document.pages()
        assert [next(first).text for _ in range(7)] == PAGES[:7]
        assert [page.text for page in again] == PAGES
        assert [page.text for page in first] == PAGES[7:]


def test_many_pages_are_extracted_elsewhere_and_few_are_not(path: str, tmp_path: Path) -> None:
    few = tmp_path / "few.pdf"
    few.write_bytes(pdf(PAGES[:5]))
    for name, expected in ((path, True), (str(few), False)):
        with open_document(name) as document:
            pages = document.pages()
            next(pages)
            assert bool(multiprocessing.active_children()) == expected


def test_workers_are_given_the_password(path: str) -> None:
    Path(path).write_bytes(encrypted(pdf(PAGES), "secret", "AES-256"))
    with open_document(path, password="secret", workers=1) as document:
        assert [page.text for page in document.pages()] == PAGES


def test_an_abandoned_iteration_leaves_no_process(path: str) -> None:
    with open_document(path, workers=2) as document:
        pages = document.pages()
        next(pages)
        assert len(multiprocessing.active_children()) == 2
        pages.close()  # type: ignore[attr-defined]
        assert multiprocessing.active_children() == []


def test_closing_the_document_leaves_no_process(path: str) -> None:
    document = open_document(path, workers=2)
    pages = document.pages()
    next(pages)
    document.close()
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_names_its_page(path: str) -> None:
    with open_document(path, workers=1) as document:
        pages = document.pages()
        read = [next(pages)]
        for process in multiprocessing.active_children():
            process.kill()
        with pytest.raises(DocumentError, match=r"page \d+ crashed the PDF reader \(exit status -9\)") as caught:
            read.extend(pages)
    assert f"page {len(read) + 1} " in str(caught.value)


def test_a_file_that_changes_is_not_read_on(path: str) -> None:
    with open_document(path, workers=1) as document:
        Path(path).write_bytes(pdf(["another"]))
        with pytest.raises(DocumentError, match="has changed while it was being read"):
            next(document.pages())


def test_without_processes_the_pages_are_extracted_here(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: BaseProcess) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(BaseProcess, "start", refuse)
    with open_document(path, workers=2) as document:
        assert [page.text for page in document.pages()] == PAGES


def test_the_worker_module_is_light() -> None:
    code = "import sys, beacon_cli.documents; print([m for m in ('torch', 'transformers', 'rich') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent_and_in_silence(path: str, tmp_path: Path, how: signal.Signals) -> None:
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
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as the terminal does: to the whole group
        else:
            process.kill()
        _, shown = process.communicate(timeout=20)
    assert shown.count("Traceback") == (how == signal.SIGINT)
    deadline = time.monotonic() + 10
    while any(map(_runs, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody may have asked for its exit status yet
