"""The folder of a converted model: who may use it, replace it, or clean up beside it."""

import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beacon_cli.checkpoints.local.record import RECORD_FILE
from beacon_cli.durable.locks import flock
from beacon_cli.errors import ModelError

UNFINISHED, REPLACED = ".partial", ".replaced"


def leftovers(target: Path) -> tuple[Path, Path]:
    """Where `target` is written before it is whole, and where it goes before it is deleted."""
    return target.with_name(f".{target.name}{UNFINISHED}"), target.with_name(f".{target.name}{REPLACED}")


def clean_up(target: Path) -> None:
    """Delete what a conversion to `target` that was killed has left; a model that it had taken away is put back."""
    unfinished, replaced = leftovers(target)
    if replaced.exists() and not target.exists():
        replaced.rename(target)
    for folder in (unfinished, replaced):
        shutil.rmtree(folder, ignore_errors=True)


class Lease:
    """Keeps a converted model from being removed or replaced for as long as this object lives.

    Raises:
        ModelError: if the model is gone.
    """

    def __init__(self, folder: Path) -> None:
        try:
            descriptor = _share(folder / RECORD_FILE)
        except OSError as error:
            raise ModelError(f"{folder} cannot be used ({error.strerror}): run the same command again") from error
        self.release = weakref.finalize(self, os.close, descriptor)


@contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Nobody holds a lease of the model in `folder` meanwhile; whoever wants one waits.

    Raises:
        ModelError: if somebody holds one.
    """
    try:
        descriptor = os.open(folder / RECORD_FILE, os.O_RDWR)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise ModelError(f"{folder} cannot be changed ({error.strerror}): check its permissions") from error
    try:
        try:
            flock(descriptor, alone=True)
        except BlockingIOError:
            raise ModelError(f"{folder} is in use by another process; wait until that is done, or stop it") from None
        yield
    finally:
        os.close(descriptor)


def _share(path: Path) -> int:
    """Open the file at `path` and share its lock; once it is locked, it is still the one that is there."""
    while True:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            flock(descriptor, alone=False)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
