"""Each fetch runs in a process of its own: `huggingface_hub` reads its environment when it is imported."""

import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.checkpoints.local.fingerprint import model_fingerprint
from beacon_cli.checkpoints.local.model_folder import check_model_folder, local_folder
from beacon_cli.errors import ModelError
from tests.downloads import wait_for_partial
from tests.hub_server import HubServer, Repository

CLIENT = """
import json, os, sys
from beacon_cli.errors import ModelError
from beacon_cli.events import Transfer
from beacon_cli.checkpoints.hub.repository import resolve_model

kind, *names = sys.argv[1:]
for name in names:
    progress = []

    def note(event):
        if isinstance(event, Transfer):
            progress.append((event.done, event.total))

    try:
        folder = resolve_model(name, kind=kind, progress=note, offline="OFFLINE" in os.environ)
        print(json.dumps({"folder": str(folder), "progress": progress}))
    except ModelError as error:
        print(json.dumps({"error": str(error)}))
"""
WEIGHTS = bytes(range(256)) * 50
WANTED = {
    "config.json": b"{}",
    "generation_config.json": b'{"eos_token_id": 0}',
    "merges.txt": b"a b",
    "LICENSE": b"Do as you like.",
    "README.md": b"# Model",
    "chat_template.jinja": b"{{ messages }}",
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b'{"model_max_length": 8}',
    "model.safetensors": WEIGHTS,
    "beacon/beacon_config.json": b'{"format_version": 1}',
    "beacon/beacon.safetensors": WEIGHTS[::-1],
    "beacon/measured.json": b'{"kept": {}}',
    "beacon/scorer.safetensors": WEIGHTS[1:] + WEIGHTS[:1],
}
UNWANTED = {
    ".gitattributes": b"",
    "consolidated.safetensors": WEIGHTS,
    "modeling_model.py": b"raise SystemExit",
    "model_old/model.safetensors": WEIGHTS,
    "onnx/model.safetensors": WEIGHTS,
    "pytorch_model.bin": WEIGHTS,
    "training_args.bin": b"pickle",
}


@dataclass
class Client:
    """Resolves names in a fresh process."""

    endpoint: str
    home: Path

    def start(self, *names: str, kind: str = "model", **env: str) -> "subprocess.Popen[str]":
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        settings = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.home), "NO_PROXY": "*"}
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CLIENT, kind, *names],
            env={**inherited, **settings, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background, SIGINT is ignored, and children inherit that.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def resolve(self, *names: str, kind: str = "model", **env: str) -> list[dict[str, Any]]:
        """One result a name: `folder` and `progress`, or `error`. Nothing else may reach the terminal."""
        with self.start(*names, kind=kind, **env) as process:
            out, err = process.communicate(timeout=60)
        assert (err, process.returncode) == ("", 0)
        return [json.loads(line) for line in out.splitlines()]

    def folder(self, *args: str, **env: str) -> Path:
        (result,) = self.resolve(*args, **env)
        return Path(result["folder"])

    def error(self, *args: str, **env: str) -> str:
        (result,) = self.resolve(*args, **env)
        assert "\n" not in result["error"]
        return str(result["error"])


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer({"owner/model": Repository({**WANTED, **UNWANTED})}) as server:
        yield server


@pytest.fixture
def client(hub: HubServer, tmp_path: Path) -> Client:
    return Client(hub.url, tmp_path / "hf")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_fetched_without_its_code_and_its_pickles(hub: HubServer, client: Client) -> None:
    (result,) = client.resolve("owner/model")
    assert _files(Path(result["folder"])) == WANTED
    assert sorted(hub.fetched()) == sorted(Path(path).name for path in WANTED)
    done, totals = zip(*result["progress"], strict=True)
    assert list(done) == sorted(done)
    assert {done[-1], *totals} == {3 * len(WEIGHTS)}


def test_what_is_here_is_not_fetched_again(hub: HubServer, client: Client) -> None:
    folder = client.folder("owner/model")
    fetched = hub.fetched()
    (again,) = client.resolve("owner/model")
    assert again == {"folder": str(folder), "progress": []}
    assert hub.fetched() == fetched
    hub.broken = True
    assert client.folder("owner/model") == folder
    hub.requests.clear()
    # OFFLINE: by the argument of `resolve_model`, see CLIENT.
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"OFFLINE": "1"}):
        assert client.folder("owner/model", **offline) == folder
        assert "not (wholly) on this disk" in client.error("owner/other", **offline)
    (folder / "model.safetensors").unlink()
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"OFFLINE": "1"}):
        assert "not (wholly) on this disk" in client.error("owner/model", **offline)
    assert hub.requests == []


def test_a_revision_is_kept_apart(hub: HubServer, client: Client) -> None:
    before = hub.repositories["owner/model"].commit
    first = client.folder(f"owner/model@{before}")
    hub.repositories["owner/model"] = Repository({**WANTED, "config.json": b'{"new": 1}'})
    second = client.folder("owner/model@main")
    assert (first / "config.json").read_bytes() == b"{}"
    assert (second / "config.json").read_bytes() == b'{"new": 1}'
    assert hub.fetched().count("model.safetensors") == 1


BEACON = {"beacon_config.json": b"{}", "beacon.safetensors": WEIGHTS}
SCORER = {"scorer.safetensors": WEIGHTS}
MEASURED = {"measured.json": b"{}"}


@pytest.mark.parametrize("files", [BEACON, SCORER, BEACON | SCORER, SCORER | MEASURED])
def test_a_beacon_or_a_scorer_is_fetched_alone(hub: HubServer, client: Client, files: dict[str, bytes]) -> None:
    hub.repositories["owner/beacon"] = Repository({**files, **UNWANTED})
    assert _files(client.folder("owner/beacon", kind="beacon")) == files


def test_half_a_beacon_is_refused(hub: HubServer, client: Client) -> None:
    hub.repositories["owner/beacon"] = Repository({"beacon_config.json": b"{}", **SCORER})
    assert "holds no beacon.safetensors" in client.error("owner/beacon", kind="beacon")


def test_every_refusal_is_one_line_saying_what_to_do(hub: HubServer, client: Client) -> None:
    hub.repositories.update(
        {
            "owner/private": Repository(WANTED, private="secret"),
            "owner/gated": Repository(WANTED, gated=True),
            "owner/pickled": Repository({"config.json": b"{}", "pytorch_model.bin": WEIGHTS}),
            "owner/empty": Repository({"README.md": b""}),
        }
    )
    expected = {
        "owner/unknown": "no such folder here, and no such repository at",
        "owner/private": "if it is private, set HF_TOKEN",
        "owner/gated": "accept its licence",
        "owner/model@v9": "no such revision",
        "owner/pickled": "holds only pickled weights (pytorch_model.bin), which are never loaded",
        "owner/empty": "holds no config.json",
        "owner/a..b": "not a name that the hub allows",
    }
    errors = [result["error"] for result in client.resolve(*expected)]
    for (name, reason), error in zip(expected.items(), errors, strict=True):
        assert error.startswith(name.partition("@")[0])
        assert reason in error
        assert "\n" not in error
    assert "holds no beacon_config.json" in client.error("owner/model", kind="beacon")
    assert _files(client.folder("owner/private", HF_TOKEN="secret")) == WANTED
    assert "renew HF_TOKEN" in client.error("owner/model", HF_TOKEN="expired")


def test_a_hub_out_of_reach_is_one_line(hub: HubServer, client: Client) -> None:
    assert "HF_HUB_OFFLINE is set" in client.error("owner/model", HF_HUB_OFFLINE="1")
    assert hub.requests == []
    assert "cannot be reached" in client.error("owner/model", HF_ENDPOINT="http://127.0.0.1:1")
    hub.broken = True
    assert "answers with status 500" in client.error("owner/model")


def test_a_dropped_connection_is_resumed(hub: HubServer, client: Client) -> None:
    hub.cut["model.safetensors"] = [("close", 5000), ("reset", 1000)]
    (result,) = client.resolve("owner/model")
    assert (Path(result["folder"]) / "model.safetensors").read_bytes() == WEIGHTS
    spans = _spans(hub, "model.safetensors")
    assert spans[:2] == [0, 5000]
    # What is in flight when a connection is reset may be lost.
    assert 5000 <= spans[2] <= 6000
    assert len(spans) == 3
    assert result["progress"][-1] == [3 * len(WEIGHTS), 3 * len(WEIGHTS)]


def _spans(hub: HubServer, name: str) -> list[int]:
    """From where on a file was asked for at the CDN, in order."""
    asked = [span for _, path, span in hub.requests if path == f"/owner/model/{name}"]
    return [int((span or "bytes=0-").removeprefix("bytes=").removesuffix("-")) for span in asked]


def test_a_killed_download_is_gone_on_with(hub: HubServer, client: Client) -> None:
    hub.cut["model.safetensors"] = [("stall", 7000)]
    with client.start("owner/model", HF_HUB_DOWNLOAD_TIMEOUT="100") as process:
        wait_for_partial(client.home, process, 7000)
        process.kill()
    hub.requests.clear()
    assert _files(client.folder("owner/model")) == WANTED
    assert _spans(hub, "model.safetensors") == [7000]
    assert list(client.home.rglob("*.partial")) == []


def test_a_server_that_cannot_go_on_sends_all_again(hub: HubServer, client: Client) -> None:
    hub.cut["model.safetensors"] = [("close", 7000)]
    hub.whole = True
    assert _files(client.folder("owner/model")) == WANTED


def test_a_connection_that_drops_ever_again_is_given_up(hub: HubServer, client: Client) -> None:
    hub.cut["model.safetensors"] = [("close", 100), *[("close", 0)] * 20]
    error = client.error("owner/model")
    assert "broke off" in error
    assert "run the same command again" in error
    hub.cut.clear()
    hub.requests.clear()
    assert _files(client.folder("owner/model")) == WANTED
    assert _spans(hub, "model.safetensors") == [100]


def test_whole_shards_are_not_fetched_again(hub: HubServer, client: Client) -> None:
    shards = {f"model-0000{index}-of-00002.safetensors": bytes([index]) * 1000 for index in (1, 2)}
    first, second = shards
    index = json.dumps({"weight_map": {"a": first, "b": second}}).encode()
    hub.repositories["owner/model"] = Repository(
        {"config.json": b"{}", "model.safetensors.index.json": index, **shards}
    )
    hub.cut[second] = [("close", 0)] * 20
    assert "broke off" in client.error("owner/model")
    hub.cut.clear()
    hub.requests.clear()
    folder = client.folder("owner/model")
    check_model_folder(folder)
    assert (folder / second).read_bytes() == shards[second]
    assert (hub.fetched().count(first), hub.fetched().count(second)) == (0, 1)


def test_an_interrupt_does_not_wait_for_the_download(hub: HubServer, client: Client) -> None:
    hub.cut["model.safetensors"] = [("stall", 100)]
    with client.start("owner/model", HF_HUB_DOWNLOAD_TIMEOUT="100") as process:
        while "model.safetensors" not in hub.fetched():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT


def test_damaged_weights_are_refused(hub: HubServer, client: Client, tmp_path: Path) -> None:
    for damaged in (WEIGHTS[::-1], WEIGHTS + b"more"):
        hub.instead["model.safetensors"] = damaged
        assert "model.safetensors does not match the hub's checksum" in client.error("owner/model")
        left = client.home.rglob(f"{hashlib.sha256(WEIGHTS).hexdigest()}*")
        assert [path.suffix for path in left if path.is_file() and path.stat().st_size] == []
    del hub.instead["model.safetensors"]
    folder = client.folder("owner/model")
    model_fingerprint(folder, tmp_path / "cache")
    # One that is damaged on the disk is found, and fetched again.
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(ModelError, match="does not match the hub's checksum and is deleted"):
        model_fingerprint(folder, tmp_path / "cache")
    model_fingerprint(client.folder("owner/model"), tmp_path / "cache")


def test_a_large_tokenizer_is_checked_too(hub: HubServer, client: Client) -> None:
    hub.large = (*hub.large, "tokenizer.json")
    hub.instead["tokenizer.json"] = b"{}" * len(WANTED["tokenizer.json"])
    hub.instead["tokenizer.json"] = hub.instead["tokenizer.json"][: len(WANTED["tokenizer.json"])]
    assert "does not match the hub's checksum" in client.error("owner/model")
    hub.instead.clear()
    assert _files(client.folder("owner/model")) == WANTED


def test_a_disk_without_room_is_noticed_before_the_download(hub: HubServer, client: Client) -> None:
    hub.announce["model.safetensors"] = 2**60
    assert "no room for it in" in client.error("owner/model")
    assert "model.safetensors" not in hub.fetched()


def test_a_hub_cache_that_cannot_be_written_is_named(client: Client) -> None:
    client.home = Path("/proc/hf")
    assert "/proc/hf cannot be written" in client.error("owner/model")


def test_a_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "owner" / "model@x").mkdir(parents=True)
    for name in (str(tmp_path / "owner"), "owner", "owner/model@x", "./owner"):
        assert local_folder(name) == Path(name)
    assert local_folder("~/owner", "beacon") == tmp_path / "owner"
    assert local_folder("owner/other") is None


@pytest.mark.parametrize("name", ["./model", "/no/model", "~/model", "a/b/c", "a/b/c@main", "file.bin", "owner/file"])
def test_a_path_to_no_folder_never_reaches_the_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "owner").mkdir()
    for file in ("file.bin", "owner/file"):
        (tmp_path / file).touch()
    with pytest.raises(ModelError, match="is not a folder"):
        local_folder(name)


@pytest.mark.parametrize("name", ["", "gpt2", "owner/model@", "owner model", "owner/", "a\0b/c", "x" * 5000, "é/ü/"])
def test_what_is_no_name_at_all_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"neither a folder nor a hub id|is not a folder"):
        local_folder(name)


def test_a_model_folder_must_be_whole(tmp_path: Path) -> None:
    def refusal() -> str:
        with pytest.raises(ModelError) as error:
            check_model_folder(tmp_path / "model")
        assert str(tmp_path / "model") in str(error.value)
        return str(error.value)

    folder = tmp_path / "model"
    assert "cannot be read" in refusal()
    folder.mkdir()
    assert "holds no config.json" in refusal()
    (folder / "config.json").write_text("{}")
    (folder / "beacon.safetensors").touch()
    assert "holds no model*.safetensors" in refusal()
    (folder / "pytorch_model.bin").touch()
    assert "only pickled weights (pytorch_model.bin)" in refusal()
    for name in ("model-1.safetensors", "model-2.safetensors"):
        (folder / name).touch()
    check_model_folder(folder)
    index = folder / "model.safetensors.index.json"
    for text in ('{"weight_map": {"a": "../model-1.safetensors"}}', '{"weight_map": {"a": "other.safetensors"}}'):
        index.write_text(text)
        assert "as a shard" in refusal()
    for text in (
        "",
        "[]",
        "{}",
        '{"weight_map": 1}',
        '{"weight_map": {"a": []}}',
        '{"weight_map": {"a": 1, "b": "x"}}',
    ):
        index.write_text(text)
        assert "is damaged" in refusal()
    shards = [f"model-{number}.safetensors" for number in (1, 2, 3)]
    index.write_text(json.dumps({"weight_map": dict(zip("abc", shards, strict=True))}))
    assert "misses 1 of its 3 shards (model-3.safetensors)" in refusal()
    (folder / "model-3.safetensors").touch()
    check_model_folder(folder)
