"""Condensed documents on disk: written durably, checked when read, never unpickled.

A document's condensed activations, token ids and page texts are one folder, named by what they mean (`Identity`) and
what they were made of. Importing this does not import torch.
"""

from beacon_cli.cache.builder import Builder
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Compute, DocumentInfo, Identity, Models, Subject, cache_key
from beacon_cli.cache.manifest import Interval, Manifest
from beacon_cli.cache.pages import PageText
from beacon_cli.cache.store import Store, Summary, default_root, key_at

__all__ = [
    "Builder",
    "Compute",
    "DocumentInfo",
    "Entry",
    "Identity",
    "Interval",
    "Manifest",
    "Models",
    "PageText",
    "Store",
    "Subject",
    "Summary",
    "cache_key",
    "default_root",
    "key_at",
]
