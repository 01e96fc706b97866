"""Waiting for a download of another process."""

import os
import subprocess
import time
from pathlib import Path


def wait_for_partial(folder: Path, process: "subprocess.Popen[str]", size: int) -> None:
    """Return when a file that `process` is downloading below `folder` has `size` bytes here.

    Raises:
        AssertionError: the process ended before.
    """
    while size not in _partial_sizes(folder):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def _partial_sizes(folder: Path) -> list[int]:
    """What comes and goes while this looks is left out: shards become whole, the hub's client tries out its folder."""
    sizes = []
    for place, _, names in os.walk(folder):  # in which a folder that has gone is no error, as it is in `Path.rglob`
        for name in names:
            if name.endswith(".partial"):
                try:
                    sizes.append(os.stat(os.path.join(place, name)).st_size)
                except FileNotFoundError:
                    continue
    return sizes
