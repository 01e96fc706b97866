"""A loaded model: the 4-bit LLM, made ready to condense, with its beacon installed if it has one."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from activation_beacon import Attached, SequenceReader, attach
from activation_beacon.products import eight_bit_weights
from beacon_cli.checkpoints.adapter import load_adapter
from beacon_cli.checkpoints.arithmetic import Arithmetic, fast_arithmetic
from beacon_cli.checkpoints.convert.four_bit import settings as four_bit_settings
from beacon_cli.checkpoints.decoding_file import fill_four_bits
from beacon_cli.checkpoints.lean import fill, outline
from beacon_cli.checkpoints.local.model_folder import read_settings, weight_files
from beacon_cli.checkpoints.local.record import RECORD_FILE, read_record
from beacon_cli.checkpoints.memory import WEIGHTS_SHARE, free_memory
from beacon_cli.checkpoints.model_source import BaseSource, ModelSource
from beacon_cli.checkpoints.threads import usable_cores
from beacon_cli.errors import ModelError, SettingsError
from beacon_cli.settings import Device as Device

# So many rows at most have their products with packed weights: a token, and the beacons after it.
FEW_ROWS = 4
# Layers of so many weights at most, in four bits, are computed by one thread then (`benchmarks/decoding.py`).
SMALL_LAYER = 5_000_000


@dataclass(frozen=True)
class Base:
    """A base model alone, frozen.

    Attributes:
        device: where it runs.
        dtype: of hidden states and memories.
        packed: whether its projections are in 4 bits still, or again matrices.
        note: what its user should know about how it runs; empty if nothing.
        arithmetic: the types of its products, where they are not all `dtype`.
    """

    model: Any
    device: torch.device
    dtype: torch.dtype
    packed: bool = False
    note: str = ""
    arithmetic: Arithmetic | None = None

    @property
    def computing(self) -> str:
        """What is computed in, for people to read, like "bfloat16+int4": products of many rows, and of few."""
        if self.arithmetic is None:
            return str(self.dtype).removeprefix("torch.")
        return "+".join(dict.fromkeys((self.arithmetic.reading, self.arithmetic.decoding)))


@dataclass(frozen=True, kw_only=True)
class Engine(Base):
    """Everything that reading and answering need.

    Attributes:
        source: which model this is.
        attached: the model, with its beacon if it has one.
    """

    source: ModelSource
    attached: Attached

    def reader(self, ratio: int) -> SequenceReader:
        """A reader with an empty memory that condenses every interval at `ratio`.

        On a CUDA device, one with a beacon decodes from a graph (`benchmarks/gpu.py`), if frequencies stay as they are.
        """
        if self.source.info is None:
            return self.attached.selecting_reader(ratio, self.source.selection)
        static = self.device.type == "cuda" and not self.attached.rotary.grows
        return self.attached.reader(ratio, static=static)


def load_engine(source: ModelSource, device: Device = "auto", threads: int | None = None) -> Engine:
    """Load the weights: 4-bit on CUDA (bf16 compute); on the CPU dequantized once to float32 where that fits.

    Weights that are not 4-bit yet are quantized on the way (NF4, double quantization), so that a model means the same
    on every device.

    Args:
        threads: that compute on the CPU, in all of the process; None for those that torch has, if there are processors
            for them.

    Raises:
        ModelError: if the weights are missing, damaged or of an architecture that cannot carry a beacon.
        SettingsError: if CUDA is asked for and not there.
    """
    torch.set_num_threads(threads or min(torch.get_num_threads(), usable_cores()))
    base = _load_lean(source, device) or load_base(source, device)
    if source.beacon_folder is None or source.info is None:
        attached = attach(base.model, None)
    else:
        beacon = load_adapter(
            source.beacon_folder, base.model, bits=source.beacon_bits, packed=base.packed,
            dtype=base.model.get_input_embeddings().weight.dtype, device=base.device,
        )  # fmt: skip
        attached = attach(base.model, beacon, rope_scaling=source.info.rope_scaling)
    return Engine(**vars(base), source=source, attached=attached)


def _load_lean(source: ModelSource, device: Device) -> Base | None:
    """The base model for the CPU, in the arithmetic that is fast there; None if that is left to transformers."""
    if pick_device(device).type != "cpu" or (model := outline(read_settings(source.folder))) is None:
        return None
    arithmetic = fast_arithmetic()
    bytes_each = arithmetic.dtype.itemsize + (arithmetic.decoding != "float32")
    if bytes_each * sum(each.numel() for each in model.parameters()) > WEIGHTS_SHARE * free_memory():
        return None
    if not fill(model, source.folder, bits=_weight_bits(source.folder), dtype=arithmetic.dtype):
        return None
    if arithmetic.decoding == "int4" and not fill_four_bits(model, source.folder):
        arithmetic = replace(arithmetic, decoding="int8")
    if arithmetic.decoding != "float32":
        layer = sum(each.numel() for each in model.model.layers[0].parameters())
        alone = arithmetic.decoding == "int4" and layer <= SMALL_LAYER
        model.pack(eight_bit_weights, FEW_ROWS, threads=1 if alone else None)
    return Base(model, torch.device("cpu"), torch.float32, arithmetic=arithmetic)


def load_base(source: ModelSource | BaseSource, device: Device = "auto", *, bits: int = 4) -> Base:
    """Load a base model as `load_engine` does; with 16 `bits` nothing is quantized, and what is stored so dequantized.

    Raises:
        ModelError: if the weights are missing or damaged.
        SettingsError: if CUDA is asked for and not there.
    """
    place = pick_device(device)
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415  takes seconds, which most commands can do without

    # What transformers and bitsandbytes say while loading is about them, not about the user's document.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    note, packed = "", False
    if bits == 4 and _weight_bits(source.folder) == 16:
        needed = 2 * sum(path.stat().st_size for path in weight_files(source.folder))
        if place.type == "cpu" and (note := _too_large(needed, "bfloat16")):
            dtype = torch.bfloat16
        model = _load(source.folder, place, dtype, None)
    elif bits == 4:
        model = load_four_bit(source, place, dtype)
        note = _too_large(4 * model.num_parameters(), "4-bit") if place.type == "cpu" else ""
        packed = place.type != "cpu" or bool(note)
        if not packed:
            model = model.dequantize(dtype=dtype).to(dtype)
    else:
        model = _load(source.folder, place, dtype, None)
        if getattr(model.config, "quantization_config", None) is not None:
            model = model.dequantize(dtype=dtype).to(dtype)
    return Base(model.requires_grad_(False).eval(), place, dtype, packed, note)


def _weight_bits(folder: Path) -> int:
    """16 for a converted model whose weights were dequantized (to quantize them once more would cost accuracy), else
    4."""
    return read_record(folder).weight_bits if (folder / RECORD_FILE).exists() else 4


def _too_large(needed: int, instead: str) -> str:
    """What is said where so many bytes of float32 weights do not fit; empty where they do."""
    if needed <= WEIGHTS_SHARE * free_memory():
        return ""
    return (
        f"computing in {instead} on the CPU, which is slow: {needed / 2**30:.1f} GiB of float32 weights do not fit "
        f"into the {free_memory() / 2**30:.1f} GiB that are free"
    )


def pick_device(device: Device) -> torch.device:
    """The device that a `--device` value means here.

    Raises:
        SettingsError: if it is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("no CUDA device is available here; use --device cpu or --device auto")
    return torch.device(device)


def load_four_bit(source: ModelSource | BaseSource, device: torch.device, dtype: torch.dtype) -> Any:
    """The base model with its weights in 4 bits, computing in `dtype`.

    Raises:
        ModelError: if its weights are missing, damaged or unsuitable.
    """
    return _load(source.folder, device, dtype, four_bit_settings(dtype))


def _load(folder: Path, device: torch.device, dtype: torch.dtype, quantization: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415  as above

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        stored = getattr(config, "quantization_config", None)
        if stored is not None:
            # Weights keep their stored form; only the type they are computed in is this machine's.
            config.quantization_config = {**stored, "bnb_4bit_compute_dtype": str(dtype).removeprefix("torch.")}
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            device_map={"": device},
            quantization_config=None if stored is not None else quantization,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except Exception as error:  # configuration classes and model code raise anything for values that cannot be used
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"the model in {folder} cannot be loaded ({reason}): download or convert it again") from error
    return model
