"""GGUF files: what is made of them, and what is refused."""

import random
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import load_file
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from beacon_cli.checkpoints import engine
from beacon_cli.checkpoints.gguf.file import open_gguf
from beacon_cli.checkpoints.gguf.model import open_model
from beacon_cli.checkpoints.gguf.tokenizer import write_tokenizer
from beacon_cli.checkpoints.model_source import BaseSource, locate_base, locate_model
from beacon_cli.checkpoints.obtain import obtain
from beacon_cli.errors import ModelError
from tests.checkpoints.gguf.gguf_files import named, tiny_model, write
from tests.checkpoints.tokenizer.toy_tokenizers import CONTROL, OTHERS, STYLES, TEXT, with_merges_to_control
from tests.cli.runner import assert_refused, run

IDS = torch.arange(3, 103)[None]
PRE = {"gpt2": "gpt-2", "digits": "smollm", "qwen2": "qwen2", "llama3": "llama-bpe", "byte fallback": ""}


def located(path: Path, cache: Path) -> BaseSource:
    return locate_base(str(path), cache)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_it_computes_what_the_original_does(architecture: str, tmp_path: Path, cache_dir: Path) -> None:
    original = tiny_model(architecture, STYLES["gpt2"]().get_vocab_size(), rope_theta=500.0)
    path = write(tmp_path / "tiny.gguf", architecture=architecture, model=original)
    source = located(path, cache_dir)
    base = engine.load_base(source, "cpu")
    assert (source.context, base.packed) == (512, False)
    torch.testing.assert_close(base.model(IDS).logits, original(IDS).logits, atol=1e-5, rtol=1e-5)


def test_tied_embeddings_are_stored_once(tmp_path: Path, cache_dir: Path) -> None:
    path = write(tmp_path / "tiny.gguf", without=("output.weight",))
    base = engine.load_base(located(path, cache_dir), "cpu")
    assert base.model.lm_head.weight.data_ptr() == base.model.model.embed_tokens.weight.data_ptr()


@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q4_1, Kind.Q8_0, Kind.F16, Kind.BF16])
def test_weights_are_dequantized_and_not_quantized_again(kind: Kind, tmp_path: Path, cache_dir: Path) -> None:
    original = tiny_model("qwen2", STYLES["gpt2"]().get_vocab_size())
    source = located(write(tmp_path / "tiny.gguf", architecture="qwen2", model=original, kind=kind), cache_dir)
    weights = load_file(source.folder / "model.safetensors")
    expected = gguf.dequantize(gguf.quantize(named(original, "qwen2")["blk.1.ffn_up.weight"], kind), kind)
    found = weights["model.layers.1.mlp.up_proj.weight"]
    torch.testing.assert_close(found.float(), torch.from_numpy(expected), atol=0, rtol=2**-11)
    assert weights["model.norm.weight"].dtype == torch.float32
    loaded = engine.load_base(source, "cpu").model
    assert torch.equal(loaded.model.layers[1].mlp.up_proj.weight, found.float())


def test_what_does_not_fit_in_float32_is_computed_in_bfloat16(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = located(write(tmp_path / "tiny.gguf"), cache_dir)
    monkeypatch.setattr(engine, "free_memory", lambda: 1000)
    base = engine.load_base(source, "cpu")
    assert (base.dtype, "slow" in base.note) == (torch.bfloat16, True)


@pytest.mark.parametrize("style", PRE)
def test_ids_are_the_originals(style: str, tmp_path: Path, cache_dir: Path) -> None:
    original = (STYLES | OTHERS)[style]()
    source = located(write(tmp_path / "tiny.gguf", tokenizer=original, pre=PRE[style]), cache_dir)
    tokenizer = source.tokenizer
    assert tokenizer.encode(TEXT) == original.encode(TEXT, add_special_tokens=False).ids
    assert tokenizer.encode_prompt("<|user|>\nHi<|end|>") == original.encode("<|user|>\nHi<|end|>").ids
    assert tokenizer.decode(tokenizer.encode(TEXT)) == original.decode(original.encode(TEXT).ids)
    assert tokenizer.eos_ids == {original.token_to_id(CONTROL[0])}
    assert tokenizer.render([{"role": "user", "content": "Hi"}]) == "<|user|>Hi<|end|><|assistant|>"
    assert tokenizer.backend == ("tiktoken" if PRE[style] else "tokenizers")


def test_ids_are_those_of_sentencepiece(tmp_path: Path, cache_dir: Path) -> None:
    """Against the algorithm itself: of neighbours that make a token together, those that make the best join first."""
    rng, pieces = random.Random(0), [TEXT[start : start + 40].replace(" ", "▁") for start in range(0, len(TEXT), 40)]
    whole = tokenizers.Tokenizer(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=600, limit_alphabet=100, show_progress=False)
    whole.train_from_iterator(pieces, trainer)
    learned = sorted(whole.get_vocab(), key=whole.token_to_id)
    tokens = ["<unk>", *CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), *learned]
    # Runs of blanks come last, as in Mistral's vocabulary.
    scores = [-float(number) - 1e6 * (set(token) == {"▁"}) for number, token in enumerate(tokens)]
    original = tokenizers.Tokenizer(tokenizers.models.BPE(dict(zip(tokens, range(len(tokens)), strict=True)), []))
    original.add_special_tokens(["<unk>", *CONTROL])
    values = {"tokenizer.ggml.scores": scores}
    path = write(tmp_path / "tiny.gguf", tokenizer=original, pre="", values=values)
    tokenizer = located(path, cache_dir).tokenizer
    best = dict(zip(tokens, scores, strict=True))

    def encoded(text: str) -> list[int]:
        parts = list("▁" + text.replace(" ", "▁"))
        while found := [
            (-best[parts[i] + parts[i + 1]], i) for i in range(len(parts) - 1) if parts[i] + parts[i + 1] in best
        ]:
            _, first = min(found)
            parts[first : first + 2] = [parts[first] + parts[first + 1]]
        spelled = [[part] if part in best else [f"<0x{byte:02X}>" for byte in part.encode()] for part in parts]
        return [tokens.index(token) for part in spelled for token in part]

    for _ in range(60):
        start = rng.randrange(len(TEXT))
        text = TEXT[start : start + rng.randrange(1, 60)] + " " * rng.randrange(6) + rng.choice(("aaaa", "🙂", ""))
        assert tokenizer.encode(text) == encoded(text)
        assert tokenizer.decode(encoded(text)) == text


def test_llama_3s_positions(tmp_path: Path, cache_dir: Path) -> None:
    rule = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_theta": 500000.0,
    }
    original = tiny_model("llama", STYLES["gpt2"]().get_vocab_size(), rope_parameters=rule)
    scaled = LlamaRotaryEmbedding(LlamaConfig(head_dim=16, rope_parameters=rule)).inv_freq
    divisors = (500000.0 ** (-torch.arange(0, 16, 2) / 16) / scaled).numpy()
    path = write(tmp_path / "tiny.gguf", model=original, tensors={"rope_freqs.weight": divisors})
    base = engine.load_base(located(path, cache_dir), "cpu")
    torch.testing.assert_close(base.model(IDS).logits, original(IDS).logits, atol=1e-5, rtol=1e-5)
    strange = write(tmp_path / "strange.gguf", tensors={"rope_freqs.weight": np.full(8, 3.0)})
    with pytest.raises(ModelError, match="scales its positions"):
        open_model(strange)


def test_it_is_converted_once(tmp_path: Path, cache_dir: Path) -> None:
    path = write(tmp_path / "tiny.gguf")
    folder, fingerprint = located(path, cache_dir).folder, located(path, cache_dir).base_fingerprint
    before = (folder / "model.safetensors").stat()
    assert located(path, cache_dir).base_fingerprint == fingerprint
    assert (folder / "model.safetensors").stat() == before
    elsewhere = obtain(str(path), beacon_bits=None, cache=cache_dir, target=tmp_path / "elsewhere")
    assert locate_base(str(elsewhere), cache_dir).base_fingerprint == fingerprint
    write(path, kind=Kind.Q8_0)
    assert located(path, cache_dir).base_fingerprint != fingerprint
    # A folder with nothing else in it is taken for the file; what turns pictures into inputs is not the model.
    (tmp_path / "mmproj-tiny-f16.gguf").write_bytes(b"GGUF")
    assert located(tmp_path, cache_dir).folder == located(path, cache_dir).folder
    with pytest.raises(ModelError, match="there is no file"):
        located(tmp_path / "other.gguf", cache_dir)
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"holds 2 GGUF files: name one, .*/other\.gguf"):
        located(tmp_path, cache_dir)
    (tmp_path / "other.gguf").unlink()
    with pytest.raises(ModelError, match="brings no beacon"):
        locate_model(str(path), None, cache_dir, condense="beacon")
    assert locate_model(str(path), None, cache_dir).condense == "select"


def test_on_the_command_line(tmp_path: Path, models_dir: Path) -> None:
    path = write(tmp_path / "tiny.gguf")
    converted = run("models", "convert", str(path))
    assert converted.code == 0, converted.err
    assert Path(converted.out.strip()).parent == models_dir
    shown = run("models", "show", str(path), "--json").json
    assert (shown["state"], shown["base"], shown["licence"], shown["condense"]) == (
        "converted",
        "Tiny",
        "mit",
        "select",
    )
    assert run("models", "list").code == 0
    (tmp_path / "half.gguf").write_bytes(path.read_bytes()[:-1000])
    assert_refused(run("models", "convert", str(tmp_path / "half.gguf")), "1,000 of its", "bytes are missing")
    assert run("models", "rm", str(path)).code == 0
    assert list(models_dir.iterdir()) == []


# What is refused.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": "llama", "values": {"general.type": "mmproj"}}, "projector"),
        ({"values": {"general.type": "adapter"}}, "adapter"),
        ({"values": {"llama.expert_count": 8}}, "with experts"),
        ({"values": {"split.count": 3}}, "one of 3 parts of a model, and the others are found by their names"),
        ({"values": {"adapter.type": "lora"}}, "adapter"),
        ({"values": {"tokenizer.ggml.model": "no_vocab"}}, "holds no tokenizer"),
        ({"values": {"tokenizer.ggml.model": "bert"}}, "of kind 'bert'"),
        ({"without": ("tokenizer.ggml.tokens",)}, "holds no tokenizer"),
        ({"without": ("tokenizer.ggml.pre",)}, "splits text in the way ''"),
        ({"values": {"tokenizer.ggml.pre": "viking"}}, "splits text in the way 'viking'"),
        ({"without": ("tokenizer.ggml.merges",)}, "no merges"),
        ({"values": {"tokenizer.ggml.token_type": [1]}}, "control tokens"),
        ({"values": {"tokenizer.ggml.eos_token_id": 10**6}}, "its eos token"),
        ({"values": {"tokenizer.ggml.merges": ["a"]}}, "its tokenizer cannot be used"),
        ({"values": {"llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 2.0}}, "'longrope'"),
        ({"values": {"llama.rope.dimension_count": 8}}, "part of each head"),
        ({"values": {"llama.block_count": 0}}, "block_count is 0"),
        ({"values": {"llama.block_count": 2**31 - 1}}, "lacks tensors"),
        ({"values": {"llama.block_count": "two"}}, "block_count is no int"),
        ({"values": {"llama.attention.head_count": 3}}, "cannot be converted|config.json asks for|rows"),
        ({"without": ("llama.embedding_length",)}, "embedding_length is missing"),
        ({"without": ("blk.1.ffn_up.weight",)}, "lacks 1 of its tensors"),
        ({"tensors": {"blk.0.strange.weight": np.zeros((2, 2))}}, "has no place for"),
        ({"tensors": {"blk.2.ffn_up.weight": np.zeros((2, 2))}}, "has no place for"),
        ({"values": {"general.alignment": 24}}, "general.alignment is 24"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf", **change)
    with pytest.raises(ModelError, match=reason) as refusal:
        write_tokenizer(open_model(path).file, tmp_path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_other_architectures(tmp_path: Path) -> None:
    for name in ("gemma3", "clip", "mistral"):
        writer = gguf.GGUFWriter(tmp_path / "other.gguf", name)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(ModelError, match="projector" if name == "clip" else f"architecture '{name}'"):
            open_model(tmp_path / "other.gguf")


def test_not_whole_or_no_gguf_at_all(tmp_path: Path) -> None:
    content = write(tmp_path / "tiny.gguf").read_bytes()
    whole = tmp_path / "model.gguf"

    def refusal(path: Path, content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(ModelError) as error:
            open_gguf(path)
        return str(error.value)

    assert f"12,345 of its {len(content):,} bytes are missing" in refusal(whole, content[:-12_345])
    assert "cut off within its header" in refusal(whole, content[:1000])
    assert "cut off within its header" in refusal(whole, content[:6])
    for other in (b"", b"GG", b"\x80\x02pickle", content[1:]):
        assert "is no GGUF file" in refusal(whole, other)
    assert "version 1 of the format" in refusal(whole, b"GGUF" + struct.pack("<I", 1) + content[8:])
    assert "version" in refusal(whole, b"GGUF" + struct.pack(">I", 3) + content[8:])
    for piece in ("model.gguf.part1of2", "model.gguf-split-a"):
        assert "join all of them" in refusal(tmp_path / piece, content[:-1])
        assert "join all of them" in refusal(tmp_path / piece, content[100:])
    with pytest.raises(ModelError, match="cannot be read"):
        open_gguf(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<IQQ", 3, 2**63, 0),
        struct.pack("<IQQ", 3, 0, 2**63),
        struct.pack("<IQQQ", 3, 0, 1, 2**63),
        struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**60),  # so many texts
        struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 0, 2**64 - 1),  # so many bytes
        struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 1),  # a sequence of sequences
        struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77),
        struct.pack("<IQQQ1sIQQIQ", 3, 1, 0, 1, b"t", 2, 2**40, 2**40, 0, 0),  # so large a tensor
        struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 0, 0, 0),
        struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 32, 0, 2**64 - 32),  # so far away
        struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 32, 0, 7),
        struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 32, 999, 0),
        struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 31, 2, 0),  # not a whole block
        struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"t", 2**32 - 1),
    ],
)
def test_hostile_headers(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(b"GGUF" + header + bytes(200))
    with pytest.raises(ModelError) as refusal:
        open_gguf(path)
    assert "\n" not in str(refusal.value)


def test_values_that_are_no_numbers(tmp_path: Path, cache_dir: Path, models_dir: Path) -> None:
    original = tiny_model("llama", STYLES["gpt2"]().get_vocab_size())
    original.model.layers[1].mlp.up_proj.weight[3, 4] = float("nan")
    path = write(tmp_path / "tiny.gguf", model=original)
    with pytest.raises(ModelError, match=r"blk\.1\.ffn_up\.weight holds values that are not finite"):
        located(path, cache_dir)
    assert list(models_dir.iterdir()) == []


@pytest.mark.parametrize("style", PRE)
def test_control_tokens_that_a_text_spells_are_text(style: str, tmp_path: Path, cache_dir: Path) -> None:
    spelled = ("<|im_end|>", "[INST]", "</s>")
    original = with_merges_to_control((STYLES | OTHERS)[style](), *spelled)
    numbers = {original.token_to_id(token) for token in (*CONTROL, *spelled)}
    kinds = [3 if number in numbers else 1 for number in range(original.get_vocab_size())]
    values = {"tokenizer.ggml.token_type": kinds}
    path = write(tmp_path / "tiny.gguf", tokenizer=original, pre=PRE[style], values=values)
    tokenizer = located(path, cache_dir).tokenizer
    for token in spelled:
        ids = tokenizer.encode(f"the {token} {token}")
        assert not numbers & set(ids)
        assert tokenizer.decode(ids) == f"the {token} {token}"
        assert tokenizer.encode_prompt(token)[-1] == original.token_to_id(token)
