"""GGUF files that other programs have on this disk, Ollama and LM Studio: they are read where they are."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beacon_cli.checkpoints.local.gguf_name import PROJECTOR, is_later_part

OLLAMA = "ollama:"
_MODEL_LAYER = "application/vnd.ollama.image.model"
_LM_STUDIO = (".lmstudio/models", ".cache/lm-studio/models")


def gguf_files_elsewhere() -> dict[str, Path]:
    """The files by what `--model` takes: `ollama:NAME:TAG`, or a path."""
    home = Path.home()
    found = dict(_ollama(Path(os.environ.get("OLLAMA_MODELS") or home / ".ollama" / "models")))
    for folder in _LM_STUDIO:
        paths = sorted(path for path in (home / folder).glob("*/*/*.gguf") if path.is_file())
        found |= {str(path): path for path in paths if not (PROJECTOR in path.name or is_later_part(path.name))}
    return found


def _ollama(root: Path) -> Iterator[tuple[str, Path]]:
    """Ollama names a model's file in a manifest, at `REGISTRY/OWNER/NAME/TAG`, by its SHA-256."""
    for manifest in sorted((root / "manifests").glob("*/*/*/*")):
        try:
            layers: list[Any] = json.loads(manifest.read_bytes())["layers"]
            (digest,) = (layer["digest"] for layer in layers if layer["mediaType"] == _MODEL_LAYER)
            file = root / "blobs" / digest.replace(":", "-")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged, or no language model
        owner, name, tag = manifest.parts[-3:]
        if file.is_file():
            yield f"{OLLAMA}{'' if owner == 'library' else f'{owner}/'}{name}:{tag}", file
