"""Who may use a converted model, and who may replace or remove it."""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beacon_cli.checkpoints.local.record import RECORD_FILE
from beacon_cli.durable.locks import flock
from beacon_cli.errors import ModelError


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
