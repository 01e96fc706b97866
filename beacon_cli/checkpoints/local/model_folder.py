"""A model's folder: which files make it one, and whether they are there; their tensors are not read."""

import json
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from activation_beacon.files import CONFIG_FILE, SCORER_FILE, WEIGHTS_FILE
from beacon_cli.checkpoints.local.elsewhere import OLLAMA, ollama_file
from beacon_cli.checkpoints.local.gguf_name import GGUF, hub_file, is_model, parts_of
from beacon_cli.errors import ModelError
from beacon_cli.quantities import counted

Kind = Literal["model", "beacon"]

CONFIG = "config.json"
WEIGHTS = "model*.safetensors"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Of a LoRA that is put into the weights.
READER, READER_CONFIG = "reader.safetensors", "reader.json"
# From which probability on it refuses. (Not in `reader.json`, with which the model would be converted again.)
REFUSING = "refusing.json"
# What an adapter was measured to keep, see `checkpoints.condensers`.
MEASURED = "measured.json"
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "model": (CONFIG, WEIGHTS),
    "beacon": (CONFIG_FILE, WEIGHTS_FILE),
}
# What belongs to a model in whatever form its weights are.
COMPANIONS = (
    "generation_config.json",
    "tokenizer*.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.jinja",
    "LICEN[CS]E*",
    "NOTICE*",
    "README.md",
)
# In a state dict, the name of one of the entries that a 4-bit weight has beside its own.
MARK = ".quant_state.bitsandbytes__nf4"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def local_model(name: str) -> Path | None:
    """The folder or GGUF file on this disk that `name` is (`ollama:NAME` is one too).

    Of a split file it is the first part. A folder with nothing of a model in it but one GGUF file (and a projector for
    pictures beside it) is taken for that file. None if it is a hub id, or the name of a GGUF file on the hub.

    Raises:
        ModelError: if it is none of them.
    """
    if name.startswith(OLLAMA):
        return ollama_file(name)
    path = Path(os.path.expanduser(name))
    if GGUF in path.name.lower() and path.is_file():
        first = path.with_name(parts_of(path.name)[0])
        return first if first.is_file() else path
    if not path.is_dir():
        # Of a path on this disk that is mistyped, some part is there.
        if hub_file(name) and not os.path.exists(path.parts[0]):
            return None
        if GGUF in path.name.lower():
            raise ModelError(f"there is no file {name}; give a GGUF file, the folder of a model, or a hub id")
    folder = local_folder(name)
    if folder is None or (folder / CONFIG).exists():
        return folder
    names = [path.name for path in folder.glob(f"*{GGUF}") if path.is_file()]
    files = sorted(filter(is_model, names))
    if len(files) > 1:
        raise _several(name, files)
    return folder / files[0] if files else folder


def local_folder(name: str, kind: Kind = "model") -> Path | None:
    """The folder on this disk that `name` is; None if it is a hub id, `owner/name` or `owner/name@revision`.

    Raises:
        ModelError: if it is neither.
    """
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return Path(folder)
    repository, at, revision = name.partition("@")
    if name.startswith((".", "/", "~")) or repository.count(os.sep) > 1 or os.path.exists(folder):
        raise ModelError(f"{name} is not a folder; give the folder of a {kind}, or a hub id like owner/name")
    if not _HUB_ID.fullmatch(repository) or (at and not revision):
        raise ModelError(
            f"{name!r} is neither a folder nor a hub id (owner/name, or owner/name@revision), nor a short name; "
            "`beacon models list` shows what is known and what is here"
        )
    return None


def check_model_folder(folder: Path) -> None:
    """Check that `folder` holds a whole base model.

    Raises:
        ModelError: if `config.json`, the weights, or some of their shards are missing.
    """
    try:
        names = [path.name for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read ({error.strerror}): give the folder of a model") from error
    check_names(str(folder), names, "model")
    if SINGLE in names or INDEX not in names:
        return
    shards = sorted(set(read_index(folder).values()))
    if missing := [shard for shard in shards if shard not in names]:
        raise ModelError(
            f"{folder} misses {len(missing)} of its {len(shards)} shards ({missing[0]}): download it again"
        )


def check_names(place: str, names: Sequence[str], kind: Kind) -> None:
    """Check that files of these `names` make a model, or a beacon or scorer; `place` is what to call where they are.

    Raises:
        ModelError: if a kind of file that is needed is not among them.
    """
    if kind == "beacon" and SCORER_FILE in names and not set(_NEEDED[kind]) & set(names):
        return  # which is enough by itself
    for pattern in _NEEDED[kind]:
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        pickled = sorted(name for name in names if name.endswith(_PICKLED))
        if kind == "model" and (ggufs := sorted(filter(is_model, names))):
            raise _several(place, ggufs)
        if pattern == WEIGHTS and pickled:
            raise ModelError(
                f"{place} holds only pickled weights ({pickled[0]}), which are never loaded because they can run code: "
                "choose a model with safetensors weights, or convert it"
            )
        raise ModelError(f"{place} holds no {pattern}: it is not a {kind} in the format that this tool reads")


def _several(place: str, ggufs: list[str]) -> ModelError:
    return ModelError(f"{place} holds {counted(len(ggufs), 'GGUF file')}: name one, {os.path.join(place, ggufs[0])}")


def read_settings(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """The settings in a folder, of a model or (in a file of another `name`) of a beacon.

    Raises:
        ModelError: if they are missing or damaged.
    """
    path = folder / name
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): give the folder of a whole model") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged ({error}): download or convert the model again") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{path} is damaged (no mapping): download or convert the model again")
    return settings


def read_index(folder: Path) -> dict[str, str]:
    """The shard that each tensor is in, for a model of several.

    Raises:
        ModelError: if that is missing or damaged, or names a shard that is none or not in this folder.
    """
    places = read_settings(folder, INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
        raise ModelError(f"{folder / INDEX} is damaged (no weight_map): download or convert the model again")
    for shard in places.values():
        if "/" in shard or "\\" in shard or not fnmatchcase(shard, WEIGHTS):
            raise ModelError(
                f"{folder / INDEX} names {shard!r} as a shard, which is no {WEIGHTS} beside it: use another model"
            )
    return places


def is_merged(folder: Path) -> bool:
    """Whether the model in `folder` has its beacon in it, as the authors' releases have."""
    return any(key.startswith(("beacon_", "ultragist_")) for key in read_settings(folder))


def weight_files(folder: Path) -> list[Path]:
    """The files with a base model's weights, by name; a beacon's, and those for other tools, are not among them."""
    return sorted(path for path in folder.glob(WEIGHTS) if path.is_file())


def companions(folder: Path) -> list[Path]:
    """The files of a model that are neither its weights nor their configuration: its tokenizer's, its licence."""
    names = sorted(path for path in folder.iterdir() if path.is_file())
    return [path for path in names if any(fnmatchcase(path.name, pattern) for pattern in COMPANIONS)]
