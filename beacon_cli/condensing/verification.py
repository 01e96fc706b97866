"""Verifying caches: reading them through, condensing them again to compare, and putting back what is damaged."""

from contextlib import suppress

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.manifest import Manifest
from beacon_cli.cache.matching import Matcher
from beacon_cli.cache.repair import Repair, examine, repairing
from beacon_cli.cache.store import Summary
from beacon_cli.checkpoints.engine import Device, Engine, load_engine
from beacon_cli.condensing.recondensing import Report, Walk, rebuild
from beacon_cli.condensing.text import TokenStream, document_stream, stored_stream
from beacon_cli.documents import PageSelection, open_document
from beacon_cli.errors import BeaconError, CacheError, DocumentError
from beacon_cli.events import Note, Progress, Stage, silent


class Verifier:
    """Verifies caches, loading each model that takes part once.

    Args:
        matcher: finds the models.
        device, threads: where to compute, see `load_engine`.
        deep: condense again and compare.
        repair: put back what is damaged.
        password: of encrypted PDFs that have to be read again.
    """

    def __init__(
        self, matcher: Matcher, device: Device, threads: int | None, *, deep: bool, repair: bool, password: str | None
    ) -> None:
        self._matcher, self._device, self._threads = matcher, device, threads
        self._deep, self._repair, self._password = deep, repair, password
        self._engines: dict[tuple[str, str], Engine] = {}

    def verify(self, summary: Summary, progress: Progress = silent) -> Report:
        """Verify one cache. What cannot be verified or repaired is reported, not raised."""
        report = self._verified(summary, progress)
        with suppress(CacheError):
            manifest, origin = summary.entry.manifest(), summary.entry.origin()
            if manifest is not None and origin is not None:
                report.foreign, report.origin = origin.is_foreign(manifest), origin.told(manifest)
        return report

    def _verified(self, summary: Summary, progress: Progress) -> Report:
        entry = summary.entry
        report = Report(entry.key, summary.manifest.subject.document.name if summary.manifest else "?")
        progress(Stage(f"verifying {report.name} ({entry.key[:12]})"))
        try:
            with entry.in_use():
                manifest = entry.manifest()
                report.damage = [damage.what for damage in examine(entry.folder, manifest)] if manifest else []
        except CacheError as error:
            report.state, report.damage = "damaged", [str(error)]
            report.advice = f"remove it (`beacon cache rm {entry.key}`); the next question condenses the document again"
            return report
        if manifest is None:
            report.state = "unfinished" if summary.manifest is None else "gone"
        elif not manifest.complete:
            report.state = "unfinished"
        if report.damage:
            report.state = "damaged"
            report.advice = f"repair it (`beacon cache verify --repair {entry.key}`)"
        if manifest is None or not (self._deep or (report.damage and self._repair)):
            return report
        try:
            self._look_again(entry, report, progress)
        except BeaconError as error:
            report.state, report.advice = ("damaged" if report.damage else "unverified"), str(error)
        return report

    def _look_again(self, entry: Entry, report: Report, progress: Progress) -> None:
        with repairing(entry) as repair:
            if not repair.manifest.complete and repair.damage:
                if not self._repair:
                    return
                first = min(damage.shard for damage in repair.damage if damage.shard is not None)
                repair.cut(first)
                report.state, report.advice = "repaired", "the next question or build condenses it to its end"
                return
            engine = self._engine(repair.manifest, progress)
            stream = self._stream(engine, repair)
            broken = Walk(engine, repair, stream, self._repair, self._deep, report, progress).run()
            if self._deep and (self._repair or not repair.damage):
                broken = self._believe(entry, repair.manifest, report, broken)
            if broken is None:
                if self._repair or not repair.damage:
                    report.state = (
                        "repaired" if report.damage else "whole" if repair.manifest.complete else "unfinished"
                    )
                    report.advice = None
                return
            report.state = "damaged"
            report.advice = f"condense it anew (`beacon cache verify --deep --repair {entry.key}`)"
            if not self._repair:
                return
            repair.cut(broken)
        progress(
            Note(f"{report.name}: what this machine condenses differs from what was stored; condensing the rest anew")
        )
        rebuilt = rebuild(engine, entry, repair.manifest, stream, report, progress)
        if not repair.manifest.intervals:  # none of those that were there is in it any more
            entry.prove(rebuilt, activations=True)
        report.state, report.advice = "rebuilt", None

    def _believe(self, entry: Entry, manifest: Manifest, report: Report, broken: int | None) -> int | None:
        """All of a cache was condensed again: what that proves of one that was imported, see `origin`.

        Close is not enough: within what machines differ by, a stranger could hide a row of his own. So what is equal to
        the bit is proven, and anything else is condensed anew by `repair`, from the first shard on: returns that one.
        """
        origin = entry.origin()
        if origin is None or origin.has_activations(manifest):
            return broken
        if broken is None and not report.deviation:
            entry.prove(manifest, activations=True)
            return None
        return 0 if self._repair else broken

    def _engine(self, manifest: Manifest, progress: Progress) -> Engine:
        source = self._matcher.get(manifest.subject)
        key = source.base_fingerprint, source.beacon_fingerprint
        if key not in self._engines:
            progress(Stage(f"loading {source.name}"))
            self._engines[key] = load_engine(source, self._device, self._threads)
        return self._engines[key]

    def _stream(self, engine: Engine, repair: Repair) -> TokenStream:
        """All tokens and pages: from the stored pages, or the stored tokens, or the document itself."""
        manifest, entry = repair.manifest, repair.entry
        if not manifest.complete:
            return _known(engine, entry)
        if all(damage.shard is not None for damage in repair.damage):
            return stored_stream(engine.source, entry).read_all()
        document = manifest.subject.document
        with suppress(DocumentError):
            selection = PageSelection.parse(document.selection)
            with open_document(document.path, password=self._password, pages=selection) as opened:
                if opened.source.sha256 == document.sha256:
                    return document_stream(engine.source, opened).read_all()
        raise CacheError(
            f"its page texts are damaged, and {document.path} is not the document (or not readable) any more; put it "
            f"back there, or remove the cache (`beacon cache rm {entry.key}`)"
        )


def _known(engine: Engine, entry: Entry) -> TokenStream:
    """What an unfinished cache knows of its document: token ids."""
    stream = TokenStream(engine.source, (), [])
    stream.ids = entry.open().tokens()
    return stream
