"""`beacon cache …`, and builds that are killed."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.conftest import story
from tests.cli.runner import assert_refused, run
from tests.documents.pdf_samples import pdf


def shards(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(cache.glob("documents/*/*.safetensors"))}


def test_build_list_show_remove(book: Path, cache_dir: Path) -> None:
    (built,) = run("cache", "build", str(book), "--json").json
    assert built["tokens_condensed"] > 0
    assert Path(built["cache_path"]).parent.parent == cache_dir

    (listed,) = run("cache", "list", "--json").json
    assert (listed["document"], listed["state"], listed["ratio"]) == ("book.txt", "complete", built["ratio"])
    assert listed["tokens"] == built["tokens_read"]
    table = run("cache", "list").out.splitlines()
    assert len(table) == 2
    assert "book.txt" in table[1]

    assert run("cache", "show", listed["key"][:8], "--json").json == listed
    assert "book.txt" in run("cache", "show", str(book)).out
    assert run("cache", "path").out == f"{cache_dir}\n"

    assert run("cache", "rm", "book.txt").code == 0
    assert run("cache", "list", "--json").json == []
    assert book.exists()
    assert_refused(run("cache", "rm", "book.txt"), "book.txt", "cache list")


def test_what_is_built_is_not_built_again(book: Path) -> None:
    (first,) = run("cache", "build", str(book), "--json").json
    (second,) = run("cache", "build", str(book), "--json").json
    assert first["tokens_condensed"] > 0
    assert second["tokens_condensed"] == 0
    assert run("ask", str(book), "Who?", "--json").json["tokens_condensed"] == 0


def test_several_documents(book: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text("# Other\n\n" + story(3))
    built = run("cache", "build", str(book), str(other), "--json").json
    assert [each["document"] for each in built] == ["book.txt", "other.md"]


def test_a_killed_build_resumes_to_the_same_bytes(tmp_path: Path, cache_dir: Path) -> None:
    book = tmp_path / "long.txt"
    book.write_text(story(320))
    command = [sys.executable, "-m", "beacon_cli", "cache", "build", str(book), "--ratio", "8"]
    whole = dict(os.environ, BEACON_CACHE_DIR=str(tmp_path / "whole"))
    subprocess.run(command, env=whole, check=True, capture_output=True)

    build = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(cache_dir.glob("documents/*/manifest.json")) and build.poll() is None:
        time.sleep(0.005)
    build.send_signal(signal.SIGKILL)
    build.wait()
    (unfinished,) = run("cache", "list", "--json").json
    assert unfinished["state"] == "unfinished"
    durable = unfinished["tokens"]
    assert durable > 0

    (resumed,) = run("cache", "build", str(book), "--ratio", "8", "--json").json
    assert resumed["tokens_condensed"] == resumed["tokens_read"] // 128 * 128 - durable
    assert shards(cache_dir) == shards(tmp_path / "whole")


def test_ctrl_c_leaves_a_resumable_cache_and_says_so(tmp_path: Path, cache_dir: Path) -> None:
    book = tmp_path / "long.txt"
    book.write_text(story(320))
    command = [sys.executable, "-m", "beacon_cli", "cache", "build", str(book), "--ratio", "8"]
    # Where the tests run in the background, SIGINT is ignored, and children inherit that.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    build = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=default)
    while not list(cache_dir.glob("documents/*/manifest.json")) and build.poll() is None:
        time.sleep(0.005)
    build.send_signal(signal.SIGINT)
    out, err = build.communicate(timeout=60)
    assert (build.returncode, out) == (130, b"")
    assert "interrupted" in err.decode()
    assert len(err.decode().splitlines()) == 1
    assert run("cache", "list", "--json").json[0]["state"] == "unfinished"


def test_a_damaged_cache_is_refused_and_rebuilt(book: Path, cache_dir: Path) -> None:
    run("cache", "build", str(book))
    (shard,) = cache_dir.glob("documents/*/*.safetensors")
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert_refused(run("ask", str(book), "Who?"), "--refresh")
    assert run("cache", "build", str(book), "--refresh").code == 0
    assert shard.read_bytes() == good


def test_what_could_not_be_read_is_said_with_every_answer(tmp_path: Path, cache_dir: Path) -> None:
    paper = tmp_path / "paper.pdf"
    image = b"q 600 0 0 800 0 0 cm BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q"
    paper.write_bytes(pdf(["The lighthouse keeper is called Amos Barr.", image]))
    first, second = (run("ask", str(paper), "Who keeps the lighthouse?", "--json") for _ in range(2))
    assert (first.json["tokens_condensed"], second.json["tokens_condensed"]) == (0, 0)
    for result in (first, second):
        (warning,) = result.json["warnings"]
        assert "page 2" in warning
        assert warning in result.err
    (listed,) = run("cache", "list", "--json").json
    assert listed["warnings"] == first.json["warnings"]
