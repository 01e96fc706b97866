"""Safetensors files, read and written tensor by tensor: a checkpoint is never in memory as a whole.

Mapping a file would do to read it, but mapped pages count as memory of this process; and the library's own writer wants
all tensors of a file at once.
"""

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beacon_cli.errors import ModelError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U8": torch.uint8,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LONGEST_HEADER = 100_000_000
# Looked at in pieces: to find what is not finite takes several times the memory of what is looked at.
_PIECE = 2**24


@dataclass(frozen=True)
class Stored(ABC):
    """A tensor in a file, whatever that file's format.

    Attributes:
        shape: as torch has it, rows first.
        start, size: of its bytes in the file.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    start: int
    size: int

    def read(self, dtype: torch.dtype) -> Tensor:
        """The tensor in type `dtype`, in memory of its own.

        Raises:
            ModelError: if it cannot be read, or holds values that are not finite, or not in `dtype`.
        """
        tensor = self.decoded(self.content()).to(dtype)
        flat = tensor.flatten()
        pieces = (flat[start : start + _PIECE] for start in range(0, len(flat), _PIECE))
        if not all(bool(piece.isfinite().all()) for piece in pieces):
            raise ModelError(
                f"{self.path}: {self.name} holds values that are not finite (NaN or infinite): "
                "download it again, or use another checkpoint"
            )
        return tensor

    def content(self) -> NDArray[np.uint8]:
        """Its bytes.

        Raises:
            ModelError: if they cannot be read.
        """
        try:
            content = np.fromfile(self.path, np.uint8, self.size, offset=self.start)
        except OSError as error:
            raise ModelError(f"{self.path} cannot be read ({error.strerror}): download it again") from error
        if len(content) < self.size:
            raise ModelError(f"{self.path} ends before {self.name}: download it again")
        return content

    @abstractmethod
    def decoded(self, content: NDArray[np.uint8]) -> Tensor:
        """What its bytes mean; may share their memory."""


@dataclass(frozen=True)
class StoredTensor(Stored):
    """A tensor in a safetensors file."""

    dtype: str

    def decoded(self, content: NDArray[np.uint8]) -> Tensor:
        """As it is stored."""
        if not self.size:  # of which torch makes no other type
            return torch.empty(self.shape, dtype=DTYPES[self.dtype])
        return torch.from_numpy(content).view(DTYPES[self.dtype]).reshape(self.shape)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name; their bytes are not read.

    Raises:
        ModelError: if the file is missing, cut off or malformed, or holds tensors that are no floating-point weights.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LONGEST_HEADER):
                raise ModelError(f"{path} is cut off or no safetensors file ({size:,} bytes): download it again")
            header = json.loads(file.read(length).decode(), object_pairs_hook=_without_repetitions)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): download it again") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no safetensors file ({error}): download it again") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path} is no safetensors file (its header is no mapping): download it again")
    header.pop("__metadata__", None)
    tensors = sorted((_stored(path, name, entry, 8 + length) for name, entry in header.items()), key=lambda t: t.start)
    end = 8 + length
    for tensor in tensors:
        if tensor.start != end:
            raise ModelError(f"{path} is damaged (the bytes of {tensor.name} are misplaced): download it again")
        end += tensor.size
    if end > size:
        raise ModelError(f"{path} is cut off: {end - size:,} of its {end:,} bytes are missing; download it again")
    if end < size:
        raise ModelError(f"{path} is damaged ({size - end:,} bytes too many): download it again")
    return {tensor.name: tensor for tensor in tensors}


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return dict(pairs)


def _stored(path: Path, name: str, entry: Any, base: int) -> StoredTensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        well_formed = all(type(number) is int and number >= 0 for number in (*shape, start, end - start))
    except (KeyError, TypeError, ValueError):
        well_formed = False
    if not well_formed:
        raise ModelError(f"{path} is damaged (its entry for {name} is malformed): download it again")
    if dtype not in DTYPES or dtype == "U8":
        raise ModelError(f"{path}: {name} is stored as {dtype}; only floating-point weights can be converted")
    if end - start != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ModelError(
            f"{path} is damaged ({name} has {end - start:,} bytes, not those of {shape}): download it again"
        )
    return StoredTensor(path, name, shape, base + start, end - start, dtype)


@dataclass(frozen=True)
class NewTensor:
    """A tensor that is to be written; `make` is called when its turn has come."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_tensors(path: Path, tensors: Sequence[NewTensor]) -> None:
    """Write a safetensors file, one tensor after another.

    Raises:
        OSError: if it cannot be written.
    """
    # Readers take tensors from where they lie in the file, which has to be a multiple of their element's size.
    ordered = sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in ordered:
        offsets = [end, end := end + tensor.size]
        header[tensor.name] = {"dtype": _NAMES[tensor.dtype], "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in ordered:
            value = tensor.make()
            if (value.dtype, tuple(value.shape)) != (tensor.dtype, tensor.shape):
                raise ValueError(f"{tensor.name} was announced as {tensor.shape}, {tensor.dtype}")
            file.write(value.contiguous().flatten().view(torch.uint8).numpy().data)
            del value
