"""Processes that do everything at once on one cache folder; run by `test_hammer.py`.

    python hammer.py ask DOC...                          asks each once, alone; prints one JSON line for each
    python hammer.py hammer SECONDS PROCESSES DOC...     prints one JSON line for each command that was run
    python hammer.py kill KILLS DOC                      builds DOC, killed at random moments, until that many kills
    python hammer.py upkeep KILLS DOC                    the same of builds, exports, imports, repairs and prunings;
                                                         prints what was killed
    python hammer.py convert KILLS FOLDER                converts the checkpoint in FOLDER, its beacon in 4 and 16
                                                         bits in turn; prints the bits of those that were killed

Models are loaded before the processes fork, so that these spend their time on the cache.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from beacon_cli import library
from beacon_cli.answering import decoding
from beacon_cli.cache import builder
from beacon_cli.cache.store import default_root
from beacon_cli.checkpoints.engine import Engine, load_engine
from beacon_cli.checkpoints.local.record import RECORD_FILE
from beacon_cli.checkpoints.model_source import locate_model
from tests.cli.runner import run

QUESTION = "Who is the keeper of the Morvane lighthouse?"
SHARD_BYTES = 100_000


def preload() -> None:
    """Let all commands share one engine, of the model that they take by default, and build small shards."""
    engine: Engine = load_engine(locate_model(os.environ["BEACON_MODEL"], None, default_root()), "cpu")
    library.load_engine = lambda *_, **__: engine  # type: ignore[assignment]  # patched
    builder.SHARD_BYTES = SHARD_BYTES


_logits: list[bytes] = []


def listen() -> None:
    """Keep the logits that answers are made of: they are equal to the bit if the memories are."""
    pick = decoding.pick

    def listening(logits: torch.Tensor, temperature: float) -> int:
        _logits.append(logits.float().numpy().tobytes())
        return pick(logits, temperature)

    decoding.pick = listening


def observed(command: list[str]) -> dict[str, Any]:
    """What came of a command, and a checksum of its logits."""
    _logits.clear()
    result = run(*command)
    logits = hashlib.sha256(b"".join(_logits)).hexdigest()
    return {"command": command, "code": result.code, "out": result.out, "err": result.err, "logits": logits}


def question(document: str) -> list[str]:
    return ["ask", document, QUESTION, "--ratio", "4", "--max-new-tokens", "8", "--json"]


def commands(documents: list[str]) -> list[tuple[int, list[str]]]:
    """Commands, each with how often it is to be run in relation to the others."""
    any_document = [(5, question(document)) for document in documents]
    builds = [(2, ["cache", "build", document, "--ratio", "4", "--json"]) for document in documents]
    refreshes = [(1, ["cache", "build", document, "--ratio", "4", "--refresh", "--json"]) for document in documents]
    others = [
        (3, ["cache", "verify", "--json"]),
        (2, ["cache", "list", "--json"]),
        (2, ["cache", "prune", "--max-size", "0", "--json"]),
        (1, ["cache", "rm", "--all"]),
    ]
    return [*any_document, *builds, *refreshes, *others]


def hammer(seconds: float, processes: int, documents: list[str]) -> None:
    weights, choices = zip(*commands(documents), strict=True)
    children = []
    for number in range(processes):
        child = os.fork()
        if child:
            children.append(child)
            continue
        draw, end = random.Random(number), time.monotonic() + seconds
        lines: list[dict[str, Any]] = []
        while time.monotonic() < end:
            (command,) = draw.choices(choices, weights)
            lines.append(observed(command))
        os.write(1, "".join(json.dumps(line) + "\n" for line in lines).encode())
        os._exit(0)
    for child in children:
        os.waitpid(child, 0)


def kill(kills: int, document: str) -> None:
    """Prints the number of kills that it took to build each of the caches, which stay in numbered folders."""
    draw, done, folder = random.Random(0), 0, 0
    root = Path(os.environ["BEACON_CACHE_DIR"])
    began = time.monotonic()
    attempt(root / "whole", document, None)
    duration = time.monotonic() - began
    while done < kills:
        count = 0
        # Ever longer, for a first build that happened to be fast would else be killed before its first shard for ever.
        while not attempt(root / str(folder), document, draw.uniform(0, 0.7 * duration * (1 + count / 10))):
            count += 1
        print(count, flush=True)
        done, folder = done + count, folder + 1


def upkeep(kills: int, document: str) -> None:
    """Prints the name of each command that was killed; after each, the cache is whole as far as it is there."""
    root = Path(os.environ["BEACON_CACHE_DIR"])
    build = ["cache", "build", document, "--ratio", "4"]
    assert run(*build).code == 0
    (folder,) = (root / "documents").iterdir()
    shard = sorted(folder.glob("*.safetensors"))[1]
    content, archive, out = shard.read_bytes(), root / "whole.beacon", root / "out.beacon"
    assert run("cache", "export", folder.name, "-o", str(archive)).code == 0
    commands = {
        "build": build,
        "refresh": [*build, "--refresh"],
        "export": ["cache", "export", folder.name, "-o", str(out), "--force"],
        "import": ["cache", "import", str(archive), "--force"],
        "repair": ["cache", "verify", "--repair", folder.name],
        "prune": ["cache", "prune", "--max-size", "0"],
        "remove": ["cache", "rm", "--all"],
    }
    draw, done, seconds = random.Random(0), 0, dict.fromkeys(commands, 0.5)
    while done < kills:
        name = draw.choice(list(commands))
        if name not in ("build", "import"):
            assert run(*build).code == 0
        if name == "repair":
            shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        began = time.monotonic()
        if completed(commands[name], draw.uniform(0, seconds[name])):
            seconds[name] = time.monotonic() - began
        else:
            print(name, flush=True)
            done += 1
        if name == "repair":
            assert run(*commands[name]).code == 0
        reports = json.loads(run("cache", "verify", "--json").out)
        assert {report["state"] for report in reports} <= {"whole", "unfinished"}, reports
        assert not out.exists() or out.stat().st_size == archive.stat().st_size


def convert(kills: int, source: str) -> None:
    """Prints the bits of each conversion that was killed; after each, a model is there whole or not at all."""
    models, cache = Path(os.environ["BEACON_MODELS_DIR"]), os.environ["BEACON_CACHE_DIR"]
    whole: dict[str, dict[str, bytes]] = {}
    for bits in ("4", "16"):
        assert run("models", "convert", source, "--beacon-bits", bits).code == 0
        (folder,) = models.iterdir()
        whole[bits] = model_files(folder)
    draw, done, bits, seconds = random.Random(0), 0, "16", 0.5
    while done < kills:
        bits = "4" if bits == "16" else "16"
        began = time.monotonic()
        if completed(["models", "convert", source, "--beacon-bits", bits], draw.uniform(0, seconds)):
            seconds = time.monotonic() - began
        else:
            print(bits, flush=True)
            done += 1
        assert not folder.exists() or model_files(folder) in whole.values()
        if draw.random() < 0.3:
            assert run("models", "convert", source, "--beacon-bits", bits).code == 0
            assert model_files(folder) == whole[bits]
            assert list(models.iterdir()) == [folder]
    assert run("models", "list").code == 0
    assert all(lock.stat().st_size == 0 for lock in Path(cache, "locks").iterdir())


def model_files(folder: Path) -> dict[str, bytes]:
    """What is in a model's folder, without the times at which it and its files were made."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    record = json.loads(files[RECORD_FILE])
    return files | {RECORD_FILE: json.dumps(record | {"created": ""}).encode()}


def attempt(root: Path, document: str, seconds: float | None) -> bool:
    """Build in a process that is killed after so many seconds; whether it came through before."""
    os.environ["BEACON_CACHE_DIR"] = str(root)
    return completed(["cache", "build", document, "--ratio", "4"], seconds)


def completed(command: list[str], seconds: float | None) -> bool:
    """Run it in a process that is killed after so many seconds; whether it came through before."""
    child = os.fork()
    if not child:
        os._exit(run(*command).code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or not status, status
    return status == 0


if __name__ == "__main__":
    if sys.argv[1] != "convert":
        preload()
        listen()
    if sys.argv[1] == "ask":
        for document in sys.argv[2:]:
            print(json.dumps(observed(question(document))))
    elif sys.argv[1] == "hammer":
        hammer(float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    elif sys.argv[1] == "kill":
        kill(int(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "convert":
        convert(int(sys.argv[2]), sys.argv[3])
    else:
        upkeep(int(sys.argv[2]), sys.argv[3])
