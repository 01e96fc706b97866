"""Files that are meant: those of a folder, and those that match a pattern which the shell left as it is."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection
from pathlib import PurePath


def matching(argument: str) -> list[str]:
    """`argument` itself if it is there, or is no pattern; else what matches it, by name, which may be nothing."""
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [argument]
    return sorted(glob.glob(argument, recursive=True))


def files_in(folder: str, suffixes: Collection[str]) -> list[str]:
    """The files in a folder and in its folders, by path, whose names end in one of `suffixes` (".pdf"), in any case.

    Hidden files and folders are left out; folders are not looked for behind links.
    """
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(parent, name)
            for name in files
            if not name.startswith(".") and PurePath(name).suffix.lower() in suffixes
        ]
    return sorted(found)
