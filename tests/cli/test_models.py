"""`beacon models` and `beacon ask --model owner/name`, for real, against a hub on this machine."""

import functools
import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.checkpoints.catalogue import catalogue, llms
from tests.checkpoints.merged_checkpoints import MISTRAL, QWEN2, RELEASED, V1, V2, checkpoint, files, prefix
from tests.cli.conftest import story
from tests.cli.machine import Machine
from tests.cli.runner import Result, assert_misused, assert_refused, run
from tests.downloads import wait_for_partial
from tests.hub_server import HubServer, Repository

SHARDS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def only_machine(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(server.url, tmp_path_factory.mktemp("hf"))
    yield machine
    if machine.process:
        machine.process.communicate()


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repository]:
    folder = tmp_path_factory.mktemp("released")
    return {name: Repository(files(checkpoint(RELEASED[name]).write(folder / name))) for name in RELEASED}


@pytest.fixture
def hub(server: HubServer, repositories: dict[str, Repository]) -> HubServer:
    """With the released repositories."""
    server.repositories = dict(repositories)
    server.requests.clear()
    server.cut.clear()
    server.instead.clear()
    return server


@pytest.fixture
def machine(hub: HubServer, only_machine: Machine) -> Machine:
    """With nothing of the hub on it."""
    shutil.rmtree(only_machine.home)
    return only_machine


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Some intervals of text."""
    path = tmp_path / "book.txt"
    path.write_text(story(2))
    return path


def ask(book: Path, model: str) -> list[str]:
    return ["ask", str(book), "Who?", "--model", model, "--passages", "0", "--max-new-tokens", "4", "--json"]


@pytest.mark.parametrize("name", RELEASED)
def test_a_published_name_answers(name: str, book: Path, hub: HubServer, machine: Machine, models_dir: Path) -> None:
    first = machine.run(*ask(book, name))
    assert first.code == 0, first.err
    # Downloading and converting are told apart from opening the text.
    assert min(first.json["seconds"][stage] for stage in ("open", "find_model")) > 0
    assert first.json["tokens_condensed"] > 64
    assert [path.name for path in models_dir.iterdir()] == [name.replace("/", "--")]
    assert not [path for path in hub.fetched() if path.endswith(".py")]
    hub.requests.clear()
    again = machine.run(*ask(book, name))
    assert (again.json["tokens_condensed"], again.json["answer"]) == (0, first.json["answer"])
    assert hub.requests == []
    entries = {entry["id"]: entry for entry in machine.run("models", "list", "--json").json}
    assert (entries[name]["state"], entries[name]["licence"]) == ("converted", "mit")
    ratios = RELEASED[name][f"{prefix(RELEASED[name])}ratio"]
    assert (entries[name]["window"], entries[name]["ratios"]) == (32, ratios)
    assert set(RELEASED) < set(entries)
    assert (entries[name]["prompts"] is None) == ("ultragist" not in name and "memorag" not in name)


@pytest.mark.parametrize("words", [["list"], ["show", "smollm2-135m"]], ids=" ".join)
def test_models_are_listed_without_torch(words: list[str]) -> None:
    code = (
        "import sys\nfrom beacon_cli.app import main\ntry:\n    main()\nexcept SystemExit as stop:\n"
        "    assert not stop.code\nassert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, "models", *words], check=True, capture_output=True)


def test_pull_show_and_rm(hub: HubServer, machine: Machine, models_dir: Path) -> None:
    folder = models_dir / QWEN2.replace("/", "--")
    pulled = machine.run("models", "pull", QWEN2)
    assert (pulled.code, pulled.out, pulled.err) == (0, f"{folder}\n", "")
    shown = machine.run("models", "show", QWEN2).out
    assert f"folder: {folder}" in shown
    assert f"revision: {hub.repositories[QWEN2].commit}" in shown
    removed = machine.run("models", "rm", QWEN2)
    assert (removed.code, removed.out) == (0, "")
    assert not folder.exists()
    (row,) = [line for line in machine.run("models", "list").out.splitlines() if line.startswith(QWEN2)]
    assert row.endswith("\tdownloaded")
    assert_refused(machine.run("models", "rm", QWEN2), "--download")
    assert_refused(machine.run("models", "rm", "namespace-Pt/nothing"), "no model is called namespace-Pt/nothing")


def test_what_is_downloaded_is_not_fetched_again(hub: HubServer, machine: Machine, tmp_path: Path) -> None:
    pulled = machine.run("models", "pull", MISTRAL, "--no-convert")
    snapshot = Path(pulled.out.strip())
    assert snapshot.name == hub.repositories[MISTRAL].commit
    fetched = hub.fetched()
    target = tmp_path / "mistral"
    assert machine.run("models", "convert", MISTRAL, "--to", str(target)).out == f"{target}\n"
    assert hub.fetched() == fetched
    assert machine.run("models", "convert", MISTRAL, "--to", str(target), "--remove-download").code == 0
    assert not snapshot.exists()
    assert machine.run("models", "show", MISTRAL, "--json").json["state"] == "not here"


def test_rm_takes_the_download_when_told(machine: Machine, hub: HubServer) -> None:
    assert machine.run("models", "pull", QWEN2, "--beacon-bits", "4").code == 0
    shown = machine.run("models", "show", QWEN2, "--json").json
    assert (shown["state"], shown["beacon_bits"]) == ("converted", 4)
    assert shown["download"] > shown["size"] > 0
    assert machine.run("models", "rm", QWEN2, "--download").code == 0
    gone = machine.run("models", "show", QWEN2, "--json").json
    assert (gone["state"], gone["download"], gone["size"]) == ("not here", 0, 0)


def test_rm_takes_the_download_of_a_revision_when_told(machine: Machine, hub: HubServer) -> None:
    name = f"{QWEN2}@main"
    assert machine.run("models", "pull", name).code == 0
    shown = machine.run("models", "show", name, "--json").json
    assert (shown["state"], shown["download"] > 0) == ("converted", True)
    removed = machine.run("models", "rm", name, "--download")
    assert (removed.code, "removed the download" in removed.err) == (0, True)
    gone = machine.run("models", "show", QWEN2, "--json").json
    assert (gone["state"], gone["download"]) == ("not here", 0)


def killed_pull(hub: HubServer, machine: Machine, number: signal.Signals) -> "tuple[str, int]":
    """Pull until 20,000 bytes of the second shard are there, then send a signal; (what it said, how it ended)."""
    hub.cut[SHARDS[1]] = [("stall", 20_000)]
    undisturbed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = machine.start("models", "pull", QWEN2, preexec_fn=undisturbed)
    wait_for_partial(machine.home, process, 20_000)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    return out, process.returncode


def test_a_killed_pull_goes_on_where_it_was(hub: HubServer, machine: Machine) -> None:
    assert killed_pull(hub, machine, signal.SIGKILL)[1] == -signal.SIGKILL
    assert machine.run("models", "show", QWEN2, "--json").json["state"] == "incomplete"
    hub.requests.clear()
    pulled = machine.run("models", "pull", QWEN2)
    assert pulled.code == 0, pulled.err
    asked = [(path.rsplit("/", 1)[1], span) for _, path, span in hub.requests if "/resolve/" not in path]
    assert [each for each in asked if each[0] in SHARDS] == [(SHARDS[1], "bytes=20000-")]


def test_an_interrupted_pull(hub: HubServer, machine: Machine) -> None:
    result = Result(*json.loads(killed_pull(hub, machine, signal.SIGINT)[0]))
    assert result.code == 130
    assert "interrupted" in result.err


def test_a_wrong_checksum(hub: HubServer, machine: Machine, models_dir: Path, book: Path) -> None:
    content = hub.repositories[QWEN2].files[SHARDS[0]]
    hub.instead[SHARDS[0]] = content[:-1] + bytes([content[-1] ^ 1])
    for command in (["models", "pull", QWEN2], ask(book, QWEN2)):
        assert_refused(machine.run(*command), f"{SHARDS[0]} does not match the hub's checksum")
    assert not models_dir.exists()
    hub.instead.clear()
    pulled = machine.run("models", "pull", QWEN2)
    assert pulled.code == 0, pulled.err


def test_what_cannot_be_converted_is_not_fetched(hub: HubServer, machine: Machine, models_dir: Path) -> None:
    whole = hub.repositories[QWEN2].files
    config = json.loads(whole["config.json"])

    def with_config(settings: dict[str, Any]) -> Repository:
        return Repository({**whole, "config.json": json.dumps(settings).encode()})

    without = {name: content for name, content in whole.items() if name not in SHARDS}
    hub.repositories |= {
        "owner/strange": with_config({**config, "beacon_colour": "red"}),
        "owner/pickled": Repository({**without, "pytorch_model.bin": b"\x80\x04"}),
        "owner/plain": with_config({key: value for key, value in config.items() if "beacon" not in key}),
    }
    for name, reason in {
        "strange": "unknown beacon keys in config.json: beacon_colour",
        "pickled": "only pickled weights (pytorch_model.bin), which are never loaded",
        "plain": "holds no beacon",
        "nowhere": "no such repository",
    }.items():
        assert_refused(machine.run("models", "pull", f"owner/{name}"), reason)
    assert not set(SHARDS) & set(hub.fetched())
    assert not models_dir.exists()


def test_a_new_revision_is_pulled_on_request_only(hub: HubServer, machine: Machine, book: Path) -> None:
    first = machine.run("models", "pull", QWEN2)
    newer = {**hub.repositories[QWEN2].files, "generation_config.json": b'{"eos_token_id": 1}'}
    hub.repositories[QWEN2] = Repository(newer)
    hub.requests.clear()
    assert machine.run(*ask(book, QWEN2)).code == 0
    assert hub.requests == []
    assert machine.run("models", "pull", QWEN2).out == first.out
    assert machine.run("models", "show", QWEN2, "--json").json["revision"] == hub.repositories[QWEN2].commit


def test_a_full_disk(hub: HubServer, machine: Machine, models_dir: Path, tmp_path: Path) -> None:
    source = checkpoint(V2).write(tmp_path / "merged")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = machine.start(preexec_fn=limit)
    machine.send(process, "models", "convert", str(source))
    assert_refused(machine.receive(process), "no room", "BEACON_MODELS_DIR")
    machine.send(process, "models", "pull", QWEN2)
    assert_refused(machine.receive(process), "no room", "HF_HOME")
    process.communicate()
    assert list(models_dir.iterdir()) == []


# Without a hub.


def test_converting_a_folder(tmp_path: Path, models_dir: Path, book: Path) -> None:
    source = checkpoint(V1).write(tmp_path / "merged")
    converted = run("models", "convert", str(source), "--beacon-bits", "4")
    assert converted.code == 0, converted.err
    folder = Path(converted.out.strip())
    assert folder.parent == models_dir
    shown = run("models", "show", str(source), "--json").json
    assert (shown["state"], shown["beacon_bits"], shown["folder"]) == ("converted", 4, str(folder))
    assert run("models", "show", str(folder), "--json").json == shown
    assert run(*ask(book, str(source))).code == 0
    assert run("models", "rm", str(source)).code == 0
    assert list(models_dir.iterdir()) == []
    assert source.exists()


def test_folders_that_cannot_be_converted(tmp_path: Path) -> None:
    assert_refused(run("models", "convert", str(tmp_path / "nowhere")), "nowhere is not a folder")
    assert_refused(run("models", "convert", str(tmp_path)), "holds no config.json")
    assert_refused(run("models", "pull", str(tmp_path)), "models convert")


@pytest.mark.parametrize("flags", [["--remove-download"], ["--beacon-bits", "4"]])
def test_what_only_a_conversion_can_do_is_not_promised_without_one(flags: list[str]) -> None:
    refused = run("models", "pull", QWEN2, "--no-convert", *flags)
    assert (refused.code, refused.out) == (2, "")
    assert flags[0] in refused.err


def test_a_damaged_model_is_listed_and_can_be_removed(tmp_path: Path, models_dir: Path, book: Path) -> None:
    source = checkpoint(V2).write(tmp_path / "merged")
    folder = Path(run("models", "convert", str(source)).out.strip())
    (folder / "beacon_model.json").write_text("{}")
    assert_refused(run(*ask(book, str(source))), "beacon_model.json cannot be used", "models rm")
    states = [entry["state"] for entry in run("models", "list", "--json").json if entry["id"] == str(folder)]
    assert states == ["unusable"]
    assert run("models", "rm", str(folder)).code == 0
    assert run(*ask(book, str(source))).code == 0


def test_a_setting_for_the_beacons_bits(tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_BEACON_BITS", "4")
    wide = run("ask", str(book), "Who?", "--beacon-bits", "16", "--json").json
    narrow = run("ask", str(book), "Who?", "--json").json
    assert wide["cache_path"] != narrow["cache_path"]
    assert_misused(run("ask", str(book), "Who?", "--beacon-bits", "8"), "--beacon-bits is 8; choose one of 16, 4")


def test_the_catalogue_names_the_released_pairs() -> None:
    assert catalogue().keys() - llms().keys() == set(RELEASED)


def test_a_mistyped_document_fetches_no_model(machine: Machine, hub: HubServer, tmp_path: Path) -> None:
    asked = machine.run(*ask(tmp_path / "bok.pdf", QWEN2))
    assert_refused(asked, "bok.pdf: no such file")
    assert hub.requests == []
