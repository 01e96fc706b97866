"""GGUF files on the hub, by short name, by file and by tag, for real, against a hub on this machine."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon_cli.checkpoints import memory
from beacon_cli.checkpoints.catalogue import llms
from beacon_cli.checkpoints.local.gguf_name import HubFile, hub_file
from beacon_cli.checkpoints.local.model_folder import local_model
from beacon_cli.errors import ModelError
from beacon_cli.settings import DEFAULTS
from tests.checkpoints.gguf.gguf_files import write
from tests.cli.machine import Machine
from tests.cli.runner import assert_refused, run
from tests.downloads import wait_for_partial
from tests.hub_server import HubServer, Repository

SHORT = "smollm2-360m"
FILE = llms()[SHORT].source
REPOSITORY, _, NAME = FILE.rpartition("/")
SPLIT = "owner/split"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("published")
    whole = write(folder / "tiny.gguf", without=("general.license",)).read_bytes()
    write(folder / "tiny-Q8_0.gguf", per_part=12)
    parts = {path.name: path.read_bytes() for path in sorted(folder.glob("tiny-Q8_0-*"))}
    others = {"other-Q8_0.gguf": b"GGUF", "mmproj-Q4_K_M.gguf": b"GGUF", "README.md": b"# A model", "LICENSE": b"Free."}
    return {REPOSITORY: {NAME: whole, **others}, SPLIT: parts}


@pytest.fixture(scope="module")
def only_machine(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(hub.url, tmp_path_factory.mktemp("hf"))
    yield machine
    if machine.process:
        machine.process.communicate()


@pytest.fixture
def machine(hub: HubServer, only_machine: Machine, content: dict[str, dict[str, bytes]]) -> Iterator[Machine]:
    """With nothing of the hub on it."""
    hub.repositories = {name: Repository(dict(files)) for name, files in content.items()}
    hub.requests.clear()
    hub.cut.clear()
    hub.instead.clear()
    yield only_machine
    for path in sorted(only_machine.home.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def fetched(hub: HubServer) -> list[str]:
    return [name for name in hub.fetched() if name.endswith(".gguf")]


def test_a_short_name_is_pulled_once_and_then_found_offline(
    hub: HubServer, machine: Machine, models_dir: Path, tmp_path: Path
) -> None:
    pulled = machine.run("models", "pull", SHORT)
    assert pulled.code == 0, pulled.err
    assert pulled.out == f"{models_dir / FILE.replace('/', '--')}\n"
    assert fetched(hub) == [NAME]
    shown = machine.run("models", "show", SHORT, "--json").json
    assert (shown["state"], shown["licence"], shown["source"]) == ("converted", "apache-2.0", FILE)
    assert (shown["revision"], shown["condense"]) == (hub.repositories[REPOSITORY].commit, "select")
    hub.requests.clear()
    book = tmp_path / "book.txt"
    book.write_text("One.")
    for name in (SHORT, FILE, f"{REPOSITORY}:q4_k_m"):
        assert machine.run("models", "show", name, "--json").json == shown
        assert machine.run("ask", str(book), "Who?", "--model", name, "--max-new-tokens", "1").code == 0
    assert hub.requests == []
    for name in (FILE, f"{REPOSITORY}:Q4_K_M"):
        assert machine.run("models", "pull", name).out == pulled.out
    assert fetched(hub) == []


def test_what_is_pulled_is_converted_without_the_hub(
    hub: HubServer, machine: Machine, models_dir: Path, content: dict[str, dict[str, bytes]]
) -> None:
    pulled = machine.run("models", "pull", SHORT, "--no-convert")
    path = Path(pulled.out.strip())
    assert (path.name, path.read_bytes()) == (NAME, content[REPOSITORY][NAME])
    shown = machine.run("models", "show", SHORT, "--json").json
    assert (shown["state"], shown["download"], shown["size"]) == ("downloaded", path.stat().st_size, 0)
    hub.repositories = {}
    hub.requests.clear()
    assert machine.run("models", "convert", FILE, "--remove-download").code == 0
    assert fetched(hub) == []
    assert not path.exists()
    assert machine.run("models", "rm", SHORT).code == 0
    assert machine.run("models", "show", SHORT, "--json").json["state"] == "not here"
    assert list(models_dir.iterdir()) == []


def test_a_killed_pull_goes_on_where_it_was(hub: HubServer, machine: Machine) -> None:
    hub.cut[NAME] = [("stall", 20_000)]
    process = machine.start("models", "pull", SHORT)
    wait_for_partial(machine.home, process, 20_000)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    hub.requests.clear()
    assert machine.run("models", "pull", SHORT).code == 0
    spans = [span for _, path, span in hub.requests if path == f"/{FILE}"]
    assert spans == ["bytes=20000-"]


def test_a_wrong_checksum(hub: HubServer, machine: Machine, models_dir: Path) -> None:
    content = hub.repositories[REPOSITORY].files[NAME]
    hub.instead[NAME] = content[:-1] + bytes([content[-1] ^ 1])
    assert_refused(machine.run("models", "pull", SHORT), f"{NAME} does not match the hub's checksum")
    assert not models_dir.exists()
    assert not [path for path in machine.home.rglob("*.gguf") if path.exists()]


def test_what_was_damaged_on_this_disk_is_noticed(hub: HubServer, machine: Machine) -> None:
    path = Path(machine.run("models", "pull", SHORT, "--no-convert").out.strip()).resolve()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert_refused(machine.run("models", "convert", SHORT), "does not match the hub's checksum and is deleted")
    assert machine.run("models", "pull", SHORT).code == 0


def test_a_split_file_is_pulled_whole(hub: HubServer, machine: Machine) -> None:
    names = sorted(hub.repositories[SPLIT].files)
    assert len(names) == 2
    hub.cut[names[1]] = [("close", 0)] * 20
    assert_refused(machine.run("models", "pull", f"{SPLIT}:Q8_0"), "run the same command again")
    name = f"{SPLIT}/{names[0]}"
    assert machine.run("models", "show", name, "--json").json["state"] == "incomplete"
    hub.cut.clear()
    assert machine.run("models", "pull", name).code == 0
    assert fetched(hub).count(names[0]) == 1
    # A part names the whole.
    assert machine.run("models", "pull", f"{SPLIT}/{names[1]}").code == 0
    assert machine.run("models", "show", f"{SPLIT}:Q8_0", "--json").json["state"] == "converted"
    assert machine.run("models", "rm", name, "--download").code == 0
    assert_refused(machine.run("models", "show", name), "no model is called")
    del hub.repositories[SPLIT].files[names[1]]
    assert_refused(machine.run("models", "pull", name), f"misses a part of it, {names[1]}")


def test_what_cannot_be_pulled(hub: HubServer, machine: Machine, models_dir: Path) -> None:
    hub.repositories["owner/private"] = Repository({"a-Q8_0.gguf": b"GGUF"}, private="secret")
    hub.repositories["owner/gated"] = Repository({"a-Q8_0.gguf": b"GGUF"}, gated=True)
    hub.repositories["owner/two"] = Repository({"a-Q8_0.gguf": b"GGUF", "b-Q8_0.gguf": b"GGUF"})
    for name, reason in {
        f"{REPOSITORY}:Q2_K": "no such GGUF file in the repository; there are: SmolLM2-360M-Instruct-Q4_K_M.gguf",
        f"{REPOSITORY}/other.gguf": "no such GGUF file in the repository",
        f"{REPOSITORY}@v9:Q4_K_M": "no such revision",
        "owner/two:Q8_0": "owner/two:Q8_0 may be any of a-Q8_0.gguf, b-Q8_0.gguf; name one of them",
        "owner/two": "owner/two holds 2 GGUF files: name one, owner/two/a-Q8_0.gguf",
        "owner/private:Q8_0": "if it is private, set HF_TOKEN",
        "owner/gated:Q8_0": "accept its licence",
        "owner/none:Q8_0": "no such repository",
        "smollm2-135b": "nor a short name",
    }.items():
        assert_refused(machine.run("models", "pull", name), reason)
    assert fetched(hub) == []
    assert not models_dir.exists()


def test_a_revision_is_kept_apart(hub: HubServer, machine: Machine, models_dir: Path) -> None:
    commit = hub.repositories[REPOSITORY].commit
    pulled = machine.run("models", "pull", f"{REPOSITORY}@{commit}/{NAME}")
    assert pulled.out == f"{models_dir / f'{REPOSITORY}@{commit}/{NAME}'.replace('/', '--')}\n"
    assert machine.run("models", "pull", SHORT).out != pulled.out
    assert fetched(hub) == [NAME]


# Without a hub.


def test_a_file_on_this_disk_goes_before_one_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("owner/name/tiny.gguf", SHORT, "owner/name:Q4_K_M"):
        assert local_model(name) is None
    (tmp_path / "owner" / "name").mkdir(parents=True)
    # A path that is mistyped is not looked for on the hub.
    for name in ("owner/name/tony.gguf", "owner/other/tiny.gguf", "./owner/name/tony.gguf", "tony.gguf"):
        with pytest.raises(ModelError, match="there is no file"):
            local_model(name)
    (tmp_path / "owner" / "name" / "tiny.gguf").touch()
    assert local_model("owner/name/tiny.gguf") == Path("owner/name/tiny.gguf")
    (tmp_path / SHORT).mkdir()
    assert local_model(SHORT) == Path(SHORT)


def test_what_a_tag_chooses() -> None:
    files = [
        "a-Q4_K_M.gguf",
        "a-Q4_K_S.gguf",
        "a.Q8_0-00001-of-00002.gguf",
        "a.Q8_0-00002-of-00002.gguf",
        "Q6_K/a.gguf",
    ]

    def chosen(tag: str) -> list[str]:
        return HubFile("owner/name", tag=tag).choose(files)

    assert chosen("q4_k_m") == ["a-Q4_K_M.gguf"]
    assert chosen("Q8_0") == ["a.Q8_0-00001-of-00002.gguf", "a.Q8_0-00002-of-00002.gguf"]
    assert chosen("Q4") == chosen(".*") == []
    with pytest.raises(ModelError, match=r"any of a-Q4_K_M\.gguf, b-Q4_K_M\.gguf"):
        HubFile("owner/name", tag="Q4_K_M").choose([*files, "b-Q4_K_M.gguf"])


@pytest.mark.parametrize("name", ["owner/name", "owner/name@main", "./a/b.gguf", "a/b.gguf", "ollama:a/b:c", "x", ""])
def test_what_is_no_file_on_the_hub(name: str) -> None:
    assert hub_file(name) is None


def test_the_catalogues_short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    gibibytes = 8 * 2**30
    monkeypatch.setattr(memory, "free_memory", lambda: gibibytes)
    listed = {entry["id"]: entry for entry in run("models", "list", "--json").json}
    for name, llm in llms().items():
        entry, file = listed[name], hub_file(name)
        assert file is not None
        assert str(file) == llm.source == entry["source"]
        assert (entry["to_fetch"], entry["licence"]) == (llm.to_fetch, llm.licence)
        assert entry["state"] == "not here" or name == DEFAULTS.model
        assert llm.parameters is not None
        assert llm.to_fetch is not None
        assert entry["memory"] == 2 * llm.parameters > llm.to_fetch
        share = 0.7 * gibibytes / llm.parameters
        assert entry["fits"] == ("yes" if share >= 4 else "slowly" if share >= 2 else "no")
    assert {listed[name]["fits"] for name in llms()} == {"yes", "slowly", "no"}
    shown = run("models", "show", "llama-3.2-1b").out
    assert "licence: llama3.2" in shown
    assert "condense: select" in shown


def test_the_readers_base_is_the_file_of_its_short_name() -> None:
    reader = json.loads((Path(__file__).parents[2] / "models" / "beacon_smollm2" / "reader.json").read_text())
    assert llms()["smollm2-135m"].source.endswith(f"/{reader['base']}")
