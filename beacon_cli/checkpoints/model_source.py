"""Which model: finding a base LLM, what condenses for it and its tokenizer, which belong together; loads no weights."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import beacon_smollm2
from activation_beacon.checkpoint import BeaconInfo, read_info
from activation_beacon.scorer import load_scorer
from activation_beacon.selection import Selection
from beacon_cli.checkpoints import default_model as default
from beacon_cli.checkpoints.adapter import stored_bits
from beacon_cli.checkpoints.catalogue import DEFAULT_MODEL
from beacon_cli.checkpoints.condensers import RATIOS, SELECT, best_condenser, condensers, read_kept
from beacon_cli.checkpoints.convert.merged import check_if_merged
from beacon_cli.checkpoints.hub.repository import resolve_model
from beacon_cli.checkpoints.local.converted import find_converted
from beacon_cli.checkpoints.local.fingerprint import beacon_fingerprint, model_fingerprint, scorer_fingerprint
from beacon_cli.checkpoints.local.hub_cache import pulled_file
from beacon_cli.checkpoints.local.lease import Lease
from beacon_cli.checkpoints.local.model_folder import CONFIG, check_model_folder, is_merged, local_model, read_settings
from beacon_cli.checkpoints.local.record import RECORD_FILE, read_record
from beacon_cli.checkpoints.selecting import selection_of
from beacon_cli.checkpoints.tokenizer.frame import Frame, between_turns, chat_frame
from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.errors import ModelError, SettingsError
from beacon_cli.events import Progress, silent
from beacon_cli.settings import Condense


@dataclass(frozen=True, kw_only=True)
class BaseSource:
    """A base model on this disk.

    Attributes:
        name: what the user calls it.
        folder: the base model's checkpoint folder.
        beacon_folder: the beacon's checkpoint folder; None without one, or where selection condenses.
        tokenizer: the base model's.
        context: positions that the base model was made for.
        base_fingerprint: hash of what the weights are.
        lease: what keeps a converted model from being removed.
    """

    name: str
    folder: Path
    beacon_folder: Path | None
    tokenizer: Tokenizer
    context: int
    base_fingerprint: str
    lease: Lease | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSource(BaseSource):
    """A base model on this disk, and what condenses for it.

    Attributes:
        beacon_folder: the folder of the beacon or the scorer that condenses; None where selection needs neither.
        info: the beacon's settings; None where selection condenses.
        beacon_fingerprint: hash of what the beacon's or the scorer's weights are; "select" for neither's.
        beacon_bits: 4 if the beacon's projections are to be quantized where they are not stored so.
        system: the message that stands in front of a document; None leaves that to the chat template.
        opening: token ids in front of a document, in place of those that follow from `system`; None takes these.
        prompts: how what the beacon was trained on is put; empty if not known.
        passages_first: whether it answers better from the passages that are read again without the memory.
        refuses_from: the probability of the refusal from which on that is said after passages alone; None: only where
            it is the likeliest.
        note: what its user should know before trusting it with a summary; empty if nothing.
        kept: what condenses was measured to keep, by the ratio, see `measured`.
    """

    info: BeaconInfo | None
    beacon_fingerprint: str
    beacon_bits: int = 16
    system: str | None = None
    opening: tuple[int, ...] | None = None
    prompts: str = ""
    passages_first: bool = False
    refuses_from: float | None = None
    note: str = ""
    kept: Mapping[int, float] = field(default_factory=dict, compare=False)

    @cached_property
    def frame(self) -> Frame:
        """What the chat template puts around a single user message.

        Raises:
            ModelError: see `chat_frame`.
        """
        frame = chat_frame(self.tokenizer, self.system)
        return frame if self.opening is None else replace(frame, opening=self.opening)

    @cached_property
    def between(self) -> tuple[int, ...]:
        """What the chat template puts between an answer and the next question.

        Raises:
            ModelError: see `between_turns`.
        """
        return between_turns(self.tokenizer)

    @property
    def condense(self) -> Condense:
        """What condenses."""
        if self.info is not None:
            return "beacon"
        return "select" if self.beacon_folder is None else "scorer"

    @property
    def condenser_name(self) -> str:
        """The folder of the beacon or the scorer, or "select"."""
        return SELECT if self.beacon_folder is None else str(self.beacon_folder)

    @cached_property
    def selection(self) -> Selection:
        """How it selects, where that is what condenses.

        Raises:
            CheckpointError: if its scorer cannot be read.
            ConfigError: if it cannot.
            ModelError: if the chat template drops or repeats the message, or the scorer belongs to another model.
        """
        selection = selection_of(self.tokenizer, self.frame, self.context)
        if self.condense != "scorer" or self.beacon_folder is None:
            return selection
        scorer = load_scorer(self.beacon_folder)
        if scorer.base_fingerprint != self.base_fingerprint:
            raise ModelError(
                f"the scorer in {self.beacon_folder} belongs to another base model: it was fitted to "
                f"{scorer.base_name} ({scorer.base_fingerprint[:12]}), but {self.name} is "
                f"{self.base_fingerprint[:12]}; fit one (beacon train --scorer), or use --condense select"
            )
        return replace(selection, scorer=scorer)

    @property
    def window(self) -> int:
        """Tokens of an interval."""
        return self.selection.window if self.info is None else self.info.config.window

    @property
    def sink_size(self) -> int:
        """Tokens of the first interval that stay as they are."""
        return self.selection.sink if self.info is None else self.info.config.sink_size

    @property
    def ratios(self) -> tuple[int, ...]:
        """The ratios that the beacon was trained for, or that are tried in turn for selection, ascending."""
        return RATIOS if self.info is None else tuple(sorted(self.info.config.usable_ratios))

    def check_ratio(self, ratio: int) -> int:
        """`ratio`, if the beacon was trained for it; selection takes any.

        Raises:
            SettingsError: if it was not.
        """
        if self.info is None:
            if ratio > RATIOS[-1]:
                raise SettingsError(f"selection takes ratios from 1 to {RATIOS[-1]}, not {ratio}; choose one, or auto")
        elif ratio not in self.ratios:
            known = ", ".join(map(str, self.ratios))
            raise SettingsError(f"{self.name} was not trained for ratio {ratio}; choose one of {known}, or auto")
        return ratio


def locate_model(
    model: str,
    beacon: str | None,
    cache: Path,
    beacon_bits: int | None = None,
    *,
    system: str | None = None,
    condense: Condense | None = None,
    progress: Progress = silent,
    offline: bool = False,
) -> ModelSource:
    """Resolve the names given for a model and its beacon; what is not on this disk is fetched.

    A merged checkpoint, base and beacon in one, is never run itself but converted once.

    Args:
        model: a checkpoint folder, a GGUF file, a hub id (with a file: `owner/name/FILE.gguf`, `owner/name:Q4_K_M`), or
            a short name of the catalogue, as the default model has.
        beacon: the same for the beacon or the scorer; by default a folder `beacon` inside the model's.
        cache: where fingerprints are remembered.
        beacon_bits: of the beacon's weights, 16 or 4; None takes them as they are stored.
        system: the message that stands in front of a document; None leaves that to the chat template.
        condense: what is to; None takes what keeps most of the answers by what was measured for the model, else the
            beacon where there is one, else a scorer, else selection by itself.
        offline: fetch nothing, and ask the hub nothing: take what is on this disk; nor convert the default model.

    Raises:
        ModelError: if either is missing or unusable, or the beacon belongs to another base model.
        SettingsError: if a beacon is named, and selection is to condense.
    """
    if beacon and condense == "select":
        raise SettingsError(f"--condense select uses no beacon: leave that or --beacon {beacon} out")
    base = locate_base(model, cache, beacon_bits, progress=progress, offline=offline)
    adapter = _own_adapters(model, base.folder)
    if beacon:
        adapter = resolve_model(beacon, kind="beacon", progress=progress, offline=offline)
    condense, found = _chosen(beacon or model, adapter, condense)
    info = _checked_info(base, found, beacon or str(found)) if condense == "beacon" and found else None
    fingerprint, bits = str(SELECT), 16
    if found is not None:
        fingerprint, bits = (
            (scorer_fingerprint(found, cache), 16) if info is None else _beacon_identity(found, beacon_bits, cache)
        )
    own = model == DEFAULT_MODEL
    return ModelSource(
        **vars(base) | {"beacon_folder": found},
        info=info,
        beacon_fingerprint=fingerprint,
        beacon_bits=bits,
        prompts=read_record(base.folder).prompts if base.lease and not beacon else "",
        system=system,
        passages_first=own and beacon_smollm2.PASSAGES_FIRST,
        # Chosen with the chat template's own message in front.
        refuses_from=default.refuses_from(beacon_smollm2.FOLDER) if own and system is None else None,
        note=beacon_smollm2.SUMMARY_NOTE if own else "",
        kept=read_kept(adapter).get(condense, {}),
    )


def _own_adapters(model: str, folder: Path) -> Path | None:
    """Where the beacon or the scorer is that a model brings; None if it has none."""
    own = default.beacon_folder() if model == DEFAULT_MODEL else folder / "beacon"
    return own if own.is_dir() else None


def _chosen(name: str, folder: Path | None, condense: Condense | None) -> tuple[Condense, Path | None]:
    """What condenses, and the folder of what that needs.

    Args:
        name: what the user calls what is to bring it.
        folder: where a beacon or a scorer is; None if the model has neither.

    Raises:
        ModelError: if what is to condense is not there.
    """
    if condense is None:
        condense = best_condenser(folder)
    elif condense not in (*condensers(folder), SELECT):
        raise ModelError(
            f"{name} brings no {condense}: name one with --beacon DIR or a hub id, or use --condense select"
        )
    return condense, None if condense == SELECT else folder


def _checked_info(base: BaseSource, folder: Path, name: str) -> BeaconInfo:
    """The settings of the beacon called `name`, which must be made for that model."""
    info = read_info(folder)
    if info.base_fingerprint != base.base_fingerprint:
        raise ModelError(
            f"the beacon {name} belongs to another base model: "
            f"it was trained for {info.base_name} ({info.base_fingerprint[:12]}), "
            f"but {base.name} is {base.base_fingerprint[:12]}; give the model it was trained for with --model"
        )
    if info.config.stride != info.config.window:
        raise ModelError(
            f"the beacon {name} condenses {info.config.stride} of {info.config.window} tokens at a "
            "time, and the cache cannot keep the others yet; use one whose stride is its window"
        )
    return info


def locate_base(
    model: str, cache: Path, beacon_bits: int | None = None, *, progress: Progress = silent, offline: bool = False
) -> BaseSource:
    """As `locate_model`, for a base model and the beacon that it brings, if any.

    Raises:
        ModelError: if it is missing or unusable.
    """
    folder = _model_folder(model, beacon_bits, cache, progress, offline)
    lease = Lease(folder) if (folder / RECORD_FILE).exists() else None
    check_model_folder(folder)
    own = _own_adapters(model, folder)
    return BaseSource(
        name=model,
        folder=folder,
        beacon_folder=own if "beacon" in condensers(own) else None,
        tokenizer=Tokenizer.from_folder(folder, cache),
        context=_context(folder),
        base_fingerprint=model_fingerprint(folder, cache),
        lease=lease,
    )


def _model_folder(model: str, beacon_bits: int | None, cache: Path, progress: Progress, offline: bool) -> Path:
    """Where the model is, or is then: a merged checkpoint or a GGUF file is converted."""
    if model == DEFAULT_MODEL:
        ready = default.find_default()
        if ready is None and offline:
            raise ModelError(f"{model} is not converted here yet; asking anything converts it")
        return ready or _obtained(model, None, cache, progress, offline)
    local = local_model(model)
    if local and local.is_dir() and not is_merged(local):
        return local
    if ready := find_converted(model):
        return ready
    # What was pulled is taken as it is; `beacon models pull` asks for something newer.
    offline = offline or pulled_file(model) is not None
    folder = local or resolve_model(model, kind="model", check=check_if_merged, progress=progress, offline=offline)
    if folder.is_dir() and not is_merged(folder):
        return folder
    return _obtained(model, beacon_bits, cache, progress, offline)


def _obtained(model: str, beacon_bits: int | None, cache: Path, progress: Progress, offline: bool) -> Path:
    from beacon_cli.checkpoints.obtain import obtain  # noqa: PLC0415  # 0.1 s, for which no converted model waits

    return obtain(model, beacon_bits=beacon_bits, cache=cache, progress=progress, offline=offline)


def _beacon_identity(folder: Path, bits: int | None, cache: Path) -> tuple[str, int]:
    """What the beacon in `folder` is when its projections are in `bits`, and in how many they then are."""
    fingerprint, stored = beacon_fingerprint(folder, cache), stored_bits(folder)
    if stored == 4 and bits == 16:
        raise ModelError(
            f"the beacon in {folder} is stored in 4 bits: leave --beacon-bits 16 out, or convert the model again "
            "(beacon models convert … --beacon-bits 16)"
        )
    if stored == 16 and bits == 4:
        return hashlib.sha256(f"{fingerprint} quantized to nf4".encode()).hexdigest(), 4
    return fingerprint, stored


def _context(folder: Path) -> int:
    """`max_position_embeddings` of a checkpoint."""
    context = read_settings(folder).get("max_position_embeddings")
    if type(context) is not int or context < 1:
        raise ModelError(
            f"{folder / CONFIG}: max_position_embeddings is {context!r}, not a number of positions: "
            "restore or download the model again"
        )
    return context
