"""Caches that are not what they say: every checksum is right, for they are written by the tool's own writer."""

from dataclasses import replace
from pathlib import Path

import torch

from activation_beacon.memory import Activations
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import DocumentInfo
from beacon_cli.cache.loading import read_shard
from beacon_cli.cache.shards import decode, decode_sink, interval_tensors
from beacon_cli.cache.store import Store


def forge(source: Entry, root: Path, *, document: DocumentInfo | None = None, noise: float = 0.0) -> Entry:
    """A cache in `root` with the text and activations of `source`.

    Args:
        document: what it is said to be of.
        noise: how much of the activations is replaced by random numbers of their size: 1 for all.
    """
    manifest = source.manifest()
    assert manifest is not None
    subject = replace(manifest.subject, document=document or manifest.subject.document)
    entry = Store(root).entry_of_key(subject.key)
    generator = torch.Generator().manual_seed(1)

    def spoiled(rows: torch.Tensor) -> torch.Tensor:
        random = torch.randn(rows.shape, generator=generator).to(rows.dtype)
        return (1 - noise) * rows + noise * random * rows.float().std().to(rows.dtype)

    with entry.builder(subject) as builder:
        for index in range(len(manifest.shards)):
            cut = interval_tensors(manifest, index, read_shard(source.folder, manifest, index))
            for interval, (tensors, tokens) in zip(manifest.intervals_of(index), cut, strict=True):
                rows = decode(tensors, subject.identity.bits)
                forged = Activations(spoiled(rows.keys), spoiled(rows.values)) if noise else rows
                builder.add(tokens, interval.ratio, forged, decode_sink(tensors))
        builder.finish(manifest.tail, source.pages(), manifest.warnings)
    return entry
