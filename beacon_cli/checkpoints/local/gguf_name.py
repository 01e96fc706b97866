"""What GGUF files are called: on the hub, and in parts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from beacon_cli.checkpoints.catalogue import llms
from beacon_cli.errors import ModelError

# In the name of a GGUF file, and of its pieces.
GGUF = ".gguf"
# Beside a model's file there may be one that turns pictures into its inputs.
_PROJECTOR = "mmproj"
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_ON_HUB = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?:@([^@:]+?))?(?:/([^@:]+\.gguf)|:([\w.-]+))")


@dataclass(frozen=True)
class HubFile:
    """A GGUF file in a repository on the hub: `owner/name/FILE.gguf` or `owner/name:TAG`; `@revision` after `name`.

    Attributes:
        revision: empty for the newest.
        file: its path in the repository; empty if only its tag is known.
        tag: how it is quantized, as file names end with that: `Q4_K_M`.
    """

    repository: str
    revision: str = ""
    file: str = ""
    tag: str = ""

    def __str__(self) -> str:
        revision = self.revision and f"@{self.revision}"
        return f"{self.repository}{revision}{f'/{self.file}' if self.file else f':{self.tag}'}"

    def choose(self, paths: Sequence[str]) -> list[str]:
        """Which of a repository's files are meant: all parts of one model, the first one first; none if no file is.

        Raises:
            ModelError: if the tag is that of several models.
        """
        if self.file:
            return parts_of(self.file) if self.file in paths else []
        ending = re.compile(rf"(?:.*[-._/])?{re.escape(self.tag)}(?:-00001-of-\d{{5}})?\.gguf", re.IGNORECASE)
        found = [path for path in paths if ending.fullmatch(path) and _PROJECTOR not in path.lower()]
        if len(found) > 1:
            raise ModelError(f"{self} may be any of {', '.join(sorted(found))}; name one of them")
        return parts_of(found[0]) if found else []


def hub_file(name: str) -> HubFile | None:
    """The GGUF file on the hub that `name` is, be it a short name of the catalogue; None if it is something else."""
    known = llms().get(name)
    found = _ON_HUB.fullmatch(known.source if known else name)
    return HubFile(*(group or "" for group in found.groups())) if found else None


def parts_of(path: str) -> list[str]:
    """All parts of a split file, in order, from the name of any of them; of another file, the file."""
    found = _PART.search(path)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        return [path]
    return [f"{path[: found.start()]}-{number:05}-of-{found[2]}{GGUF}" for number in range(1, int(found[2]) + 1)]


def is_later_part(path: str) -> bool:
    """Whether it is a part of a split file, but not the first."""
    return parts_of(path)[0] != path


def is_model(path: str) -> bool:
    """Whether it is a model's GGUF file, or the first part of one."""
    return path.endswith(GGUF) and _PROJECTOR not in path.lower() and not is_later_part(path)
