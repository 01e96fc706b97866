"""Small GGUF files, written as llama.cpp's converter writes them."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tokenizers

from tests.activation_beacon import tiny
from tests.checkpoints.tokenizer.toy_tokenizers import CONTROL, ORDINARY, STYLES, TEMPLATE


def tiny_model(architecture: str, vocabulary: int, **settings: Any) -> Any:
    """Two layers of random weights, whose rows are whole blocks of 32."""
    shape = {"vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 96, "head_dim": 16}
    shape |= {"initializer_range": 0.02, "tie_word_embeddings": False}
    return tiny.tiny_model(architecture, **(shape | settings)).requires_grad_(False)


def write(
    path: Path,
    *,
    architecture: str = "llama",
    tokenizer: tokenizers.Tokenizer | None = None,
    pre: str = "gpt-2",
    model: Any = None,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    values: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    tensors: dict[str, np.ndarray] | None = None,
    per_part: int = 0,
) -> Path:
    """Write a model and a tokenizer; of a split file, the path of the first part is returned.

    Args:
        kind: what matrices are stored as.
        values: metadata, beside or in place of what belongs to the model.
        without: metadata and tensors to leave out.
        tensors: more tensors.
        per_part: how many tensors a part has; 0 writes a single file.
    """
    tokenizer = tokenizer or STYLES["gpt2"]()
    model = model or tiny_model(architecture, tokenizer.get_vocab_size())
    c = model.config
    metadata: dict[str, Any] = {
        "general.name": "Tiny",
        "general.license": "mit",
        f"{architecture}.block_count": c.num_hidden_layers,
        f"{architecture}.context_length": c.max_position_embeddings,
        f"{architecture}.embedding_length": c.hidden_size,
        f"{architecture}.feed_forward_length": c.intermediate_size,
        f"{architecture}.attention.head_count": c.num_attention_heads,
        f"{architecture}.attention.head_count_kv": c.num_key_value_heads,
        f"{architecture}.attention.key_length": c.head_dim,
        f"{architecture}.attention.layer_norm_rms_epsilon": c.rms_norm_eps,
        f"{architecture}.rope.freq_base": float(c.rope_parameters["rope_theta"]),
        **tokenizer_values(tokenizer, pre),
        **(values or {}),
    }
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=per_part)
    for key, value in metadata.items():
        if key not in without:
            add(writer, key, value)
    for name, tensor in {**named(model, architecture), **(tensors or {})}.items():
        if name in without:
            continue
        if tensor.ndim == 1 or kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, tensor.astype(np.float32))
        else:
            writer.add_tensor(name, gguf.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path if not per_part else min(path.parent.glob(f"{path.stem}-*-of-*.gguf"))


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """A value of the type that fits it."""
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    kinds.get(type(value), writer.add_array)(key, value)


def tokenizer_values(tokenizer: tokenizers.Tokenizer, pre: str) -> dict[str, Any]:
    """A tokenizer as metadata; `pre` is empty for one in the way of SentencePiece."""
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    special = [*CONTROL, "<unk>"]
    kinds = [3 if token in special else 4 if token == ORDINARY else 1 for token in vocabulary]
    values: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2" if pre else "llama",
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.eos_token_id": tokenizer.token_to_id("<|end|>"),
        "tokenizer.chat_template": TEMPLATE,
    }
    if not pre:
        scores = [-float(i) for i in range(len(vocabulary))]
        return {**values, "tokenizer.ggml.scores": scores, "tokenizer.ggml.unknown_token_id": 0}
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    return {**values, "tokenizer.ggml.pre": pre, "tokenizer.ggml.merges": merges}


def named(model: Any, architecture: str) -> dict[str, np.ndarray]:
    """The model's tensors under the names that the format has, Llama's projections in its order of rows."""
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    found = {}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], model.config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        values, stored = tensor.float().numpy(), names.get_name(name, (".weight", ".bias"))
        if architecture == "llama" and (count := heads.get(stored.split(".")[-2])):
            values = values.reshape(count, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        found[stored] = values
    return found
