"""Where a model comes from: a folder on this disk, or a repository on the Hugging Face hub."""

import errno
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from beacon_cli.errors import ModelError

Kind = Literal["model", "beacon"]
Progress = Callable[[int, int], None]

WEIGHTS = "model*.safetensors"
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "model": ("config.json", WEIGHTS),
    "beacon": ("beacon_config.json", "beacon.safetensors"),
}
# What is fetched. The rest never is: code, pickled weights, weights in other formats or for other tools.
_TEXTS: dict[Kind, list[str]] = {
    "model": [
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "tokenizer*.json",
        "tokenizer.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "*.jinja",
        "beacon/beacon_config.json",
    ],
    "beacon": ["beacon_config.json"],
}
_TENSORS: dict[Kind, re.Pattern[str]] = {
    "model": re.compile(r"model[^/]*\.safetensors|beacon/beacon\.safetensors"),
    "beacon": re.compile(r"beacon\.safetensors"),
}
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def resolve_model(name: str, *, kind: Kind, progress: Progress | None = None) -> Path:
    """The folder of the model or beacon that the user calls `name`.

    A folder on this disk is taken as it is. Anything else is a hub id, `owner/name` or `owner/name@revision`: what is
    needed of that repository is fetched into the hub's own cache, and taken from there when the hub cannot be reached.
    No code of the repository is fetched or executed. `HF_HOME`, `HF_HUB_OFFLINE`, `HF_ENDPOINT` and `HF_TOKEN` are
    honoured as they were when this process first imported `huggingface_hub`.

    The sizes of fetched files are checked here; whoever takes their fingerprint checks their content.

    Args:
        kind: which files are needed: a base model's (with the `beacon` folder in it, if any), or a beacon's alone.
        progress: called with the bytes of weights that have arrived and those to fetch in all.

    Raises:
        ModelError: if there is no such folder, repository or revision, if it cannot be fetched, or if the repository
            holds no safetensors weights.
    """
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return Path(folder)
    repository, at, revision = name.partition("@")
    if name.startswith((".", "/", "~")) or repository.count(os.sep) > 1 or os.path.exists(folder):
        raise ModelError(f"{name} is not a folder; give the folder of a {kind}, or a hub id like owner/name")
    if not _HUB_ID.fullmatch(repository) or (at and not revision):
        raise ModelError(f"{name!r} is neither a folder nor a hub id; give a folder, owner/name or owner/name@revision")
    try:
        with _quiet_library():
            return _fetch(repository, revision or None, kind, progress or _ignore)
    except ModelError:
        raise
    # Errors of the library, of the HTTP client it was built with, and of the operating system have no common base.
    except Exception as error:
        raise ModelError(f"{name}: {_reason(error, repository)}") from error


def check_model_folder(folder: Path) -> None:
    """Check that `folder` holds a whole base model; the tensors themselves are not read.

    Raises:
        ModelError: if `config.json`, the weights, or some of their shards are missing.
    """
    try:
        names = [path.name for path in folder.iterdir() if path.is_file()]
        _check_names(str(folder), names, "model")
        index = folder / "model.safetensors.index.json"
        if "model.safetensors" in names or index.name not in names:
            return
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read ({error.strerror}): give the folder of a model") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is damaged ({error!r}): download or convert the model again") from error
    if missing := [shard for shard in shards if shard not in names]:
        raise ModelError(
            f"{folder} misses {len(missing)} of its {len(shards)} shards ({missing[0]}): download it again"
        )


def weight_files(folder: Path) -> list[Path]:
    """The files with a base model's weights, by name; a beacon's, and those for other tools, are not among them."""
    return sorted(path for path in folder.glob(WEIGHTS) if path.is_file())


def expected_sha256(path: Path) -> str | None:
    """The checksum under which the hub's cache keeps a large file; None for a file that is not from there."""
    if not path.is_symlink():
        return None
    blob = Path(os.readlink(path))
    return blob.name if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) else None


def _fetch(repository: str, revision: str | None, kind: Kind, progress: Progress) -> Path:
    """Weights are fetched one by one in this thread: the library's own pool would make Ctrl-C wait for whole files."""
    from huggingface_hub import (  # noqa: PLC0415 (takes time that no other command should pay for)
        get_cached_repo_tree,
        hf_hub_download,
        snapshot_download,
    )
    from huggingface_hub.errors import CachedRepoTreeNotFoundError  # noqa: PLC0415 (likewise)

    texts = snapshot_download(
        repository, revision=revision, allow_patterns=_TEXTS[kind], tqdm_class=_bar_class(lambda count: None)
    )
    folder = Path(texts)
    try:
        files = get_cached_repo_tree(repository, revision=folder.name)
    except CachedRepoTreeNotFoundError:
        # Cached by an older version of the library, and now offline: what is there is all there is.
        return folder
    _check_names(repository, [file.path for file in files if "/" not in file.path], kind)
    missing = [file for file in files if _TENSORS[kind].fullmatch(file.path) and not (folder / file.path).exists()]
    total = sum(file.size for file in missing)
    done = 0

    def arrived(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    for file in missing:
        hf_hub_download(repository, file.path, revision=folder.name, tqdm_class=_bar_class(arrived))
    return folder


def _check_names(place: str, names: Sequence[str], kind: Kind) -> None:
    for pattern in _NEEDED[kind]:
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        pickled = sorted(name for name in names if name.endswith(_PICKLED))
        if pattern == WEIGHTS and pickled:
            raise ModelError(
                f"{place} holds only pickled weights ({pickled[0]}), which are never loaded because they can run code: "
                "choose a model with safetensors weights, or convert it"
            )
        raise ModelError(f"{place} holds no {pattern}: it is not a {kind} in the format that this tool reads")


def _bar_class(arrived: Callable[[int], None]) -> Any:
    """A progress bar that draws nothing and passes on how many bytes each update adds."""
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415 (as above)

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]
            # Where bytes on the network and bytes on the disk differ, the library has a bar for each.
            self._counts = not str(options.get("name")).endswith(".transfer")

        def update(self, n: float | None = 1) -> None:
            if self._counts:
                arrived(int(n or 0))

    return Bar


def _ignore(done: int, total: int) -> None:
    """Progress that nobody asked for."""


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Keep the library's warnings off the terminal; one of them, that the disk is too small for a file, is an error."""
    from huggingface_hub.utils import logging as library  # noqa: PLC0415 (as above)

    verbosity = library.get_verbosity()
    library.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="Not enough free disk space")
            yield
    finally:
        library.set_verbosity(verbosity)


def _reason(error: Exception, repository: str) -> str:
    """Why fetching failed and what to do about it."""
    from huggingface_hub import constants, get_token  # noqa: PLC0415 (as above)
    from huggingface_hub import errors as hub  # noqa: PLC0415 (as above)

    hub_url = constants.ENDPOINT
    if isinstance(error, hub.HFValidationError):
        return "not a name that the hub allows; check its spelling"
    if isinstance(error, hub.LocalEntryNotFoundError):
        cause = error.__cause__ or error
        if isinstance(cause, hub.OfflineModeIsEnabled):
            return "not (wholly) on this disk, and HF_HUB_OFFLINE is set; unset it for one run, or give a folder"
        if not isinstance(cause, hub.HfHubHTTPError):
            what = _first_line(cause)
            return f"not (wholly) on this disk, and {hub_url} cannot be reached ({what}); check the network"
        error = cause
    if isinstance(error, hub.GatedRepoError):
        return f"accept its licence at {hub_url}/{repository}, then set HF_TOKEN to a token of that account"
    status = error.response.status_code if isinstance(error, hub.HfHubHTTPError) else None
    # Strangers are not told whether a repository exists.
    if isinstance(error, hub.RepositoryNotFoundError) or (status == 401 and not get_token()):
        return f"no such folder here, and no such repository at {hub_url}; if it is private, set HF_TOKEN"
    if isinstance(error, hub.RevisionNotFoundError):
        return f"the repository has no such revision; see its branches and tags at {hub_url}/{repository}"
    if status in (401, 403):
        return f"{hub_url} refuses access (status {status}); renew HF_TOKEN, or unset it"
    if status:
        return f"{hub_url} answers with status {status}; try again later"
    code = error.errno if isinstance(error, OSError) else None
    if isinstance(error, UserWarning) or code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no room for it in {constants.HF_HUB_CACHE}; make room, or set HF_HOME to a folder on a larger disk"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be written ({error.strerror}); set HF_HOME to a folder that can"
    what = _first_line(error)
    return f"the download broke off ({what}); run the same command again: whole files that have arrived are kept"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
