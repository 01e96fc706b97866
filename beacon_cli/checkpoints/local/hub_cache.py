"""The part of this disk where `huggingface_hub` keeps what was downloaded."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from beacon_cli.checkpoints.local.gguf_name import GGUF, HubFile, hub_file
from beacon_cli.errors import ModelError

SHA256 = re.compile(r"[0-9a-f]{64}")


def expected_sha256(path: Path) -> str | None:
    """The checksum under which the hub's cache keeps a large file; None for a file that is not from there."""
    if not path.is_symlink():
        return None
    blob = Path(os.readlink(path))
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else None


def discard(path: Path) -> None:
    """Delete a file from the hub's cache: its name in a snapshot, and its content."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def repository_of(name: str) -> str:
    """The repository of a hub id or of a GGUF file on the hub, without the revision."""
    file = hub_file(name)
    return file.repository if file else name.partition("@")[0]


def hub_cache() -> Path:
    """The hub's cache."""
    from huggingface_hub import constants  # noqa: PLC0415 (takes time that no other command should pay for)

    return Path(constants.HF_HUB_CACHE)


def cached_repository(repository: str) -> Path:
    """Where the hub's cache keeps what it has of a repository, whether or not it has any of it."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def pulled_file(name: str) -> Path | None:
    """The GGUF file on the hub called `name` (short name, `owner/name/FILE.gguf` or `owner/name:TAG`) on this disk.

    Of a split file, the first part, beside which the others are. None if it is not here, or not all of it. Nothing is
    asked of the hub.

    Raises:
        ModelError: if the tag is that of several files that are here.
    """
    file = hub_file(name)
    found = pulled_parts(file) if file else []
    return next((paths[0] for paths in found if all(path.exists() for path in paths)), None)


def pulled_parts(file: HubFile) -> Iterator[list[Path]]:
    """What the hub's cache has of a GGUF file, some parts of it at least, the newest revision first."""
    for snapshot in _snapshots(file):
        there = [str(path.relative_to(snapshot)) for path in snapshot.rglob(f"*{GGUF}")]
        if chosen := file.choose(there):
            yield [snapshot / path for path in chosen]


def pulled_files() -> Iterator[str]:
    """The names of the GGUF files that the hub's cache has, part by part."""
    root = hub_cache()
    for path in root.glob("models--*--*/snapshots/*/**/*.gguf") if root.is_dir() else []:
        repository, _, _, *file = path.relative_to(root).parts
        yield "/".join([repository.removeprefix("models--").replace("--", "/"), *file])


def _snapshots(file: HubFile) -> list[Path]:
    """Those of the revision that is asked for, else all, the one that is known as the newest first."""
    repository = cached_repository(file.repository)
    folders = sorted(repository.glob("snapshots/*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    commit = file.revision
    with suppress(OSError):
        commit = (repository / "refs" / (file.revision or "main")).read_text(encoding="utf-8").strip()
    folders.sort(key=lambda folder: folder.name != commit)
    return [folder for folder in folders if folder.name == commit] if file.revision else folders


def remove_download(name: str) -> None:
    """Remove what the hub's cache has of a GGUF file, or of the repository of a hub id, whatever revision that names.

    Raises:
        ModelError: if it cannot be removed.
    """
    folder = cached_repository(repository_of(name))
    try:
        if file := hub_file(name):
            for path in [part for parts in pulled_parts(file) for part in parts]:
                discard(path)
            return
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ModelError(f"{folder} cannot be removed ({error.strerror}); check its permissions") from error
