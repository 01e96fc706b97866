"""`beacon inspect`: what of a collection can be read."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import assert_refused, run
from tests.documents.pdf_samples import encrypted, pdf


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.pdf").write_bytes(pdf(["one two", "three"], catalog=b"/PageLabels<</Nums[0<</S/r>>]>>"))
    (folder / "b.pdf").write_bytes(pdf(["one", b"BT (unbalanced Tj ET"]))
    (folder / "c.pdf").write_bytes(encrypted(pdf(["locked"]), "secret", "AES-256"))
    (folder / "deep" / "d.txt").write_bytes("Мороз и солнце; день чудесный! Ещё ты дремлешь, друг".encode("cp1251"))
    (folder / "ignored.bin").write_bytes(b"\0")
    (folder / ".hidden.txt").write_text("left out, as by `beacon ask`")
    return folder


def test_a_folder_is_a_table(shelf: Path) -> None:
    result = run("inspect", str(shelf))
    assert result.code == 0
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [(row[0], row[1], row[2], Path(row[4]).name) for row in rows[1:]] == [
        ("read", "2", "3", "a.pdf"),
        ("warned", "2", "1", "b.pdf"),
        ("refused", "0", "0", "c.pdf"),
        ("warned", "1", "9", "d.txt"),
    ]
    assert rows[2][5] == "page 2: unreadable (damaged)"
    assert "--password" in rows[3][5]
    assert "cp1251" in rows[4][5]
    assert "1 read, 2 warned, 1 refused; 5 pages in " in result.err


def test_json_and_patterns(shelf: Path) -> None:
    result = run("inspect", str(shelf / "[ac].pdf"), "--password", "secret", "--json", "-q")
    assert [(row["state"], row["words"]) for row in result.json["documents"]] == [("read", 3), ("read", 1)]
    assert result.json["totals"]["read"] == 2
    assert result.err == ""


def test_the_text_of_one_document(shelf: Path) -> None:
    result = run("inspect", "--text", str(shelf / "a.pdf"))
    assert result.out == "--- page 1 (i)\none two\n\n--- page 2 (ii)\nthree\n\n"
    assert_refused(run("inspect", "--text", str(shelf / "c.pdf")), "--password")
    assert run("inspect", "--text", str(shelf / "a.pdf"), str(shelf / "b.pdf")).code == 2


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    assert_refused(run("inspect", str(tmp_path / "none.pdf"), "-q"), "no document there")
    assert_refused(run("inspect", str(tmp_path), "-q"), "no document there")


def test_no_model_is_loaded() -> None:
    code = "import sys, beacon_cli.commands.inspect; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
