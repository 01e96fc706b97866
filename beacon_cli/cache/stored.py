"""A document that is not at hand: what the cache has of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Self

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identities import identity
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.pages import PageText
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.documents import PageSelection, Source
from beacon_cli.errors import CacheError


@dataclass(frozen=True)
class StoredDocument:
    """Stands for an open `Document`, of which it has what reading needs. Nothing is ever condensed from it.

    Attributes:
        entry: the complete cache.
        manifest: its durable state.
    """

    entry: Entry
    manifest: Manifest
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, entry: Entry, source: ModelSource) -> Self:
        """What is in the cache, for the model that is to read it.

        Raises:
            CacheError: if it cannot be read, is not complete, or is for another model.
        """
        manifest = entry.finished_manifest()
        meaning, models = manifest.subject.identity, manifest.subject.models
        if identity(source, meaning.ratio, meaning.bits) != meaning:
            raise CacheError(
                f"cache {entry.key} is for {models.base} ({meaning.base[:12]}) with beacon {meaning.beacon[:12]}, not "
                f"for {source.name}: name that model with --model and --beacon"
            )
        return cls(entry, manifest, list(manifest.warnings))

    @property
    def ratio(self) -> int:
        """At which it is condensed."""
        ratio: int = self.manifest.subject.identity.ratio
        return ratio

    @cached_property
    def source(self) -> Source:
        """What the cache says that it is of."""
        known = self.manifest.subject.document
        kind = known.kind
        return Source(known.name, None, known.size, known.sha256, known.title, known.page_count, kind)  # type: ignore[arg-type]  # a name for people

    @cached_property
    def selection(self) -> PageSelection:
        """The pages that were read."""
        return PageSelection.parse(self.manifest.subject.document.selection)

    def pages(self) -> Iterable[PageText]:
        """Their texts.

        Raises:
            CacheError: if they are damaged.
        """
        return self.entry.pages()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is to be closed."""
