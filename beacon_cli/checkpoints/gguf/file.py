"""A GGUF file, in one part or several: its metadata and its tensors, each read and dequantized when it is asked for.

The header is read here and not by the `gguf` package, which trusts every count and offset that a file states. Layout:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import math
import mmap
import os
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beacon_cli.checkpoints.convert.tensor_files import Stored
from beacon_cli.checkpoints.local.gguf_name import parts_of
from beacon_cli.errors import ModelError

Value = TypeVar("Value")

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# The vocabularies of 260,000 tokens that there are take 20 MB with their merges.
_LONGEST_HEADER = 2**26
_MOST_DIMENSIONS = 4
_STRING, _ARRAY = 8, 9
# By the number of a value's type: numbers of 8 to 64 bits, and truth values.
_NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}
# What is cut into pieces for a service that takes no large files.
_PIECE = re.compile(r"[.-](?:part\d+(?:of\d+)?|split-?\w{1,3}|\d{3})$")


@dataclass(frozen=True)
class GgufTensor(Stored):
    """A tensor in a GGUF file.

    Attributes:
        kind: how its numbers are stored.
        heads: of a projection in the file of a Llama, which has the two halves of each head's rotary pairs interleaved;
            0 for any other.
    """

    kind: "gguf.GGMLQuantizationType"
    heads: int = 0

    def decoded(self, content: NDArray[np.uint8]) -> Tensor:
        """Dequantized, its rows as transformers has them."""
        # Scales that are no numbers are found later.
        with np.errstate(all="ignore"):
            values = gguf.dequantize(content.reshape(*self.shape[:-1], -1), self.kind).reshape(self.shape)
        return self.in_order(torch.from_numpy(values))

    def in_order(self, rows: Tensor) -> Tensor:
        """(out, …) rows as transformers has them."""
        if not self.heads:
            return rows
        return rows.view(self.heads, -1, 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


@dataclass(frozen=True)
class GgufFile:
    """A file that is whole: all bytes of its tensors are there.

    Attributes:
        path: of a split file, the first part, whose metadata are those of all.
        metadata: numbers, texts, and sequences of either, by key.
        tensors: by name.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]

    def value(self, key: str, kind: type[Value], default: Value | None = None) -> Value:
        """What the metadata have under `key`.

        Raises:
            ModelError: if it is missing and there is no default, or of another type.
        """
        found: Value | None = self.metadata.get(key, default)
        if found is None or type(found) is not kind:
            what = "is missing" if found is None else f"is no {kind.__name__}"
            raise ModelError(f"{self.path} is damaged ({key} {what}): download or make it again")
        return found


def open_gguf(path: Path) -> GgufFile:
    """Read the header of a GGUF file, of each part if it is split, and check that all of its tensors lie in it.

    Args:
        path: of a split file, any part; the others are found beside it by their names.

    Raises:
        ModelError: if it is no GGUF file, cut off or damaged, of a version that is not read, or if a part is missing.
    """
    file = _open_part(path)
    count = file.value("split.count", int, 1)
    if count <= 1:
        return file
    names = parts_of(path.name)
    if len(names) != count:
        raise ModelError(
            f"{path} is one of {count} parts of a model, and the others are found by their names: "
            f"let them end in -00001-of-{count:05}.gguf and so on, as they were published"
        )
    if missing := [name for name in names if not path.with_name(name).is_file()]:
        raise ModelError(
            f"{path} is one of {count} parts of a model, and {len(missing)} are missing: "
            f"put {', '.join(missing[:3])}{', …' if missing[3:] else ''} beside it"
        )
    return _joined([_open_part(path.with_name(name)) for name in names])


def names_in_transformers(architecture: str, layers: int, names: Iterable[str]) -> dict[str, str]:
    """Those `names` of a model's tensors in transformers, by what the format calls each."""
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    stored = gguf.get_tensor_name_map(kind, layers)
    return {stored.get_name(name, (".weight", ".bias")) or name: name for name in names}


def _joined(parts: list[GgufFile]) -> GgufFile:
    """One file of all its parts."""
    tensors: dict[str, GgufTensor] = {}
    for number, part in enumerate(parts):
        stated = part.value("split.no", int), part.value("split.count", int)
        if stated != (number, len(parts)):
            raise ModelError(
                f"{part.path} says that it is part {stated[0] + 1} of {stated[1]}, not {number + 1} of {len(parts)}: "
                "download it again"
            )
        if twice := sorted(part.tensors.keys() & tensors.keys()):
            raise ModelError(f"{part.path} is damaged ({twice[0]} is in another part too): download it again")
        tensors |= part.tensors
    first = parts[0]
    if (expected := first.value("split.tensors.count", int, len(tensors))) != len(tensors):
        raise ModelError(
            f"{first.path} is damaged (its {len(parts)} parts hold {len(tensors)} of {expected} tensors): "
            "download all parts again"
        )
    return replace(first, tensors=tensors)


def _open_part(path: Path) -> GgufFile:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(4) != _MAGIC:
                raise ModelError(_no_gguf(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Header(path, content, size).read()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): give a GGUF file") from error


def _no_gguf(path: Path) -> str:
    if join := _how_to_join(path):
        return f"{path} is a piece of a GGUF file: {join}"
    return f"{path} is no GGUF file (it does not begin with GGUF): download it again, or give another model"


def _how_to_join(path: Path) -> str:
    """What to do with a piece of a file; empty if its name is not that of one."""
    found = _PIECE.search(path.name)
    if not found:
        return ""
    whole = path.name[: found.start()]
    return f"join all of them in order (cat {whole}{found[0][0]}* > {whole}) and give that file"


class _Header:
    """Reads the header from its beginning on; nothing that it states is believed before it is checked."""

    def __init__(self, path: Path, content: mmap.mmap, size: int) -> None:
        self._path, self._content, self._size = path, content, size
        self._at = 4

    def read(self) -> GgufFile:
        version = self._number("<u4")
        if version not in _VERSIONS:
            raise ModelError(f"{self._path} is of version {version} of the format; versions 2 and 3 are read")
        tensor_count, value_count = self._number("<u8"), self._number("<u8")
        metadata: dict[str, Any] = {}
        for _ in range(value_count):
            key = self._text()
            if key in metadata:
                raise self._damage(f"{key} is there twice")
            metadata[key] = self._value(self._number("<u4"))
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 2**16 or alignment & (alignment - 1):
            raise self._damage(f"general.alignment is {alignment!r:.50}")
        stated = [self._tensor() for _ in range(tensor_count)]
        return GgufFile(self._path, metadata, self._placed(stated, -(-self._at // alignment) * alignment, alignment))

    def _placed(self, stated: list[GgufTensor], base: int, alignment: int) -> dict[str, GgufTensor]:
        """The tensors where they are in the file, if each lies after the one before."""
        placed: dict[str, GgufTensor] = {}
        end = base
        for tensor in sorted(stated, key=lambda tensor: tensor.start):
            if tensor.name in placed:
                raise self._damage(f"{tensor.name} is there twice")
            start = base + tensor.start
            if start % alignment or start < end:
                raise self._damage(f"the bytes of {tensor.name} are misplaced")
            end = start + tensor.size
            placed[tensor.name] = replace(tensor, start=start)
        if end > self._size:
            advice = _how_to_join(self._path) or "download it again"
            raise ModelError(
                f"{self._path} is cut off: {end - self._size:,} of its {end:,} bytes are missing; {advice}"
            )
        return placed

    def _tensor(self) -> GgufTensor:
        """A tensor's entry; its start is still counted from where all of them begin."""
        name = self._text()
        dimensions = self._number("<u4")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise self._damage(f"{name} has {dimensions:,} dimensions")
        shape = tuple(reversed([self._number("<u8") for _ in range(dimensions)]))
        number, start = self._number("<u4"), self._number("<u8")
        try:
            kind = gguf.GGMLQuantizationType(number)
            block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            gguf.dequantize(np.zeros((1, block_bytes), np.uint8), kind)
        except (ValueError, KeyError):
            raise ModelError(f"{self._path}: {name} is stored in a way that is not known here ({number})") from None
        except NotImplementedError:
            raise ModelError(f"{self._path}: {name} is stored as {kind.name}, which cannot be read here") from None
        if not all(shape) or shape[-1] % block or math.prod(shape) >= 2**40:
            raise self._damage(f"{name} cannot be {shape} of {kind.name}")
        return GgufTensor(self._path, name, shape, start, math.prod(shape) // block * block_bytes, kind)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind != _ARRAY:
            raise self._damage(f"a value of type {kind:,}")
        kind, count = self._number("<u4"), self._number("<u8")
        if kind == _STRING:
            self._check_room(8 * count)
            return [self._text() for _ in range(count)]
        if kind not in _NUMBERS:
            raise self._damage(f"a sequence of type {kind:,}")
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self._take(count * dtype.itemsize), dtype)

    def _number(self, kind: str) -> Any:
        dtype = np.dtype(kind)
        return np.frombuffer(self._take(dtype.itemsize), dtype)[0].item()

    def _text(self) -> str:
        (length,) = struct.unpack("<Q", self._take(8))
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise self._damage("a text that is not UTF-8") from None

    def _take(self, count: int) -> bytes:
        self._check_room(count)
        taken = self._content[self._at : self._at + count]
        self._at += count
        return taken

    def _check_room(self, count: int) -> None:
        if self._at + count > _LONGEST_HEADER:
            raise self._damage("its header has no end")
        if self._at + count > self._size:
            raise ModelError(f"{self._path} is cut off within its header ({self._size:,} bytes): download it again")

    def _damage(self, what: str) -> ModelError:
        return ModelError(f"{self._path} is damaged ({what}): download it again")
