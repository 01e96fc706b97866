"""Bringing one large file to this disk, in as many attempts as it takes.

`huggingface_hub` deletes what a download that fails has brought, and does not compare what arrives with the checksum
that the hub has of it. Connection, proxy, certificates and credentials are its own.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from beacon_cli.durable.locks import builders
from beacon_cli.errors import ModelError

# Attempts in a row that bring nothing.
ATTEMPTS = 5
PAUSE_SECONDS = 0.5
_RANGE_NOT_SATISFIABLE = 416
_PARTIAL_CONTENT = 206


def download(
    url: str, target: Path, *, name: str, size: int, sha256: str | None, arrived: Callable[[int], object]
) -> None:
    """Bring the content of `url` to `target`, going on where this or another process stopped.

    What has arrived is kept beside it, in a file whose name ends in `.partial`.

    Args:
        url: on the hub, which sends every attempt to an address that is valid for a while.
        name: what to call it in an error.
        size: its bytes.
        sha256: its checksum (hexadecimal), if that is known.
        arrived: told now and then how many bytes are there.

    Raises:
        ModelError: if the content does not match its checksum; it is deleted then.
        OSError: if it cannot be written, or the hub refuses it.
        Exception: of the HTTP client, if the connection fails again and again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    with builders(target.with_name(f"{target.name}.lock")):
        if not target.exists():
            # Unbuffered: what has arrived is kept even when this process is killed.
            with partial.open("ab", buffering=0) as file:
                there = os.fstat(file.fileno()).st_size
                if shutil.disk_usage(target.parent).free < size - there:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                _complete(url, file, size, arrived)
            _check(partial, name, size, sha256)
            os.replace(partial, target)
    target.with_name(f"{target.name}.lock").unlink(missing_ok=True)
    arrived(size)


def _complete(url: str, file: Any, size: int, arrived: Callable[[int], object]) -> None:
    """Append what `file` lacks, telling how much it has."""
    failures = 0
    while (there := file.tell()) < size:
        arrived(there)
        try:
            for block in _blocks(url, file, there):
                view = memoryview(block)
                while view:
                    view = view[file.write(view) :]
                arrived(file.tell())
            problem: Exception | None = None
        except OSError:
            raise
        except Exception as error:  # what the HTTP client raises has a base of its own, which is not known here
            problem = error
        failures = failures + 1 if file.tell() == there else 0
        if failures == ATTEMPTS:
            raise problem or OSError(f"the hub sends {there:,} of {size:,} bytes")
        if failures:
            time.sleep(PAUSE_SECONDS)


def _blocks(url: str, file: Any, start: int) -> Iterator[bytes]:
    """What comes of `url` from `start` on; if it comes from its beginning, `file` is emptied before."""
    from huggingface_hub import (  # noqa: PLC0415 (takes time that no other command should pay for)
        constants,
        get_session,
        hf_raise_for_status,
    )
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415 (as above)

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
        if start and response.status_code == _RANGE_NOT_SATISFIABLE:
            file.truncate(0)
            file.seek(0)
            return
        hf_raise_for_status(response)
        if start and response.status_code != _PARTIAL_CONTENT:
            file.truncate(0)
            file.seek(0)
        yield from response.iter_bytes()


def _check(partial: Path, name: str, size: int, sha256: str | None) -> None:
    with partial.open("rb") as file:
        there = os.fstat(file.fileno()).st_size
        found = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else None
    if there != size or found != sha256:
        partial.unlink()
        raise ModelError(
            f"{name} does not match the hub's checksum and is deleted; run the same command again to fetch it anew"
        )
