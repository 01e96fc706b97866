"""GGUF files that other programs have on this disk, Ollama and LM Studio: they are read where they are."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from beacon_cli.checkpoints.local.gguf_name import GGUF, is_model
from beacon_cli.errors import ModelError

OLLAMA = "ollama:"
# As a service, Ollama keeps its models in a home of its own.
OLLAMA_SERVICE = Path("/usr/share/ollama/.ollama/models")
_REGISTRY, _OWNER, _TAG = "registry.ollama.ai", "library", "latest"
_LAYER = "application/vnd.ollama.image."


def gguf_files_elsewhere() -> dict[str, Path]:
    """The files by what `--model` takes: `ollama:NAME:TAG`, or a path."""
    files = {name: file for name, file in _ollama().items() if isinstance(file, Path)}
    return files | {str(path): path for path in _lm_studio()}


def ollama_file(name: str) -> Path:
    """The file of the model that Ollama calls so (after `ollama:`); no tag means the latest, as there.

    Raises:
        ModelError: if it has none, or one that cannot be used.
    """
    called = {known.lower(): file for known, file in _ollama().items()}
    # A name may have a port before its first slash.
    tagged = name if ":" in name.removeprefix(OLLAMA).rpartition("/")[2] else f"{name}:{_TAG}"
    file = called.get(tagged.lower())
    if file is None:
        raise ModelError(
            f"Ollama has no model {name.removeprefix(OLLAMA)} here; `beacon models list` shows what it has"
        )
    if isinstance(file, str):
        raise ModelError(f"{name} cannot be used: {file}")
    return file


def _ollama() -> dict[str, Path | str]:
    """What Ollama has, by what we call it: a file, or why there is none.

    A manifest at `REGISTRY/OWNER/NAME/TAG` names the file by its SHA-256; what is left out in a name is the usual.
    """
    named = os.environ.get("OLLAMA_MODELS")
    found: dict[str, Path | str] = {}
    for root in [Path(named).expanduser()] if named else [OLLAMA_SERVICE, Path.home() / ".ollama" / "models"]:
        for manifest in sorted(root.glob("manifests*/*/*/*/*")):
            registry, owner, name, tag = manifest.parts[-4:]
            usual = (registry == _REGISTRY, registry == _REGISTRY and owner == _OWNER)
            place = "" if usual[1] else f"{owner}/" if usual[0] else f"{registry}/{owner}/"
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged, or no language model
                found[f"{OLLAMA}{place}{name}:{tag}"] = _layer(root, json.loads(manifest.read_bytes())["layers"])
    return found


def _layer(root: Path, layers: list[Any]) -> Path | str:
    (digest,) = (layer["digest"] for layer in layers if layer["mediaType"] == f"{_LAYER}model")
    file = root / "blobs" / digest.replace(":", "-")
    if any(layer["mediaType"] == f"{_LAYER}adapter" for layer in layers):
        return f"it is a model with an adapter (LoRA), which is not read; the model alone is {file}"
    return file if file.is_file() else f"its file {file} is missing; pull it again with Ollama"


def _lm_studio() -> Iterator[Path]:
    """Its files are at `OWNER/REPOSITORY/FILE.gguf`, in a folder that its settings may name."""
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    with suppress(OSError, ValueError):
        homes = [Path((Path.home() / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip())]
    for home in homes:
        folder = home / "models"
        with suppress(OSError, ValueError, KeyError, TypeError):
            folder = Path(json.loads((home / "settings.json").read_bytes())["downloadsFolder"])
        for path in sorted(folder.glob(f"*/*/*{GGUF}")):
            if path.is_file() and is_model(path.name):
                yield path
