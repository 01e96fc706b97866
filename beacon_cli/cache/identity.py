"""What a condensed memory means, and of which document: together they name a cache."""

import hashlib
from dataclasses import dataclass
from typing import Any

from beacon_cli.durable.records import check_sha256, check_token_ids, to_json
from beacon_cli.settings import CACHE_BITS, Condense

KEY_DIGITS = 32


@dataclass(frozen=True)
class Identity:
    """All that decides what the activations of a given text are. Another identity is another cache.

    Attributes:
        base, beacon, tokenizer: fingerprints of the weights (the LLM's as quantized) and of the tokenizer.
        window, stride: tokens in an interval, and how many of them are condensed at its end.
        scheme: how beacons are placed and what they see; anything that JSON can hold.
        ratio: the condensing ratio, or how ratios are mixed; anything that JSON can hold.
        prompt_prefix: token ids that stand before the document's.
        text_version: version of the code that turns a document into text.
        bits: that a stored number takes, see `CACHE_BITS`: rounded activations are another memory.
    """

    base: str
    beacon: str
    tokenizer: str
    window: int
    stride: int
    scheme: dict[str, Any]
    ratio: Any
    prompt_prefix: tuple[int, ...]
    text_version: int
    bits: int

    def __post_init__(self) -> None:
        if self.bits not in CACHE_BITS:
            raise ValueError(f"activations are not kept in {self.bits} bits")
        check_token_ids("prompt_prefix", self.prompt_prefix)

    @property
    def condense(self) -> Condense:
        """What condensed it: selection has a method, and says what it asks the model unless a scorer does for that."""
        if self.scheme.get("method") is None:
            return "beacon"
        return "select" if self.scheme.get("instruction") else "scorer"

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the canonical JSON of all fields."""
        return hashlib.sha256(to_json(self)).hexdigest()


@dataclass(frozen=True)
class DocumentInfo:
    """The document that was condensed.

    Attributes:
        name, path: the file's name, and where it was; "-" for standard input.
        size, sha256: of its bytes.
        title: as the document itself gives it.
        kind: "pdf", "text", …
        selection: which pages, in canonical form.
        page_count: pages in the whole document.
    """

    name: str
    path: str
    size: int
    sha256: str
    title: str | None
    kind: str
    selection: str
    page_count: int

    def __post_init__(self) -> None:
        check_sha256("sha256 of the document", self.sha256)


@dataclass(frozen=True)
class Models:
    """Names of the models, to be read by people; the identity has their fingerprints."""

    base: str
    beacon: str


@dataclass(frozen=True)
class Compute:
    """Where, and in which types of numbers, a build was started; recorded, but not part of the identity."""

    device: str
    dtype: str


@dataclass(frozen=True)
class Subject:
    """What one cache is about."""

    identity: Identity
    document: DocumentInfo
    models: Models
    compute: Compute

    @property
    def key(self) -> str:
        """The cache's name, see `cache_key`."""
        return cache_key(self.identity, self.document.sha256, self.document.selection)


def cache_key(identity: Identity, document_sha256: str, selection: str) -> str:
    """The folder name (32 hexadecimal digits) of the cache of some pages of a document under `identity`."""
    parts = to_json([identity.digest, document_sha256, selection])
    return hashlib.sha256(parts).hexdigest()[:KEY_DIGITS]
