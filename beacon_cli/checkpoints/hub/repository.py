"""Where a model comes from: a folder on this disk, or a repository on the Hugging Face hub, which is fetched."""

import errno
import hashlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from activation_beacon.files import CONFIG_FILE
from beacon_cli.checkpoints.hub.download import download
from beacon_cli.checkpoints.local.gguf_name import HubFile, hub_file, is_model
from beacon_cli.checkpoints.local.hub_cache import SHA256, discard, expected_sha256, pulled_file
from beacon_cli.checkpoints.local.model_folder import (
    COMPANIONS,
    CONFIG,
    INDEX,
    MEASURED,
    Kind,
    check_names,
    companions,
    local_folder,
)
from beacon_cli.errors import ModelError
from beacon_cli.events import Progress, Stage, Transfer, silent

# What is fetched. The rest never is: code, pickled weights, weights in other formats or for other tools.
_TEXTS: dict[Kind, list[str]] = {
    "model": [CONFIG, INDEX, *COMPANIONS, f"beacon/{CONFIG_FILE}", f"beacon/{MEASURED}"],
    "beacon": [CONFIG_FILE, MEASURED],
}
_TENSORS: dict[Kind, re.Pattern[str]] = {
    "model": re.compile(r"model[^/]*\.safetensors|beacon/(beacon|scorer)\.safetensors"),
    "beacon": re.compile(r"(beacon|scorer)\.safetensors"),
}
_GGUF_TEXTS = ["LICEN[CS]E*", "NOTICE*", "README.md"]
Check = Callable[[Path], None]


def resolve_model(
    name: str, *, kind: Kind, check: Check | None = None, progress: Progress = silent, offline: bool = False
) -> Path:
    """The folder of the model or beacon that the user calls `name`, which is fetched if need be; or the GGUF file.

    A folder on this disk is taken as it is. Of a repository, what is needed is fetched into the hub's own cache, and
    taken from there when the hub cannot be reached; of a split GGUF file all parts, and the first is returned. A file
    that arrived in part, however that ended, is gone on with. No code of the repository is fetched or executed.
    `HF_HOME`, `HF_HUB_OFFLINE`, `HF_ENDPOINT` and `HF_TOKEN` are honoured as they were when this process first imported
    `huggingface_hub`.

    Args:
        kind: which files are needed: a base model's (with the `beacon` folder in it, if any), or a beacon's or a
            scorer's alone.
        check: called with the folder before the weights are fetched, when it holds everything else; may refuse it. Of a
            GGUF file, nothing is to be had before.
        offline: fetch nothing, and ask the hub nothing: take what is on this disk.

    Raises:
        ModelError: if there is no such folder, repository or revision, if it cannot be fetched, if what arrives does
            not match the hub's checksum, or if the repository holds no safetensors weights.
    """
    file = hub_file(name) if kind == "model" and not Path(name).expanduser().is_dir() else None
    folder = None if file else local_folder(name, kind)
    if folder is not None:
        return folder
    repository, _, revision = (file.repository if file else name).partition("@")
    try:
        if file:
            return _fetch_gguf(file, progress, offline)
        return _fetch(repository, revision or None, kind, check or (lambda folder: None), progress, offline)
    except ModelError:
        raise
    # Errors of the library, of the HTTP client it was built with, and of the operating system have no common base.
    except Exception as error:
        reason = "not (wholly) on this disk" if offline else _reason(error, repository)
        raise ModelError(f"{name}: {reason}") from error


def _fetch(repository: str, revision: str | None, kind: Kind, check: Check, progress: Progress, offline: bool) -> Path:
    folder, files = _snapshot(repository, revision, _TEXTS[kind], progress, offline)
    if files is None:
        return folder
    check_names(repository, [file.path for file in files if "/" not in file.path], kind)
    _check_texts(folder)
    check(folder)
    missing = [file for file in files if _TENSORS[kind].fullmatch(file.path) and not (folder / file.path).exists()]
    if missing and offline:
        raise ModelError(f"{repository}: not (wholly) on this disk")
    _fetch_files(repository, folder, missing, progress)
    return folder


def _fetch_gguf(file: HubFile, progress: Progress, offline: bool) -> Path:
    if offline:
        if here := pulled_file(str(file)):
            return here
        raise ModelError(f"{file}: not (wholly) on this disk")
    folder, files = _snapshot(file.repository, file.revision or None, _GGUF_TEXTS, progress, offline)
    if files is None:
        raise ModelError(f"{file}: not on this disk, and the hub cannot be reached; check the network")
    known = {entry.path: entry for entry in files}
    chosen = file.choose(list(known))
    if not chosen:
        there = ", ".join(sorted(filter(is_model, known))[:30]) or "none"
        raise ModelError(f"{file}: there is no such GGUF file in the repository; there are: {there}")
    if lost := [path for path in chosen if path not in known]:
        raise ModelError(f"{file}: the repository misses a part of it, {lost[0]}; use another")
    missing = [known[path] for path in chosen if not (folder / path).exists()]
    _fetch_files(file.repository, folder, missing, progress)
    return folder / chosen[0]


def _snapshot(
    repository: str, revision: str | None, patterns: list[str], progress: Progress, offline: bool
) -> tuple[Path, list[Any] | None]:
    """The folder in the hub's cache, with the files that fit `patterns` in it, and what files the repository has.

    The latter is None if the hub cannot be asked and an older version of the library wrote the cache: what is there is
    all there is.
    """
    from huggingface_hub import get_cached_repo_tree, snapshot_download  # noqa: PLC0415 (takes time that no other command should pay for)
    from huggingface_hub.errors import CachedRepoTreeNotFoundError  # noqa: PLC0415 (as above)

    progress(Stage(f"looking for {repository}"))
    with _quiet_library():
        folder = Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=patterns,
                tqdm_class=_silent_bar(),
                local_files_only=offline,
            )
        )
        folder.mkdir(parents=True, exist_ok=True)  # a scorer alone has nothing beside it that is small
        try:
            return folder, list(get_cached_repo_tree(repository, revision=folder.name))
        except CachedRepoTreeNotFoundError:
            return folder, None


def _fetch_files(repository: str, folder: Path, missing: list[Any], progress: Progress) -> None:
    """Fetch large files into the snapshot `folder`, telling how many bytes of all of them are there."""
    total = sum(file.size for file in missing)
    before = 0
    for file in missing:
        # One by one in this thread: the library's own pool would make Ctrl-C wait for whole files.
        def arrived(done: int, before: int = before) -> None:
            progress(Transfer(f"downloading {repository}", min(before + done, total), total))

        _fetch_file(repository, folder, file.path, arrived)
        before += file.size


def _check_texts(folder: Path) -> None:
    """Compare what is small but in large-file storage, as tokenizers are, with its checksum."""
    for path in companions(folder):
        if (sha256 := expected_sha256(path)) and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            discard(path)
            raise ModelError(f"{path} does not match the hub's checksum and is deleted: run the same command again")


def _fetch_file(repository: str, folder: Path, path: str, arrived: Callable[[int], object]) -> None:
    """Fetch a large file into the snapshot `folder` of the hub's cache, telling how many of its bytes are there."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url  # noqa: PLC0415 (as above)

    url = hf_hub_url(repository, path, revision=folder.name)
    with _quiet_library():
        metadata = get_hf_file_metadata(url)
    etag, size = metadata.etag or "", metadata.size
    blobs = folder.parent.parent / "blobs"
    if size is not None and re.fullmatch(r"[\w-]+", etag):
        sha256 = etag if SHA256.fullmatch(etag) else None
        download(url, blobs / etag, name=f"{repository}/{path}", size=size, sha256=sha256, arrived=arrived)
    # Finds the file among the blobs, and gives it its name.
    with _quiet_library():
        hf_hub_download(repository, path, revision=folder.name, tqdm_class=_silent_bar())


def _silent_bar() -> Any:
    """A progress bar that draws nothing."""
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415 (as above)

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]  # untyped in tqdm

    return Bar


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
    if isinstance(error, hub.OfflineModeIsEnabled) or isinstance(error.__cause__, hub.OfflineModeIsEnabled):
        return "not (wholly) on this disk, and HF_HUB_OFFLINE is set; unset it for one run, or give a folder"
    if isinstance(error, hub.LocalEntryNotFoundError):
        cause = error.__cause__ or error
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
    return f"the download broke off ({what}); run the same command again, which goes on where it ended"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
