"""A GGUF file as a model: its configuration and its tensors as transformers names and lays them out.

What is stored in blocks of 2 to 8 bits is dequantized and kept in 16: quantizing it once more, to the 4 bits of other
converted models, would cost accuracy a second time (SmolLM2-135M's Q4_1 file on 4,096 tokens of The Time Machine:
perplexity 28.5 as transformers dequantizes it, 28.5 as kept here, 34.3 quantized once more).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from activation_beacon.four_bits import GROUP, GROUP_BYTES
from activation_beacon.rotary import scaled_rotary
from beacon_cli.checkpoints.convert.conversion import CountingReader, replacing, write_json
from beacon_cli.checkpoints.convert.lora import DTYPE as LORA_DTYPE
from beacon_cli.checkpoints.convert.lora import Lora
from beacon_cli.checkpoints.convert.skeleton import compare, meta_model, tied_head
from beacon_cli.checkpoints.convert.tensor_files import NewTensor, write_tensors
from beacon_cli.checkpoints.decoding_file import DECODING, FIRST, SECOND
from beacon_cli.checkpoints.gguf.file import GgufFile, GgufTensor, names_in_transformers, open_gguf
from beacon_cli.checkpoints.gguf.four_bits import four_bits, in_four_bits
from beacon_cli.checkpoints.gguf.tokenizer import write_tokenizer
from beacon_cli.checkpoints.local.model_folder import CONFIG, SINGLE
from beacon_cli.checkpoints.local.record import Record, write_record
from beacon_cli.errors import ConfigError, ModelError
from beacon_cli.events import Progress, silent

# By what a file calls them: how transformers does, and the class that makes the model. Mistral's files say "llama".
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
# By what each of Llama 3's angles is divided, which files state instead of the rule that it follows from.
_FREQUENCIES = "rope_freqs.weight"


@dataclass(frozen=True)
class GgufModel:
    """A GGUF file that is a whole model, as far as can be told without reading its weights.

    Attributes:
        config: as `config.json` has it.
        weights: by their names in transformers.
    """

    file: GgufFile
    config: dict[str, Any]
    weights: dict[str, GgufTensor]

    @property
    def name(self) -> str:
        """What the file calls the model."""
        return self.file.value("general.name", str, self.file.path.stem)

    @property
    def licence(self) -> str:
        """What the file says of it; empty if nothing."""
        return self.file.value("general.license", str, "")

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(weight.size for weight in self.weights.values())


def open_model(path: Path) -> GgufModel:
    """Read a GGUF file's header and check all that can be known without reading its weights.

    Raises:
        ModelError: naming the first thing that is wrong.
    """
    file = open_gguf(path)
    architecture = file.value("general.architecture", str)
    kind = file.value("general.type", str, "model")
    if architecture == "clip" or kind == "mmproj":
        raise ModelError(f"{path} is a projector for pictures (mmproj), no language model: give the file of the model")
    if kind == "adapter" or "adapter.type" in file.metadata:
        raise ModelError(f"{path} is an adapter (LoRA) and no model: give the file of the model that it is for")
    if architecture not in _ARCHITECTURES or f"{architecture}.expert_count" in file.metadata:
        experts = " with experts" if architecture in _ARCHITECTURES else ""
        raise ModelError(
            f"{path} holds a model of architecture {architecture!r:.40}{experts}, which is not read; "
            f"{', '.join(_ARCHITECTURES)} are (Mistral's files say llama)"
        )
    if not file.tensors:
        raise ModelError(f"{path} holds a vocabulary and no weights: give the file of the model")
    config = _config(file, architecture)
    if config["num_hidden_layers"] > len(file.tensors):
        raise ModelError(
            f"{path} lacks tensors: it has {config['num_hidden_layers']:,} layers in {len(file.tensors):,} tensors"
        )
    try:
        model = meta_model(config)
    except ConfigError as error:
        raise ModelError(f"{path} cannot be converted ({error}): use another file") from error
    tied = tied_head(model)
    shapes = {name: tuple(part.shape) for name, part in model.state_dict().items() if name != tied}
    weights = _weights(file, config, names_in_transformers(architecture, config["num_hidden_layers"], shapes))
    compare(path, shapes, weights)
    return GgufModel(file, config, weights)


def convert_gguf(
    source: GgufModel, target: Path, record: Record, progress: Progress = silent, lora: Lora | None = None
) -> None:
    """Write the model to `target` as a folder with 16-bit weights, replacing what is there.

    The caller sees to it that nobody else writes to `target`.

    Args:
        lora: a change of this model, see `Lora.check`, that is put into its weights.

    Raises:
        ModelError: if the weights hold values that are not finite, the tokenizer cannot be used, or the model cannot be
            written. `target` is then as it was, and nothing else is left.
    """
    reader = CountingReader(source.size, progress)
    tensors = [_new_tensor(name, weight, reader, lora) for name, weight in source.weights.items()]
    dtype = source.config["dtype"] if lora is None else str(LORA_DTYPE).removeprefix("torch.")
    decoding = [
        new
        for name, weight in source.weights.items()
        if name.endswith("_proj.weight") and in_four_bits(weight)
        for new in _in_four_bits(name, weight, lora)
    ]
    with replacing(target, sum(tensor.size for tensor in (*tensors, *decoding))) as folder:
        write_tokenizer(source.file, folder)
        write_tensors(folder / SINGLE, tensors)
        if decoding:
            write_tensors(folder / DECODING, decoding)
        write_json(folder / CONFIG, {**source.config, "dtype": dtype})
        write_record(folder, record)


def _new_tensor(name: str, weight: GgufTensor, reader: CountingReader, lora: Lora | None) -> NewTensor:
    dtype = _dtype(weight) if lora is None else LORA_DTYPE

    def make() -> Tensor:
        tensor = reader.read(weight, dtype)
        return lora.merged(name, tensor) if lora is not None and name in lora.parts else tensor

    return NewTensor(name, dtype, weight.shape, make)


def _in_four_bits(name: str, weight: GgufTensor, lora: Lora | None) -> Iterator[NewTensor]:
    """What `decoding_file` has of a projection."""
    out, inputs = weight.shape
    yield NewTensor(name, torch.uint8, (out, inputs // GROUP, GROUP_BYTES), lambda: four_bits(weight).groups)
    if lora is not None and name in lora.parts:
        for ending, part in zip((FIRST, SECOND), lora.factors(name), strict=True):
            yield NewTensor(name + ending, part.dtype, tuple(part.shape), partial(lambda part: part, part))


def _dtype(weight: GgufTensor) -> torch.dtype:
    """What it is kept in: numbers as they are, what is dequantized in the 16 bits that its scales have."""
    return {"F32": torch.float32, "BF16": torch.bfloat16}.get(weight.kind.name, torch.float16)


def _config(file: GgufFile, architecture: str) -> dict[str, Any]:
    def number(key: str, default: int | None = None) -> int:
        found: int = file.value(f"{architecture}.{key}", int, default)
        if not 1 <= found < 2**31:
            raise ModelError(f"{file.path} is damaged ({architecture}.{key} is {found}): download it again")
        return found

    heads = number("attention.head_count")
    width = number("embedding_length")
    head_dim = number("attention.key_length", max(width // heads, 1))
    if number("rope.dimension_count", head_dim) != head_dim:
        raise ModelError(f"{file.path} rotates a part of each head only, which is not read: use another file")
    embedding = file.tensors.get("token_embd.weight")
    biased = "blk.0.attn_q.bias" in file.tensors
    return {
        "model_type": architecture,
        "architectures": [_ARCHITECTURES[architecture]],
        "hidden_size": width,
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": file.value(f"{architecture}.attention.layer_norm_rms_epsilon", float),
        "rope_theta": file.value(f"{architecture}.rope.freq_base", float, 10000.0),
        "rope_scaling": _rope_scaling(file, architecture, head_dim),
        "max_position_embeddings": number("context_length"),
        "vocab_size": embedding.shape[0] if embedding else 1,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "bos_token_id": file.metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": file.metadata.get("tokenizer.ggml.eos_token_id"),
        "dtype": "float16",
        **({"attention_bias": biased} if architecture != "qwen2" else {}),
    }


def _rope_scaling(file: GgufFile, architecture: str, head_dim: int) -> dict[str, Any] | None:
    kind = file.value(f"{architecture}.rope.scaling.type", str, "none")
    if _FREQUENCIES in file.tensors:
        return _llama3_scaling(file, architecture, head_dim)
    if kind == "none":
        return None
    factor = file.value(f"{architecture}.rope.scaling.factor", float)
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        original = file.value(f"{architecture}.rope.scaling.original_context_length", int)
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    raise ModelError(f"{file.path} scales its positions in the way {kind!r:.40}, which is not read: use another file")


def _llama3_scaling(file: GgufFile, architecture: str, head_dim: int) -> dict[str, Any]:
    """Llama 3.1's (factor 8) or 3.2's (32) rule, whichever gives the divisors that the file states."""
    theta = file.value(f"{architecture}.rope.freq_base", float, 10000.0)
    plain = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    stated = file.tensors[_FREQUENCIES].read(torch.float32)
    for factor in (8.0, 32.0):
        scaling = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        scaled = scaled_rotary(scaling, base=theta, dim=head_dim, positions=8192).inv_freq
        if stated.shape == plain.shape and torch.allclose(plain / scaled, stated, rtol=1e-2):
            return scaling
    raise ModelError(f"{file.path} scales its positions in a way that is not known here: use another file")


def _weights(file: GgufFile, config: dict[str, Any], ours: Mapping[str, str]) -> dict[str, GgufTensor]:
    """The tensors by the names that transformers has for them; what it has none for keeps its own."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    found: dict[str, GgufTensor] = {}
    for name, stored in file.tensors.items():
        if name == _FREQUENCIES:
            continue
        part = name.rpartition(".")[0].rpartition(".")[2]
        interleaved = heads.get(part, 0) if config["model_type"] == "llama" else 0
        if interleaved and stored.shape[0] % (2 * interleaved):
            raise ModelError(f"{file.path} is damaged ({name} has {stored.shape[0]:,} rows): download it again")
        found[ours.get(name, name)] = replace(stored, heads=interleaved)
    return found
