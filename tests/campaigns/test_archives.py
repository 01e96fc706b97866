"""Exported caches that somebody changed, checksums and all: refused in one line, or used as what they are.

`BEACON_CAMPAIGN` says how many.
"""

import hashlib
import io
import json
import os
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest

from beacon_cli.cache.manifest import MANIFEST, parse_manifest
from beacon_cli.durable.records import seal, to_json
from tests.campaigns.mutations import of_bytes, of_json
from tests.cli.runner import run
from tests.stories import WHO_KEEPS

COUNT = int(os.environ.get("BEACON_CAMPAIGN", "12"))


def repacked(archive: bytes, draw: random.Random) -> bytes:
    """With something else in one of its files, and every checksum that can be made to fit made so."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {Path(info.name).name: file.read() for info in tar if (file := tar.extractfile(info))}
    manifest = json.loads(files.pop(MANIFEST))
    manifest.pop("checksum")
    if draw.randrange(3):
        manifest = of_json(manifest, draw)
    else:
        name = draw.choice(list(files))
        changed = of_bytes(files.pop(name), draw)
        told = {"size": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
        if name.startswith("pages"):
            manifest["pages"], name = told, f"pages-{told['sha256'][:16]}.json"
        else:
            number = int(name.split("-")[1])
            manifest["shards"][number] |= told
            name = f"memory-{number:05d}-{told['sha256'][:16]}.safetensors"
        files[name] = changed
    sealed = to_json(manifest | {"checksum": hashlib.sha256(to_json(manifest)).hexdigest()})
    return packed(key_of(sealed), {MANIFEST: sealed, **dict(sorted(files.items()))})


def key_of(sealed: bytes) -> str:
    try:
        return parse_manifest(sealed).subject.key
    except (ValueError, RecursionError):
        return "0" * 32


def packed(key: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{key}/{name}")
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def well(*arguments: str, **options: Any) -> int:
    result = run(*arguments, **options)
    assert "unexpectedly" not in result.err, result.err
    assert "Traceback" not in result.err
    assert result.code in (0, 1), result.err
    return result.code


def test_changed_archives(
    book: Path, tmp_path: Path, cache_dir: Path, scripted_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEACON_MODEL", str(scripted_model))
    monkeypatch.setattr("beacon_cli.cache.builder.SHARD_BYTES", 100_000)
    assert well("cache", "build", str(book), "--ratio", "4") == 0
    assert well("cache", "export", "book.txt", "-o", str(tmp_path / "book.beacon")) == 0
    assert well("cache", "rm", "--all") == 0
    original, changed = (tmp_path / "book.beacon").read_bytes(), tmp_path / "changed.beacon"
    accepted = 0
    for number in range(COUNT):
        draw = random.Random(number)
        changed.write_bytes(repacked(original, draw) if number % 3 else of_bytes(original, draw))
        if well("cache", "import", str(changed), "--force") == 0:
            accepted += 1
            for command in (["list"], ["list", "--json"], ["verify"], ["prune", "--older-than", "9y"]):
                well("cache", *command)
            key = next((cache_dir / "documents").iterdir()).name
            well("ask", key, WHO_KEEPS, "--max-new-tokens", "2")
            assert well("ask", str(book), WHO_KEEPS, "--ratio", "4", "--max-new-tokens", "2") == 0
            assert well("cache", "rm", "--all") == 0
        assert not list((cache_dir / "documents").iterdir())
    print(f"{COUNT} archives, {accepted} of them taken in")


def test_the_original_is_repacked_to_what_it_was(book: Path, tmp_path: Path, scripted_model: Path) -> None:
    """Else nothing but its packing would be refused."""
    assert run("cache", "build", str(book), "--model", str(scripted_model)).code == 0
    assert run("cache", "export", "book.txt", "-o", str(tmp_path / "book.beacon")).code == 0
    data = (tmp_path / "book.beacon").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {Path(info.name).name: file.read() for info in tar if (file := tar.extractfile(info))}
    sealed = files[MANIFEST]
    assert packed(key_of(sealed), files) == data
    assert seal(parse_manifest(sealed)) == sealed
