"""What a condensed memory is called in the cache: by the model, the ratio and the document it was made of."""

from dataclasses import asdict
from typing import Any

from activation_beacon.selection import VERSION
from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Compute, DocumentInfo, Identity, Models, Subject
from beacon_cli.cache.store import Store
from beacon_cli.checkpoints.condensers import SELECT
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.documents import TEXT_VERSION, Document


def identity(source: ModelSource, ratio: int, bits: int) -> Identity:
    """What a memory made by this model at this ratio means, when it is kept in so many bits a number."""
    return Identity(
        base=source.base_fingerprint,
        beacon=source.beacon_fingerprint,
        tokenizer=source.tokenizer.fingerprint,
        window=source.window,
        stride=source.window,
        scheme=_scheme(source),
        ratio=ratio,
        prompt_prefix=source.frame.opening,
        text_version=TEXT_VERSION,
        bits=bits,
    )


def _scheme(source: ModelSource) -> dict[str, Any]:
    if source.info is None:
        selection = source.selection
        said = list(selection.instruction) if selection.scorer is None else None
        return {"method": SELECT, "version": VERSION, "sink_size": selection.sink, "instruction": said}
    config = source.info.config
    return {
        "pos": config.pos,
        "attn": config.attn,
        "attend_prev": config.attend_prev,
        "attend_memory": config.attend_memory,
        "sink_size": config.sink_size,
        "param": list(config.param),
    }


def subject_of(engine: Engine, document: Document, ratio: int, bits: int) -> Subject:
    """What the cache of a document is about."""
    source = document.source
    return Subject(
        identity(engine.source, ratio, bits),
        DocumentInfo(**asdict(source) | {"path": source.path or "-", "selection": document.selection.canonical}),
        Models(engine.source.name, engine.source.condenser_name),
        Compute(str(engine.device), engine.computing),
    )


def entry_of(source: ModelSource, document: Document, ratio: int, store: Store) -> Entry:
    """The cache of a document, there or not."""
    meaning = identity(source, ratio, store.bits)
    return store.entry(meaning, document.source.sha256, document.selection.canonical)
