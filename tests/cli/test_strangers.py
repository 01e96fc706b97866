"""What others made is imported, but not believed: neither its text nor its activations, until they are proven."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.cache import builder
from beacon_cli.cache.archive import export
from beacon_cli.cache.identity import DocumentInfo
from beacon_cli.cache.origin import ORIGIN
from beacon_cli.cache.store import Store
from tests.cache.forger import forge
from tests.cli.runner import Result, assert_refused, run
from tests.scripted import ROW_BYTES, WINDOW, Script
from tests.stories import FACT, WHO_KEEPS, story

LIE = FACT.replace("Edda Voss", "Carl Pike")
ASK = (WHO_KEEPS, "--ratio", "4", "--max-new-tokens", "8", "--json")
needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH's ssh-keygen")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "SHARD_BYTES", 2 * WINDOW // 4 * ROW_BYTES)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """Builds caches of documents in a store on what counts as another machine."""

    def build(*documents: Path, ratio: int = 4) -> Store:
        with monkeypatch.context() as patch:
            patch.setenv("BEACON_CACHE_DIR", str(tmp_path / "elsewhere"))
            done("cache", "build", *map(str, documents), "--ratio", str(ratio))
            return Store.default()

    return build


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "contract.txt"
    path.write_text(story(12, fact_at=5))
    return path


def done(*arguments: str) -> Result:
    result = run(*arguments)
    assert result.code == 0, result.err
    return result


def archived(store: Store, target: Path, *, of: Path | None = None, noise: float = 0.0) -> Path:
    """An export of the one cache in `store`, which is said to be `of` a document, and has some `noise` in it."""
    (summary,) = store.entries()
    assert summary.manifest is not None
    document = None if of is None else claimed(of, store.path.with_name("lookup"))
    export(forge(summary.entry, store.path.with_name("forged"), document=document, noise=noise), target)
    return target


def claimed(document: Path, root: Path) -> DocumentInfo:
    """What a cache says that it is of, if it is of `document`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEACON_CACHE_DIR", str(root))
        done("cache", "build", str(document))
        (summary,) = Store.default().entries()
    assert summary.manifest is not None
    return summary.manifest.subject.document


def listed() -> dict[str, Any]:
    (entry,) = done("cache", "list", "--json").json
    assert isinstance(entry, dict)
    return entry


def contents(path: str | Path) -> dict[str, Any]:
    """What a cache holds, whatever it is called and wherever it comes from."""
    manifest = json.loads((Path(path) / "manifest.json").read_text())
    told = {name: manifest[name] for name in ("intervals", "shards", "tail", "chain")}
    return told | {each.name: each.read_bytes() for each in Path(path).iterdir() if each.suffix == ".safetensors"}


@pytest.mark.parametrize("ratio", [4, 8])
def test_another_text_under_a_documents_checksum_never_answers_for_it(
    contract: Path, tmp_path: Path, elsewhere: Callable[..., Store], says: Script, ratio: int
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(contract.read_text().replace(FACT, LIE))
    archive = archived(elsewhere(other, ratio=ratio), tmp_path / "forged.beacon", of=contract)
    done("cache", "import", str(archive))
    assert (listed()["document"], listed()["foreign"], listed()["proven"]) == ("contract.txt", True, [])
    done("cache", "verify", "--deep")
    assert listed()["proven"] == ["activations"]  # they are those of its text, which is not the contract's
    found = done("find", str(contract), "lighthouse keeper Voss Pike", "--json").out
    assert "Edda Voss" in found
    assert "Carl Pike keeps" not in found
    result = done("ask", str(contract), *ASK)
    assert ("is not its text" in result.err) == (ratio == 4)
    assert result.json["tokens_condensed"] > 0
    assert not result.json["documents"][0]["foreign"]
    assert FACT in says.asked[0].prompt
    assert LIE not in says.asked[0].prompt
    automatic = done("ask", str(contract), WHO_KEEPS, "--json")
    assert LIE not in says.asked[1].prompt
    assert not automatic.json["documents"][0]["foreign"]
    assert [entry["foreign"] for entry in done("cache", "list", "--json").json if entry["ratio"] == 4] == [False]


def test_other_page_texts_or_remarks_than_the_documents_own_are_not_its_text(
    contract: Path, tmp_path: Path, elsewhere: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, says: Script
) -> None:
    """The tokens are right; the pages, which are cited and read again, and the remarks are not."""
    store = elsewhere(contract)
    (summary,) = store.entries()
    pages = summary.entry.pages()
    lying = tuple(type(page)(**vars(page) | {"text": page.text.replace(FACT, LIE)}) for page in pages)
    with monkeypatch.context() as patch:
        patch.setattr("beacon_cli.cache.entry.Entry.pages", lambda self: lying)
        archive = archived(store, tmp_path / "forged.beacon")
    done("cache", "import", str(archive))
    result = done("ask", str(contract), *ASK)
    assert "is not its text" in result.err
    assert LIE not in says.asked[0].prompt


@pytest.mark.parametrize("proof", ["none", "deep", "repair", "signed"])
def test_strange_activations_are_no_documents_beginning(
    contract: Path, tmp_path: Path, elsewhere: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, proof: str
) -> None:
    part, book = tmp_path / "part.txt", tmp_path / "book.txt"
    part.write_text(story(12))
    book.write_text(story(12) + "\f" + story(9))
    poison = archived(elsewhere(part), tmp_path / "part.beacon", noise=0.0 if proof in ("deep", "signed") else 1.0)
    key = Path()
    if proof == "signed":
        if shutil.which("ssh-keygen") is None:
            pytest.skip("needs OpenSSH's ssh-keygen")
        key = new_key(tmp_path / "alice")
        with monkeypatch.context() as patch:
            patch.setenv("BEACON_CACHE_DIR", str(tmp_path / "elsewhere"))
            done("cache", "export", "part.txt", "-o", str(poison), "--force", "--sign", str(key))
    done("cache", "import", str(poison), *(["--trust", f"{key}.pub"] if proof == "signed" else []))
    if proof in ("deep", "repair"):
        done("cache", "verify", "--deep", *(["--repair"] if proof == "repair" else []))
    (built,) = done("cache", "build", str(book), "--ratio", "4", "--json").json
    assert (built["tokens_condensed"] < built["tokens_read"] // WINDOW * WINDOW) == (proof != "none")
    monkeypatch.setenv("BEACON_CACHE_DIR", str(tmp_path / "clean"))
    (clean,) = done("cache", "build", str(book), "--ratio", "4", "--json").json
    assert contents(built["cache_path"]) == contents(clean["cache_path"])


def test_an_honest_import_is_compared_with_its_document_once(
    contract: Path, tmp_path: Path, elsewhere: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, says: Script
) -> None:
    done("cache", "import", str(archived(elsewhere(contract), tmp_path / "contract.beacon")))
    assert "foreign" in done("cache", "list").out
    assert "foreign: True" in done("cache", "show", "contract.txt").out
    first = done("ask", str(contract), *ASK)
    assert first.json["tokens_condensed"] == 0
    assert first.json["documents"][0]["foreign"]
    assert "was imported" in first.err
    assert listed()["proven"] == ["text"]

    def refuse(*_: Any) -> Iterator[None]:
        yield pytest.fail("the document is read once more")

    monkeypatch.setattr("beacon_cli.documents.document.Document.pages", refuse)
    assert done("ask", str(contract), *ASK).json["documents"][0]["foreign"]
    (report,) = done("cache", "verify", "--json").json
    assert report["foreign"]
    assert "foreign, text proven here" in done("cache", "verify").out
    (report,) = done("cache", "verify", "--deep", "--json").json
    assert (report["foreign"], report["origin"]) == (False, "imported, text and activations proven here")
    last = done("ask", str(contract), *ASK)
    assert not last.json["documents"][0]["foreign"]
    assert "was imported" not in last.err
    assert not listed()["foreign"]


@pytest.mark.parametrize(("noise", "state"), [(1.0, "damaged"), (1e-3, "whole")])
def test_strange_activations_under_the_right_text_go_when_it_is_condensed_again(
    contract: Path,
    tmp_path: Path,
    elsewhere: Callable[..., Store],
    noise: float,
    state: str,
) -> None:
    """Nearly right is not proven either: what two machines differ by could hide something."""
    store = elsewhere(contract)
    done("cache", "import", str(archived(store, tmp_path / "contract.beacon", noise=noise)))
    (report,) = run("cache", "verify", "--deep", "--json").json
    assert (report["state"], report["foreign"]) == (state, True)
    assert "activations" not in listed()["proven"]
    (report,) = done("cache", "verify", "--deep", "--repair", "--json").json
    assert report["state"] == "rebuilt"
    assert listed()["proven"] == ["activations"]
    assert done("ask", str(contract), *ASK).json["tokens_condensed"] == 0
    assert not listed()["foreign"]
    (summary,) = store.entries()
    assert contents(listed()["path"]) == contents(summary.entry.folder)


def test_what_is_condensed_anew_is_nobody_elses(
    contract: Path, tmp_path: Path, elsewhere: Callable[..., Store]
) -> None:
    archive = archived(elsewhere(contract), tmp_path / "contract.beacon")
    done("cache", "import", str(archive))
    path = Path(listed()["path"])
    (path / ORIGIN).write_text("{}")  # what cannot be read proves nothing
    assert listed()["foreign"]
    done("cache", "build", str(contract), "--ratio", "4", "--refresh")
    assert not listed()["foreign"]
    assert not (path / ORIGIN).exists()
    done("cache", "import", str(archive), "--force")  # the same to the bit as what was built here
    assert not listed()["foreign"]


def new_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a reader", "-f", str(path)], check=True)
    return path


@needs_ssh
def test_a_signature_by_a_trusted_key_is_believed(
    contract: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Script
) -> None:
    alice, bob = new_key(tmp_path / "alice"), new_key(tmp_path / "bob")
    archive = tmp_path / "contract.beacon"
    done("cache", "build", str(contract), "--ratio", "4")
    done("cache", "export", "contract.txt", "-o", str(archive), "--sign", str(alice))
    done("cache", "rm", "--all")
    assert_refused(run("cache", "import", str(archive), "--trust", f"{bob}.pub"), "is no signature of this archive")
    assert_refused(run("cache", "import", str(archive), "--trust", str(contract)), "holds no public SSH key")
    assert_refused(run("cache", "import", str(archive), "--trust", str(tmp_path / "no")), "cannot be read", "--trust")
    assert done("cache", "list", "--json").json == []
    both = tmp_path / "both.pub"
    both.write_text(f'# readers\n{bob.with_suffix(".pub").read_text()}from="*" {alice.with_suffix(".pub").read_text()}')
    result = done("cache", "import", str(archive), "--trust", str(both))
    assert "signed by SHA256:" in result.err
    assert (listed()["foreign"], listed()["proven"]) == (False, [])
    assert listed()["signed_by"].startswith("SHA256:")
    assert ", signed" in done("cache", "list").out
    answer = done("ask", str(contract), *ASK)
    assert (answer.json["tokens_condensed"], answer.json["documents"][0]["foreign"]) == (0, False)

    # Believed or not, what is imported anew is what counts.
    done("cache", "import", str(archive), "--force")
    assert listed()["foreign"]
    assert_refused(run("cache", "export", "contract.txt", "-o", str(tmp_path / "x"), "--sign", str(bob)), "--refresh")
    assert not (tmp_path / "x").exists()

    # The signature is of all of it.
    (tmp_path / "contract.beacon.sig").rename(tmp_path / "other.sig")
    assert_refused(run("cache", "import", str(archive), "--force", "--trust", f"{alice}.pub"), "contract.beacon.sig")
    (tmp_path / "other.sig").rename(tmp_path / "contract.beacon.sig")
    done("cache", "rm", "--all")
    done("cache", "build", str(contract), "--ratio", "8")
    done("cache", "export", "contract.txt", "-o", str(tmp_path / "y.beacon"))
    shutil.copy(tmp_path / "contract.beacon.sig", tmp_path / "y.beacon.sig")
    done("cache", "rm", "--all")
    assert_refused(run("cache", "import", str(tmp_path / "y.beacon"), "--trust", f"{alice}.pub"), "is no signature")


@needs_ssh
def test_a_key_that_does_not_sign_leaves_nothing(contract: Path, tmp_path: Path) -> None:
    done("cache", "build", str(contract), "--ratio", "4")
    for key, words in ((tmp_path / "nothing", "is no file"), (contract, "does not sign")):
        result = run("cache", "export", "contract.txt", "-o", str(tmp_path / "a.beacon"), "--sign", str(key))
        assert_refused(result, words, "--sign")
        assert not list(tmp_path.glob("a.beacon*"))


def test_without_openssh_signatures_are_refused_in_one_line(
    contract: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("cache", "build", str(contract), "--ratio", "4")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("cache", "export", "contract.txt", "-o", str(tmp_path / "a.beacon"), "--sign", str(contract))
    assert_refused(result, "ssh-keygen", "openssh-client")


def test_without_its_document_an_import_answers_and_says_so(
    contract: Path, tmp_path: Path, elsewhere: Callable[..., Store], says: Script, scripted_model: Path
) -> None:
    done("cache", "import", str(archived(elsewhere(contract), tmp_path / "contract.beacon")))
    key = listed()["key"]
    contract.rename(tmp_path / "moved.txt")
    for which, flags in ((key, ASK), (key[:8], (WHO_KEEPS, "--json"))):
        result = done("ask", which, *flags)
        (document,) = result.json["documents"]
        assert (document["document"], document["foreign"], document["without_document"]) == ("contract.txt", True, True)
        assert (result.json["tokens_condensed"], result.json["ratio"]) == (0, 4)
        assert "contract.txt: taken from the cache (foreign, nothing of it proven here), without" in result.err
        assert FACT in says.asked[-1].prompt
    assert listed()["proven"] == []  # it was compared with nothing

    other = tmp_path / "other.txt"
    other.write_text(story(5))
    together = done("ask", str(other), key, WHO_KEEPS, "--json").json
    assert [each["without_document"] for each in together["documents"]] == [False, True]
    assert_refused(run("ask", key, WHO_KEEPS, "--ratio", "8"), "condensed at ratio 4", "ratio 8")
    for flags in (["--refresh"], ["--no-cache"], ["--pages", "1"]):
        assert_refused(run("ask", key, WHO_KEEPS, *flags), "is read as it is", "--no-cache")
    assert_refused(run("ask", "0000", WHO_KEEPS), "0000")
    assert_refused(run("cache", "build", key), key)
    model = tmp_path / "model"
    shutil.copytree(scripted_model, model)
    config = json.loads((model / "beacon" / "beacon_config.json").read_text())
    config["settings"] |= {"window": 64, "stride": 64}
    (model / "beacon" / "beacon_config.json").write_text(json.dumps(config))
    assert_refused(run("ask", key, WHO_KEEPS, "--model", str(model)), "--model", str(model))


def test_a_document_that_is_gone_is_asked_by_its_key(contract: Path, says: Script) -> None:
    done("cache", "build", str(contract), "--ratio", "4")
    contract.unlink()
    result = done("ask", listed()["key"], *ASK)
    assert "taken from the cache, without the document itself" in result.err
    assert not result.json["documents"][0]["foreign"]
    assert FACT in says.asked[0].prompt
