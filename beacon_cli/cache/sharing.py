"""Taking a condensed document to another machine with the same model."""

from pathlib import Path

from beacon_cli.cache.archive import Archive
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Models
from beacon_cli.cache.matching import Matcher
from beacon_cli.cache.store import Store
from beacon_cli.errors import CacheError


def import_cache(store: Store, path: Path, matcher: Matcher, *, force: bool) -> tuple[Entry, bool]:
    """Put an exported cache into `store`; returns it, and whether a model here can use it.

    Args:
        force: also if there is no such model here, or in place of a cache that is here already.

    Raises:
        CacheError: if it cannot be used here and `force` is not given, or for whatever `Archive` refuses.
    """
    archive = Archive(path)
    subject = archive.manifest.subject
    found = matcher.find(subject)
    if found is None and not force:
        raise CacheError(
            f"{path} was condensed with {subject.models.base} ({subject.identity.base[:12]}) and the beacon "
            f"{subject.identity.beacon[:12]}, and no model on this disk is that one: name it with --model and "
            "--beacon, or import it all the same with --force"
        )
    models = None if found is None else Models(found[0].name, str(found[0].beacon_folder))
    return archive.install(store, models, replace_existing=force), found is not None
