"""`beacon cache verify`, `prune`, `export`, `import`, and the size limit."""

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from activation_beacon.memory import SequenceMemory
from beacon_cli.cache.manifest import read_manifest
from beacon_cli.cache.store import Store
from beacon_cli.durable.records import seal
from tests.cli.conftest import story
from tests.cli.runner import assert_misused, assert_refused, run
from tests.scripted import ROW_BYTES, WINDOW, Script

QUESTION = ("Who is the keeper of the Morvane lighthouse?", "--max-new-tokens", "8", "--json")


def flip(path: Path, where: float = 0.5) -> bytes:
    """Flip a bit; returns what was there."""
    good = path.read_bytes()
    position = int(len(good) * where)
    path.write_bytes(good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :])
    return good


def files(cache: Path) -> dict[str, bytes]:
    """All files of all caches."""
    return {path.name: path.read_bytes() for path in sorted(cache.glob("documents/*/*"))}


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two intervals in a shard, at ratio 4."""
    monkeypatch.setattr("beacon_cli.cache.builder.SHARD_BYTES", 2 * WINDOW // 4 * ROW_BYTES)


@pytest.fixture
def built(book: Path, cache_dir: Path) -> Path:
    """The folder of the book's cache, of several shards."""
    assert run("cache", "build", str(book), "--ratio", "4").code == 0
    (folder,) = cache_dir.glob("documents/*")
    assert len(list(folder.glob("*.safetensors"))) >= 3
    return folder


def verify(*flags: str) -> tuple[int, list[dict[str, Any]]]:
    result = run("cache", "verify", "--json", *flags)
    assert result.out, result.err
    return result.code, result.json


def test_a_whole_cache_is_whole(built: Path) -> None:
    code, (report,) = verify()
    assert (code, report["state"], report["damage"]) == (0, "whole", [])
    code, (report,) = verify("--deep")
    assert (code, report["state"], report["deviation"]) == (0, "whole", 0)
    assert report["condensed"] >= 3
    assert "equal to the bit" in run("cache", "verify", "--deep").out


@pytest.mark.parametrize("victim", ["memory-00001", "memory-00000", "pages", "manifest"])
def test_damage_is_found_refused_and_repaired(built: Path, book: Path, cache_dir: Path, victim: str) -> None:
    (path,) = built.glob(f"{victim}*")
    before = files(cache_dir)
    flip(path)
    code, (report,) = verify()
    assert (code, report["state"]) == (1, "damaged")
    assert victim in report["damage"][0]
    assert_refused(run("ask", str(book), *QUESTION, "--ratio", "4"), victim)
    code, (report,) = verify("--repair")
    if victim == "manifest":
        assert (code, report["state"]) == (1, "damaged")
        assert "beacon cache rm" in report["advice"]
        return
    assert (code, report["state"]) == (0, "repaired")
    assert files(cache_dir) == before
    assert run("ask", str(book), *QUESTION, "--ratio", "4").code == 0


def test_a_malformed_manifest_of_another_ratio_stops_no_question(book: Path) -> None:
    (built,) = run("cache", "build", str(book), "--ratio", "16", "--json").json
    (Path(built["cache_path"]) / "manifest.json").write_text("{")
    answer = run("ask", str(book), *QUESTION).json
    assert answer["ratio"] != 16
    assert_refused(run("ask", str(book), *QUESTION, "--ratio", "16"), "malformed")


def test_only_damaged_intervals_are_condensed_again(built: Path) -> None:
    shards = sorted(built.glob("*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in shards}
    shards[1].unlink()
    _, (report,) = verify("--repair")
    per_shard = report["condensed"]
    changed = [path for path in shards if path.stat().st_mtime_ns != before[path]]
    assert (report["state"], changed) == ("repaired", [shards[1]])
    flip(shards[0])
    flip(shards[2])
    _, (report,) = verify("--repair")
    assert (report["state"], report["condensed"]) == ("repaired", 2 * per_shard)


def test_pages_come_back_from_the_document_or_not_at_all(built: Path, book: Path) -> None:
    (pages,) = built.glob("pages*")
    good = flip(pages)
    text = book.read_text()
    book.write_text(text + "More.")
    code, (report,) = verify("--repair")
    assert (code, report["state"]) == (1, "damaged")
    assert str(book) in report["advice"]
    book.write_text(text)
    assert verify("--repair")[0] == 0
    assert pages.read_bytes() == good


def test_deep_finds_what_no_checksum_can(built: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer that made a mistake while it condensed wrote the checksums of that mistake."""
    before = files(cache_dir)
    finish, count = SequenceMemory.finish_interval, iter(range(1000))

    def mistaken(self: SequenceMemory, *arguments: Any) -> Any:
        activations = finish(self, *arguments)
        if next(count) == 4:
            activations.keys[1:] *= -1
        return activations

    (document,) = run("cache", "list", "--json").json
    with monkeypatch.context() as patch:
        patch.setattr(SequenceMemory, "finish_interval", mistaken)
        assert run("cache", "build", document["document_path"], "--ratio", "4", "--refresh").code == 0
    assert files(cache_dir) != before
    assert verify()[0] == 0
    code, (report,) = verify("--deep")
    assert (code, report["state"]) == (1, "damaged")
    assert "not what the model makes" in report["damage"][0]
    code, (report,) = verify("--deep", "--repair")
    assert (code, report["state"]) == (0, "rebuilt")
    assert {k: v for k, v in files(cache_dir).items() if k != "manifest.json"} == {
        k: v for k, v in before.items() if k != "manifest.json"
    }


def test_deep_alone_changes_nothing_of_an_unfinished_cache(built: Path, cache_dir: Path) -> None:
    manifest = read_manifest(built)
    assert manifest is not None
    (built / "manifest.json").write_bytes(seal(manifest.truncated(2)))
    flip(next(built.glob("memory-00000-*")))
    before = files(cache_dir)
    code, (report,) = verify("--deep")
    assert (code, report["state"]) == (1, "damaged")
    assert files(cache_dir) == before
    assert verify("--repair")[1][0]["state"] == "repaired"


def test_what_another_machine_rounds_otherwise_is_whole(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = SequenceMemory.finish_interval

    def elsewhere(self: SequenceMemory, *arguments: Any) -> Any:
        activations = finish(self, *arguments)
        activations.values.mul_(1 + 2**-7)
        return activations

    monkeypatch.setattr(SequenceMemory, "finish_interval", elsewhere)
    code, (report,) = verify("--deep")
    assert (code, report["state"]) == (0, "whole")
    assert 0 < report["deviation"] < 0.02
    (shard,) = built.glob("memory-00001*")
    shard.unlink()
    code, (report,) = verify("--repair")
    assert (code, report["state"]) == (0, "rebuilt")
    assert verify()[0] == 0


def test_a_model_that_is_gone_is_named(
    book: Path, tmp_path: Path, cache_dir: Path, scripted_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BEACON_MODEL")
    model = tmp_path / "model"
    shutil.copytree(scripted_model, model)
    assert run("cache", "build", str(book), "--model", str(model)).code == 0
    assert run("cache", "prune", "--unusable", "--json").json == []
    assert verify("--deep")[0] == 0
    moved = tmp_path / "moved"
    model.rename(moved)
    code, (report,) = verify("--deep")
    assert (code, report["state"]) == (1, "unverified")
    assert "--model" in report["advice"]
    assert verify("--deep", "--model", str(moved))[0] == 0
    (gone,) = run("cache", "prune", "--unusable", "--json", "--dry-run").json
    assert gone["reason"] == "no model on this disk can use it"
    assert len(run("cache", "prune", "--unusable").out.splitlines()) == 1
    assert files(cache_dir) == {}


def test_prune_by_age_and_size(book: Path, tmp_path: Path, cache_dir: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(story(4))
    assert run("cache", "build", str(book), str(other)).code == 0
    caches = {entry["document"]: entry for entry in run("cache", "list", "--json").json}
    os.utime(Path(caches["book.txt"]["path"]) / "manifest.json", (1e9, 1e9))
    assert run("cache", "prune").code == 2
    assert_misused(run("cache", "prune", "--older-than", "soon"), "soon", "30d")
    assert_misused(run("cache", "prune", "--max-size", "little"), "little", "2GB")
    assert run("cache", "prune", "--older-than", "365d", "--max-size", "1TB", "--dry-run", "--json").json == [
        {
            "key": caches["book.txt"]["key"],
            "document": "book.txt",
            "size": caches["book.txt"]["size"],
            "reason": run("cache", "prune", "--older-than", "1y", "--dry-run", "--json").json[0]["reason"],
        }
    ]
    small = caches["other.txt"]["size"]
    assert [gone["document"] for gone in run("cache", "prune", "--max-size", str(small), "--json").json] == ["book.txt"]
    assert [entry["document"] for entry in run("cache", "list", "--json").json] == ["other.txt"]
    assert run("cache", "prune", "--max-size", "0").code == 0
    assert run("cache", "list", "--json").json == []


def test_prune_leaves_what_is_in_use(built: Path) -> None:
    (summary,) = Store.default().entries()
    with summary.entry.in_use():
        result = run("cache", "prune", "--max-size", "0", "--json")
    assert result.json == []
    assert "being read" in result.err
    assert built.exists()


def test_a_limit_evicts_the_one_used_longest_ago(
    book: Path, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [tmp_path / f"{number}.txt" for number in range(3)]
    for number, path in enumerate(others):
        path.write_text(f"Book {number}. " + story(5))
    for number, path in enumerate(others[:2]):
        assert run("cache", "build", str(path)).code == 0
        (entry,) = (entry for entry in run("cache", "list", "--json").json if entry["document"] == path.name)
        os.utime(Path(entry["path"]) / "manifest.json", (1e9 - number, 1e9 - number))
    size = sum(entry["size"] for entry in run("cache", "list", "--json").json)
    monkeypatch.setenv("BEACON_CACHE_LIMIT", str(size))
    result = run("cache", "build", str(others[2]))
    assert "1.txt" in result.err
    assert "cache_limit" in result.err
    assert {entry["document"] for entry in run("cache", "list", "--json").json} == {"0.txt", "2.txt"}
    monkeypatch.setenv("BEACON_CACHE_LIMIT", "1kB")
    result = run("ask", str(book), *QUESTION)
    assert result.code == 0
    assert [entry["document"] for entry in run("cache", "list", "--json").json] == ["book.txt"]
    assert "cannot be brought down" in result.err
    monkeypatch.setenv("BEACON_CACHE_LIMIT", "lots")
    assert_misused(run("ask", str(book), *QUESTION), "lots")


def test_an_export_is_usable_at_once_elsewhere(
    built: Path, book: Path, tmp_path: Path, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("ask", str(book), *QUESTION, "--ratio", "4").code == 0
    archive = tmp_path / "book.beacon"
    assert run("cache", "export", "book.txt", "-o", str(archive)).out == f"{archive}\n"
    assert archive.stat().st_mode & 0o777 == 0o600
    assert str(tmp_path).encode() not in archive.read_bytes()
    assert_refused(run("cache", "export", "book.txt", "-o", str(archive)), "exists", "--force")
    assert run("cache", "export", built.name, "-o", str(archive), "--force").code == 0
    with tarfile.open(archive) as tar:
        # All but the search index, which is computed of the text.
        kept = {path.name for path in built.iterdir() if not path.name.startswith("search-")}
        assert {Path(name).name for name in tar.getnames()} == kept

    assert_refused(run("cache", "import", str(archive)), "already", "--force")
    monkeypatch.setenv("BEACON_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert run("cache", "import", str(archive)).out == f"{built.name}\n"
    again = run("ask", str(book), *QUESTION, "--ratio", "4").json
    assert again["tokens_condensed"] == 0
    assert says.asked[1].equals(says.asked[0])
    assert verify("--deep")[0] == 0
    assert run("cache", "import", str(archive), "--force").code == 0
    assert verify()[0] == 0
    modes = {
        path.stat().st_mode & 0o777 for path in (tmp_path / "elsewhere" / "documents").rglob("*") if path.is_file()
    }
    assert modes == {0o600}


def test_an_export_for_a_model_that_is_not_here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "book.beacon"
    assert run("cache", "export", built.name, "-o", str(archive)).code == 0
    shutil.rmtree(built)
    monkeypatch.setattr("beacon_cli.cache.matching.Matcher.find", lambda self, subject: None)
    assert_refused(run("cache", "import", str(archive)), "scripted", "--model", "--force")
    result = run("cache", "import", str(archive), "--force")
    assert result.code == 0
    assert "no model on this disk" in result.err


def test_sorting(book: Path, tmp_path: Path) -> None:
    other = tmp_path / "another.txt"
    other.write_text(story(4))
    assert run("cache", "build", str(other), str(book)).code == 0

    def order(how: str) -> list[str]:
        return [entry["document"] for entry in run("cache", "list", "--json", "--sort", how).json]

    assert order("used") == order("size") == ["book.txt", "another.txt"]
    assert order("name") == ["another.txt", "book.txt"]
    assert run("cache", "list", "--sort", "colour").code == 2


@pytest.mark.parametrize("bits", ["8", "4"])
def test_fewer_bits_are_another_smaller_cache(
    built: Path, book: Path, cache_dir: Path, says: Script, monkeypatch: pytest.MonkeyPatch, bits: str
) -> None:
    monkeypatch.setattr("beacon_cli.cache.builder.SHARD_BYTES", 10_000)
    assert run("ask", str(book), *QUESTION, "--ratio", "4", "--cache-bits", bits, "--no-cache").code == 0
    assert run("cache", "build", str(book), "--ratio", "4", "--cache-bits", bits).code == 0
    sizes = {entry["bits"]: entry["size"] for entry in run("cache", "list", "--json").json}
    assert sizes[int(bits)] < {"8": 0.65, "4": 0.45}[bits] * sizes[16]  # the text takes the same
    answer = run("ask", str(book), *QUESTION, "--ratio", "4", "--cache-bits", bits).json
    assert answer["tokens_condensed"] == 0
    assert not says.asked[1].equals(says.asked[0])  # nothing was rounded without a cache
    assert run("ask", str(book), *QUESTION, "--ratio", "4", "--cache-bits", bits, "--refresh").code == 0
    assert says.asked[2].equals(says.asked[1])
    assert {report["deviation"] for report in verify("--deep")[1]} == {0}
    # What was loaded and what is condensed after it are what they are in a build that nothing interrupted.
    (folder,) = (path for path in cache_dir.glob("documents/*") if path != built)
    shards = sorted(folder.glob("*.safetensors"))
    whole = shards[-1].read_bytes()
    shards[-1].unlink()
    assert [report["state"] for report in verify("--repair", folder.name)[1]] == ["repaired"]
    assert len(shards) > 1
    assert shards[-1].read_bytes() == whole
    assert_misused(run("ask", str(book), *QUESTION, "--cache-bits", "7"), "cache-bits", "16, 8, 4")


def test_verifying_computes_with_the_threads_that_are_given(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    assert verify("--deep", "--threads", "1")[0] == 0
    monkeypatch.setenv("BEACON_THREADS", "2")
    assert verify("--deep")[0] == 0
    assert asked == [1, 2]
