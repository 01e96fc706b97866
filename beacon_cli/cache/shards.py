"""Activations as the bytes of safetensors files, and back. Imports torch, and is itself imported when needed."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from activation_beacon.memory import Activations
from activation_beacon.selected import Selected
from beacon_cli.cache.manifest import Interval, Manifest
from beacon_cli.cache.quantization import Quantized, dequantize, half, quantize
from beacon_cli.checkpoints.condensers import SELECT
from beacon_cli.durable.records import from_json, parse

_TYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
# What rows may be of in each width, the first being what they are of today: 16 bits were once what was computed in.
_WIDTHS = {16: (torch.float16, torch.bfloat16, torch.float32), 8: (torch.int8,), 4: (torch.uint8,)}
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class _Place:
    """A tensor in the header of a safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, ...]


def _copied(rows: Activations) -> Activations:
    """A copy on the CPU, safe from what the model does with its buffers next.

    Raises:
        ValueError: if the shapes differ or are not (layers, kv_heads, rows, head_dim) with at least one row.
    """
    keys, values = rows.keys, rows.values
    if keys.ndim != 4 or keys.shape != values.shape or not rows.size:
        raise ValueError(f"keys {tuple(keys.shape)} and values {tuple(values.shape)} are no rows of memory")
    made = replace(rows, keys=keys.detach().to("cpu", copy=True), values=values.detach().to("cpu", copy=True))
    return replace(made, places=made.places.to("cpu", copy=True)) if isinstance(made, Selected) else made


def encode(rows: Activations, bits: int) -> Tensors:
    """Rows as they are stored: in float16, or codes and scales; rows are dimension 2 of every tensor.

    Of selected ones also their places, and how many each head has (then dimension 2 is the intervals).

    Raises:
        ValueError: see `_copied`.
    """
    rows = _copied(rows)
    own = {"counts": rows.kept[..., None], "places": rows.places} if isinstance(rows, Selected) else {}
    if bits == 16:
        return own | {"keys": half(rows.keys), "values": half(rows.values)}
    keys, values = quantize(rows.keys, bits), quantize(rows.values, bits)
    return own | {
        "keys": keys.codes,
        "values": values.codes,
        "key_scales": keys.scales,
        "value_scales": values.scales,
    }


def is_current(tensors: Tensors, bits: int) -> bool:
    """Whether rows are stored in the type in which `encode` would store them."""
    return tensors["keys"].dtype == _WIDTHS[bits][0]


def decode(tensors: Tensors, bits: int) -> Activations:
    """The rows that `encode` stored: of 16 bits as they are, of fewer in float32."""
    if bits == 16:
        return Activations(tensors["keys"], tensors["values"])
    keys = Quantized(tensors["keys"], tensors["key_scales"])
    values = Quantized(tensors["values"], tensors["value_scales"])
    return Activations(dequantize(keys, bits), dequantize(values, bits))


def decode_intervals(manifest: Manifest, index: int, tensors: Tensors) -> Iterator[Activations]:
    """The rows of shard `index`, in as few parts as their kind allows, the sink not among them."""
    bits = manifest.subject.identity.bits
    if "counts" not in tensors:
        yield decode(tensors, bits)
        return
    for number, interval in enumerate(manifest.intervals_of(index)):
        yield decode_interval(manifest, interval, _rows_of(number, interval, tensors))


def decode_interval(manifest: Manifest, interval: Interval, tensors: Tensors) -> Activations:
    """The rows of one interval, whose `tensors` are, as `encode` stored them."""
    rows = decode(tensors, manifest.subject.identity.bits)
    if "counts" not in tensors:
        return rows
    kept, places = tensors["counts"][..., 0].cpu(), tensors["places"]
    return Selected(rows.keys, rows.values, kept, places, manifest.span(interval))


def encode_sink(sink: Activations | None) -> Tensors:
    """The sink as it is stored: never rounded, for it is few rows of extreme numbers that all others look at."""
    if sink is None:
        return {}
    sink = _copied(sink)
    return {"sink_keys": sink.keys.contiguous(), "sink_values": sink.values.contiguous()}


def decode_sink(tensors: Tensors) -> Activations | None:
    """The sink that a shard holds."""
    return Activations(tensors["sink_keys"], tensors["sink_values"]) if "sink_keys" in tensors else None


def checksum(tensors: Tensors) -> str:
    """SHA-256 (hexadecimal) of names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]  # numpy's own
    return digest.hexdigest()


def pack(intervals: Sequence[Tensors], tokens: Iterable[int], sink: Tensors) -> bytes:
    """The bytes of a shard file; the same contents give the same bytes."""
    tensors = {name: torch.cat([interval[name] for interval in intervals], dim=2) for name in intervals[0]}
    return save(tensors | sink | {"tokens": torch.tensor(list(tokens), dtype=torch.int32)})


def unpack(data: Tensor, manifest: Manifest, index: int) -> Tensors:
    """The tensors of shard `index`, as views of the file's bytes.

    Args:
        data: (size) uint8, on any device.

    Raises:
        ValueError: if the bytes are not what `pack` makes, or do not hold what the manifest says.
        RecursionError: if the header is nested absurdly deep.
    """
    length = int.from_bytes(_bytes(data[:8]), "little")
    if not 8 + length < len(data):
        raise ValueError("its header is cut off")
    header = from_json(_bytes(data[8 : 8 + length]))
    if not isinstance(header, dict):
        raise ValueError("its header is no mapping")
    places = {name: parse(_Place, place) for name, place in header.items()}
    tensors, end = {}, 0
    for name, place in sorted(places.items(), key=lambda item: item[1].data_offsets):
        dtype = _TYPES.get(place.dtype)
        if dtype is None or len(place.data_offsets) != 2 or place.data_offsets[0] != end:
            raise ValueError("its header is none of ours")
        begin, end = place.data_offsets
        size = math.prod(place.shape) * dtype.itemsize
        first = 8 + length + begin
        if end - begin != size or first + size > len(data) or first % dtype.itemsize:
            raise ValueError("its header is none of ours")
        tensors[name] = data[first : first + size].view(dtype).view(place.shape)
    if 8 + length + end != len(data):
        raise ValueError("bytes follow after its tensors")
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != _expected_shapes(manifest, index, tensors):
        raise ValueError("it does not hold what the manifest says")
    keys, values = tensors["keys"].dtype, tensors["values"].dtype
    if keys != values or keys not in _WIDTHS[manifest.subject.identity.bits]:
        raise ValueError("its rows are not as many bits wide as the manifest says")
    tokens = tensors["tokens"]
    if tokens.dtype != torch.int32 or bool((tokens < 0).any()):
        raise ValueError("its token ids are none")
    if "counts" in tensors:
        _check_selected(manifest, index, tensors)
    return tensors


def interval_tensors(manifest: Manifest, index: int, tensors: Tensors) -> list[tuple[Tensors, list[int]]]:
    """A shard cut at its intervals: the tensors and the token ids of each, the first one's with the sink."""
    cut: list[tuple[Tensors, list[int]]] = []
    token = 0
    for number, interval in enumerate(manifest.intervals_of(index)):
        rows = _rows_of(number, interval, tensors)
        sink = {name: tensor for name, tensor in tensors.items() if name.startswith("sink_") and not cut}
        cut.append((rows | sink, tensors["tokens"][token : token + interval.tokens].tolist()))
        token += interval.tokens
    return cut


def _rows_of(number: int, interval: Interval, tensors: Tensors) -> Tensors:
    """Those tensors of a shard that hold rows, cut to its interval of that number."""
    own = slice(interval.offset, interval.offset + interval.beacons)
    return {
        name: tensor[:, :, slice(number, number + 1) if name == "counts" else own].contiguous()
        for name, tensor in tensors.items()
        if name != "tokens" and not name.startswith("sink_")
    }


def _check_selected(manifest: Manifest, index: int, tensors: Tensors) -> None:
    """Whether each head's rows are as many as are there, and stand within their interval.

    Raises:
        ValueError: if not.
    """
    counts, places = tensors["counts"], tensors["places"]
    if counts.dtype != torch.int32 or places.dtype != torch.int16 or bool((counts < 0).any()):
        raise ValueError("its counts or places are none")
    for number, interval in enumerate(manifest.intervals_of(index)):
        own = places[:, :, interval.offset : interval.offset + interval.beacons]
        if int(counts[..., number].sum()) != own.numel():
            raise ValueError("its heads have other numbers of rows than it holds")
        if not 0 <= int(own.min()) <= int(own.max()) < manifest.span(interval):
            raise ValueError("its rows stand outside of their interval")


def _bytes(data: Tensor) -> bytes:
    return data.cpu().numpy().tobytes()


def _is_selected(manifest: Manifest) -> bool:
    identity = manifest.subject.identity
    return identity.scheme.get("method") == SELECT and identity.ratio != 1


def _expected_shapes(manifest: Manifest, index: int, tensors: Tensors) -> dict[str, tuple[int, ...]] | None:
    """Shapes of shard `index` by name, given the number of layers, heads and channels that `keys` shows."""
    bits = manifest.subject.identity.bits
    keys: Any = tensors.get("keys")
    if keys is None or keys.ndim != 4:
        return None
    layers, kv_heads, _, last = keys.shape
    rows = manifest.shards[index].rows
    shapes = {
        "keys": (layers, kv_heads, rows, last),
        "values": (layers, kv_heads, rows, last),
        "tokens": (sum(interval.tokens for interval in manifest.intervals_of(index)),),
    }
    channels = last * 2 if bits == 4 else last
    if bits != 16:
        scales = (tensors.get("key_scales", keys).shape or (0,))[-1]
        if not scales or channels % scales:
            return None
        shapes |= dict.fromkeys(("key_scales", "value_scales"), (layers, kv_heads, rows, scales))
    if _is_selected(manifest):
        shapes |= {
            "counts": (layers, kv_heads, len(manifest.intervals_of(index))),
            "places": (layers, kv_heads, rows),
        }
    if index == 0 and manifest.sink_rows:
        sink = (layers, kv_heads, manifest.sink_rows, channels)
        shapes |= {"sink_keys": sink, "sink_values": sink}
    return shapes
