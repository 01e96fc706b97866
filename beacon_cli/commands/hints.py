"""Hints at slips of the keyboard: a question without quotes, a file's name that is nearly right."""

import glob
import os
from collections.abc import Sequence
from pathlib import PurePath

from beacon_cli.errors import DocumentError, SettingsError
from beacon_cli.settings import nearest


def check_documents(documents: Sequence[str], question: str | None = None) -> None:
    """See whether the documents that were named are there.

    Args:
        question: the last argument, if it is one.

    Raises:
        SettingsError: if words of a question stand among the documents.
        DocumentError: if one is missing, with the name that comes nearest.
    """
    missing = [name for name in documents if name != "-" and not os.path.lexists(name) and not glob.has_magic(name)]
    if not missing:
        return
    there, words = documents[: -len(missing)], documents[-len(missing) :]
    if question is not None and there and list(words) == missing and not any(map(_is_path, words)):
        asked = " ".join([*words, question])
        raise SettingsError(f'put the question in quotes: beacon ask {" ".join(there)} "{asked}"')
    folder, name = os.path.split(missing[0])
    try:
        hint = nearest(name, os.listdir(folder or "."))
    except OSError:
        hint = ": check the path"
    raise DocumentError(f"{missing[0]}: there is no such file{hint}")


def _is_path(word: str) -> bool:
    return os.sep in word or bool(PurePath(word).suffix)
