"""Which model on this disk a cache is for, by what the model is and not by what it is called."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

from beacon_cli.cache.identities import identity
from beacon_cli.cache.identity import Subject
from beacon_cli.checkpoints.catalogue import DEFAULT_MODEL
from beacon_cli.checkpoints.model_source import ModelSource, locate_model
from beacon_cli.errors import BeaconError, ModelError
from beacon_cli.settings import Condense

# Of a model and of its beacon, None for its own.
Names = tuple[str, str | None]


class Matcher:
    """Looks for models among the names that the user gave, those that a cache was built with, and the default.

    Names are tried once each. Nothing is fetched: a model that is not on this disk is no match.

    Args:
        cache: where fingerprints are remembered.
        given: the model and the beacon that the user named; None tries others.
        default: those that are used where none are named.
    """

    def __init__(self, cache: Path, given: Names | None, default: Names) -> None:
        self._cache, self._given, self._default = cache, given, default
        self._tried: dict[Names, list[ModelSource]] = {}

    def find(self, subject: Subject) -> ModelSource | None:
        """The model whose memories mean what those of `subject` do; None if it is not found."""
        wanted = subject.identity
        for names in self._names(subject):
            if names not in self._tried:
                self._tried[names] = list(self._sources(*names))
            for source in self._tried[names]:
                with suppress(BeaconError):  # its chat template or its scorer cannot be used
                    # A system message of the user's own stands in front of the document, in whatever words.
                    source = replace(source, opening=wanted.prompt_prefix)
                    if identity(source, wanted.ratio, wanted.bits) == wanted:
                        return source
        return None

    def get(self, subject: Subject) -> ModelSource:
        """The same.

        Raises:
            ModelError: if it is not found.
        """
        found = self.find(subject)
        if found is None:
            raise ModelError(
                f"no model on this disk is the one that the cache was built with, {subject.models.base} "
                f"({subject.identity.base[:12]}) with beacon {subject.identity.beacon[:12]}; name it with --model and "
                "--beacon"
            )
        return found

    def _names(self, subject: Subject) -> Iterator[Names]:
        if self._given is not None:
            yield self._given
            return
        base, own = subject.models.base, subject.models.beacon
        yield base, None
        if os.path.isdir(own):
            yield base, own
        yield self._default
        yield DEFAULT_MODEL, None

    def _sources(self, model: str, beacon: str | None) -> Iterator[ModelSource]:
        for condense in get_args(Condense):
            for bits in (None, 4) if condense == "beacon" else (None,):
                with suppress(BeaconError):  # not here, or not usable: no match
                    yield locate_model(model, beacon, self._cache, bits, condense=condense, offline=True)
