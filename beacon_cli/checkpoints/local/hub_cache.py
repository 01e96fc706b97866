"""The part of this disk where `huggingface_hub` keeps what was downloaded."""

import os
import re
import shutil
from pathlib import Path

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
    """The repository of a hub id, without the revision."""
    return name.partition("@")[0]


def hub_cache() -> Path:
    """The hub's cache."""
    from huggingface_hub import constants  # noqa: PLC0415 (takes time that no other command should pay for)

    return Path(constants.HF_HUB_CACHE)


def cached_repository(repository: str) -> Path:
    """Where the hub's cache keeps what it has of a repository, whether or not it has any of it."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def remove_download(name: str) -> None:
    """Remove what the hub's cache has of the repository of a hub id, whatever revision that names.

    Raises:
        ModelError: if it cannot be removed.
    """
    folder = cached_repository(repository_of(name))
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ModelError(f"{folder} cannot be removed ({error.strerror}); check its permissions") from error
