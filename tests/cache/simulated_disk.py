"""A disk that loses, in a power cut, what was not made durable.

It watches a folder while something writes there. Only `fsync` makes anything durable: of a file its contents, of a
folder its names. Before every system call that changes something, it notes what a power cut at that moment would leave:
with the names that folders had when they were last synced, and with their present names (which a journal may have
written out of turn) for contents that were not.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

CHANGES = ("write", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "link")
Listing = dict[str, tuple[int, bool]]  # a name's number, and whether it is a folder
Tree = dict[str, Any]  # a name's bytes, or the Tree of a folder


class SimulatedDisk:
    """What is durable below `root`; a context in which that is followed.

    Attributes:
        remains: for every moment, what a power cut would have left, in both ways.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.remains: list[Tree] = []
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, Listing] = {}
        self._kept_open: list[int] = []
        self._calls = {name: getattr(os, name) for name in (*CHANGES, "open", "close")}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Follow what is done to the disk, from a durable state on."""
        for folder, _, names in os.walk(self.root):
            self._sync(Path(folder))
            for name in names:
                self._sync(Path(folder) / name)
        with ExitStack() as patches:
            for name in CHANGES:
                patches.enter_context(mock.patch.object(os, name, self._wrap(name)))
            yield
        self._note()
        for descriptor in self._kept_open:
            os.close(descriptor)

    def _wrap(self, name: str) -> Callable[..., Any]:
        call = self._calls[name]

        def watched(*arguments: Any, **options: Any) -> Any:
            self._note()
            result = call(*arguments, **options)
            if name == "fsync":
                self._sync(Path(os.readlink(f"/proc/self/fd/{arguments[0]}")))
            return result

        return watched

    def _sync(self, path: Path) -> None:
        # A number is not given to another file while this one is open.
        self._kept_open.append(self._calls["open"](path, os.O_RDONLY))
        if path.is_dir():
            self._names[path.stat().st_ino] = _listing(path)
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def _note(self) -> None:
        for present_names in (False, True):
            tree = self._tree(self.root.stat().st_ino, self.root if present_names else None)
            if not self.remains or tree != self.remains[-1]:
                self.remains.append(tree)

    def _tree(self, number: int, present: Path | None) -> Tree:
        """What is left of a folder; with its `present` names, or those that are durable."""
        names = _listing(present) if present is not None else self._names.get(number, {})
        tree: Tree = {}
        for name, (child, is_folder) in names.items():
            if is_folder:
                tree[name] = self._tree(child, None if present is None else present / name)
            else:
                tree[name] = self._contents.get(child, b"")
        return tree


def put_back(tree: Tree, folder: Path) -> None:
    """Make `folder` what is left."""
    folder.mkdir(mode=0o700)
    for name, content in tree.items():
        if isinstance(content, dict):
            put_back(content, folder / name)
        else:
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)


def _listing(folder: Path) -> Listing:
    with os.scandir(folder) as entries:
        return {entry.name: (entry.inode(), entry.is_dir()) for entry in entries}
