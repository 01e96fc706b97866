"""What a condensed memory is called in the cache: by the model, the ratio and the document it was made of."""

from beacon_cli.cache.entry import Entry
from beacon_cli.cache.identity import Compute, DocumentInfo, Identity, Models, Subject
from beacon_cli.cache.store import Store
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.documents import TEXT_VERSION, Document


def identity(source: ModelSource, ratio: int, bits: int) -> Identity:
    """What a memory made by this model at this ratio means, when it is kept in so many bits a number."""
    config = source.info.config
    return Identity(
        base=source.base_fingerprint,
        beacon=source.beacon_fingerprint,
        tokenizer=source.tokenizer.fingerprint,
        window=config.window,
        stride=config.stride,
        scheme={
            "pos": config.pos,
            "attn": config.attn,
            "attend_prev": config.attend_prev,
            "attend_memory": config.attend_memory,
            "sink_size": config.sink_size,
            "param": list(config.param),
        },
        ratio=ratio,
        prompt_prefix=source.frame.opening,
        text_version=TEXT_VERSION,
        bits=bits,
    )


def subject_of(engine: Engine, document: Document, ratio: int, bits: int) -> Subject:
    """What the cache of a document is about."""
    source = document.source
    return Subject(
        identity(engine.source, ratio, bits),
        DocumentInfo(
            name=source.name,
            path=source.path or "-",
            size=source.size,
            sha256=source.sha256,
            title=source.title,
            kind=source.kind,
            selection=document.selection.canonical,
            page_count=source.page_count,
        ),
        Models(engine.source.name, str(engine.source.beacon_folder)),
        Compute(str(engine.device), str(engine.dtype).removeprefix("torch.")),
    )


def entry_of(source: ModelSource, document: Document, ratio: int, store: Store) -> Entry:
    """The cache of a document, there or not."""
    meaning = identity(source, ratio, store.bits)
    return store.entry(meaning, document.source.sha256, document.selection.canonical)
