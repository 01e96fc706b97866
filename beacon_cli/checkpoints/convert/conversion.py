"""Making a 4-bit model with a beacon of a merged checkpoint, one tensor at a time.

What comes of it is an ordinary model folder: stock transformers loads the base model from it, and `beacon/` in it is
the adapter. It is written beside its place and moved there when it is whole and durable, so that its place holds a
whole model or none, whatever happens.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.checkpoint import BeaconInfo, save_info
from activation_beacon.files import SCORER_FILE, WEIGHTS_FILE
from beacon_cli.checkpoints.convert.four_bit import quantize, settings
from beacon_cli.checkpoints.convert.merged import Merged
from beacon_cli.checkpoints.convert.tensor_files import NewTensor, Stored, StoredTensor, write_tensors
from beacon_cli.checkpoints.local.converted import clean_up, leftovers
from beacon_cli.checkpoints.local.fingerprint import model_fingerprint
from beacon_cli.checkpoints.local.model_folder import CONFIG, INDEX, MEASURED, SINGLE, companions
from beacon_cli.checkpoints.local.record import Record, write_record
from beacon_cli.durable.files import sync_path
from beacon_cli.errors import ModelError
from beacon_cli.events import Progress, Transfer, silent

# What weights that stay unquantized are stored in, and what 4-bit ones are dequantized to.
DTYPE = torch.bfloat16
# The quantized tensors of a shard are in memory together.
SHARD_BYTES = 10**9
# Bytes of a 4-bit weight with its scales, to an element.
_FOUR_BITS = 0.52


def convert(source: Merged, cache: Path, target: Path, record: Record, progress: Progress = silent) -> None:
    """Write the model to `target`, replacing what is there; `record` says where it is from and how to make it.

    The caller sees to it that nobody else writes to `target`.

    Args:
        cache: where fingerprints are remembered.

    Raises:
        ModelError: if the source holds values that are not finite, or the model cannot be written. `target` is then as
            it was, and nothing else is left.
    """
    with replacing(target, _expected_bytes(source, record.beacon_bits)) as folder:
        _write(source, folder, record, cache, progress)


@contextmanager
def replacing(target: Path, expected_bytes: int) -> Iterator[Path]:
    """A new folder beside `target`, which takes its place when it is filled, durable and whole.

    Raises:
        ModelError: if it cannot be written. `target` is then as it was, and nothing else is left; so it is after any
            other error and after an interrupt.
    """
    folder, replaced = leftovers(target)
    try:
        clean_up(target)
        folder.mkdir(parents=True)
        if shutil.disk_usage(folder).free < expected_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield folder
        for path in (*folder.rglob("*"), folder):
            sync_path(path)
        if target.exists():
            target.rename(replaced)
        folder.rename(target)
        sync_path(target.parent)
    except OSError as error:
        raise _write_error(target, error) from error
    finally:
        clean_up(target)


def quantized_weights(model: Any) -> set[str]:
    """The names of the weights that transformers would quantize on the way: all linear layers' but the head's."""
    head = model.get_output_embeddings()
    return {f"{name}.weight" for name, part in model.named_modules() if type(part) is nn.Linear and part is not head}


class CountingReader:
    """Reads tensors and tells how many bytes that were."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def read(self, stored: Stored, dtype: torch.dtype = DTYPE) -> Tensor:
        tensor = stored.read(dtype)
        self._done += stored.size
        self._progress(Transfer("converting", self._done, self._total))
        return tensor


def _write(source: Merged, folder: Path, record: Record, cache: Path, progress: Progress) -> None:
    reader = CountingReader(source.size, progress)
    if source.duplicate is not None:
        _check_duplicate(source, source.duplicate)
    _write_base(source, folder, reader)
    for path in companions(source.folder):
        shutil.copyfile(path, folder / path.name)
    fingerprint = model_fingerprint(folder, cache)
    beacon = folder / "beacon"
    beacon.mkdir()
    _write_beacon(source, beacon / WEIGHTS_FILE, reader, record.beacon_bits)
    save_info(beacon, BeaconInfo(source.config, record.source, fingerprint, source.rope_scaling))
    for name in (SCORER_FILE, MEASURED):  # that were made of the converted model, and stand in its repository
        if (path := source.folder / "beacon" / name).is_file():
            shutil.copyfile(path, beacon / name)
    write_record(folder, record)


def _check_duplicate(source: Merged, duplicate: StoredTensor) -> None:
    name = next(name for name in source.base if name.endswith("embed_tokens.weight"))
    if not torch.equal(source.base[name].read(DTYPE), duplicate.read(DTYPE)):
        raise ModelError(
            f"{source.folder}: config.json ties {duplicate.name} to {name}, but their weights differ: "
            "set tie_word_embeddings to false, or use another checkpoint"
        )


def _write_base(source: Merged, folder: Path, reader: CountingReader) -> None:
    """The base model's configuration and shards."""
    quantized = quantized_weights(source.model)
    shards = list(_shards(source, quantized))
    places: dict[str, str] = {}
    total = 0
    for number, names in enumerate(shards, 1):
        file = SINGLE if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = [new for name in names for new in _new(name, source.base[name], reader, four_bit=name in quantized)]
        write_tensors(folder / file, tensors)
        places |= {tensor.name: file for tensor in tensors}
        total += sum(tensor.size for tensor in tensors)
    if len(shards) > 1:
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})
    stock = {key: value for key, value in source.stock.items() if key != "torch_dtype"}
    write_json(folder / CONFIG, {**stock, "dtype": "bfloat16", "quantization_config": settings(DTYPE).to_dict()})


def _write_beacon(source: Merged, path: Path, reader: CountingReader, bits: int) -> None:
    """The adapter's weights."""
    tensors = []
    for name, stored in source.beacon.items():
        tensors += _new(name, stored, reader, four_bit=bits == 4 and name.endswith(".weight"))
    write_tensors(path, tensors)


def _new(name: str, stored: StoredTensor, reader: CountingReader, *, four_bit: bool) -> list[NewTensor]:
    """What is written of a tensor: itself, or what holds it in 4 bits, which is made at once."""
    if four_bit:
        entries = quantize(name, reader.read(stored))
        return [NewTensor(entry, t.dtype, tuple(t.shape), partial(lambda t: t, t)) for entry, t in entries.items()]
    # The beacon's embedding is the only row of a table.
    shape = stored.shape[1:] if name == "embedding" else stored.shape
    return [NewTensor(name, DTYPE, shape, lambda: reader.read(stored).reshape(shape))]


def _shards(source: Merged, quantized: set[str]) -> Iterator[list[str]]:
    """The names of the source's tensors, as many together as a shard may have."""
    names: list[str] = []
    room = SHARD_BYTES
    for name, stored in source.base.items():
        size = _bytes(stored, 4 if name in quantized else 16)
        if names and size > room:
            yield names
            names, room = [], SHARD_BYTES
        names.append(name)
        room -= size
    yield names


def _bytes(stored: StoredTensor, bits: int) -> int:
    elements = torch.Size(stored.shape).numel()
    return int(elements * _FOUR_BITS) if bits == 4 else elements * DTYPE.itemsize


def _expected_bytes(source: Merged, beacon_bits: int) -> int:
    quantized = quantized_weights(source.model)
    base = sum(_bytes(stored, 4 if name in quantized else 16) for name, stored in source.base.items())
    return base + sum(_bytes(stored, beacon_bits) for stored in source.beacon.values())


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _write_error(target: Path, error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ModelError(
            f"no room for the converted model in {target.parent}; make room, or set BEACON_MODELS_DIR to a folder on a "
            "larger disk"
        )
    return ModelError(
        f"{error.filename or target} cannot be written ({error.strerror}); set BEACON_MODELS_DIR to a folder that can"
    )
