"""Converting merged checkpoints: what comes of them, and what is refused."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from activation_beacon.rotary import AuthorsYarnRotary
from activation_beacon.scorer import Scorer, save_scorer
from beacon_cli.checkpoints import engine
from beacon_cli.checkpoints.convert import conversion
from beacon_cli.checkpoints.convert.tensor_files import read_header
from beacon_cli.checkpoints.local.converted import find_converted, remove
from beacon_cli.checkpoints.local.lease import Lease
from beacon_cli.checkpoints.local.record import read_record
from beacon_cli.checkpoints.model_source import locate_model
from beacon_cli.checkpoints.obtain import obtain
from beacon_cli.durable.locks import flock
from beacon_cli.errors import BeaconError, ModelError
from beacon_cli.events import Event, Note, Transfer
from tests.checkpoints.merged_checkpoints import BETWEEN, V1, V2, Checkpoint, checkpoint

TEXT = list(range(3, 103))
INDEX = "model.safetensors.index.json"
FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))


def convert(source: Path, cache: Path, bits: int | None = None, target: Path | None = None) -> Path:
    return obtain(str(source), beacon_bits=bits, cache=cache, target=target)


def read(folder: Path, cache: Path, bits: int | None = None) -> torch.Tensor:
    """The logits after a text, condensed on its way."""
    return engine.load_engine(locate_model(str(folder), None, cache, bits), "cpu").reader(4).read(TEXT)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return checkpoint(V2).write(tmp_path / "merged")


@pytest.mark.parametrize("settings", [V1, BETWEEN, V2], ids=["v1", "between", "v2"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_base_is_what_transformers_quantizes_on_the_way(
    settings: dict[str, Any], dtype: torch.dtype, tmp_path: Path, cache_dir: Path
) -> None:
    merged = checkpoint(settings, dtype=dtype)
    folder = convert(merged.write(tmp_path / "merged"), cache_dir)
    plain = Checkpoint(
        {k: v for k, v in merged.settings.items() if not k.startswith("beacon_") and k != "auto_map"},
        {name: tensor for name, tensor in merged.tensors.items() if "beacon" not in name},
    ).write(tmp_path / "plain")
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    theirs = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.bfloat16, quantization_config=quantization)
    ours = AutoModelForCausalLM.from_pretrained(folder)
    kinds = {name: type(module) for name, module in theirs.named_modules()}
    assert {name: type(module) for name, module in ours.named_modules()} == kinds
    expected = theirs.dequantize().state_dict()
    found = ours.dequantize().state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("settings", [V1, BETWEEN, V2], ids=["v1", "between", "v2"])
def test_the_beacon_keeps_its_weights(settings: dict[str, Any], tmp_path: Path, cache_dir: Path) -> None:
    merged = checkpoint(settings)
    folder = convert(merged.write(tmp_path / "merged"), cache_dir)
    beacon = load_file(folder / "beacon" / "beacon.safetensors")
    theirs = {name: tensor for name, tensor in merged.tensors.items() if "beacon" in name}
    assert len(beacon) == len(theirs)
    assert torch.equal(beacon["embedding"], theirs["model.beacon_embed_tokens.weight"][0])
    assert torch.equal(beacon["layers.1.v.weight"], theirs["model.layers.1.self_attn.beacon_v_proj.weight"])
    source = locate_model(str(tmp_path / "merged"), None, cache_dir)
    assert source.folder == folder
    assert source.ratios == tuple(merged.settings["beacon_ratio"])
    assert engine.load_engine(source, "cpu").reader(8).read(TEXT).isfinite().all()


def test_the_folder_is_an_ordinary_model(source: Path, cache_dir: Path, models_dir: Path) -> None:
    folder = convert(source, cache_dir)
    assert folder.parent == models_dir
    config = json.loads((folder / "config.json").read_text())
    assert not [key for key in config if "beacon" in key or key == "auto_map"]
    assert config["quantization_config"]["bnb_4bit_use_double_quant"] is True
    names = {path.name for path in folder.iterdir()}
    assert {"tokenizer.json", "LICENSE", "README.md", "generation_config.json", "beacon"} < names
    assert not [name for name in names if name.endswith(".py")]
    record = read_record(folder)
    assert (record.generation, record.licence, record.beacon_bits) == ("v2", "mit", 16)
    assert [path.name for path in models_dir.iterdir()] == [folder.name]


def test_a_scorer_in_its_repository_comes_with_it(source: Path, cache_dir: Path) -> None:
    folder = convert(source, cache_dir)
    fingerprint = locate_model(str(folder), None, cache_dir).base_fingerprint
    save_scorer(source / "beacon", Scorer(torch.zeros(2, 65, 2), "model", fingerprint))
    (source / "beacon" / "measured.json").write_text('{"kept": {"beacon": {"4": 0.5}, "scorer": {"4": 0.9}}}')
    remove(folder, cache_dir)
    convert(source, cache_dir)
    found = locate_model(str(folder), None, cache_dir)
    assert (found.condense, found.kept, found.selection.scorer is None) == ("scorer", {4: 0.9}, False)


def test_the_second_start_reads_no_weights_to_know_what_they_are(
    source: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = convert(source, cache_dir)
    for path in folder.rglob("*.safetensors"):
        os.utime(path, (1, 1))  # what has just been written may still change within the clock's tick
    found = locate_model(str(folder), None, cache_dir)

    def refuse(*arguments: object) -> None:
        raise AssertionError("a file was hashed")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    again = locate_model(str(folder), None, cache_dir)
    assert (again.base_fingerprint, again.beacon_fingerprint) == (found.base_fingerprint, found.beacon_fingerprint)


def test_shards_are_bounded(source: Path, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = convert(source, cache_dir)
    monkeypatch.setattr(conversion, "SHARD_BYTES", 30_000)
    folder = convert(source, cache_dir, target=tmp_path / "sharded")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 3
    # No more than the limit, or one tensor that is longer.
    assert all(shard.stat().st_size < 60_000 or len(list(safe_open(shard, "pt").keys())) == 1 for shard in shards)
    assert torch.equal(read(folder, cache_dir), read(whole, cache_dir))


def test_a_beacon_in_4_bits_is_another_one(source: Path, tmp_path: Path, cache_dir: Path) -> None:
    wide = convert(source, cache_dir)
    narrow = convert(source, cache_dir, bits=4, target=tmp_path / "narrow")
    sizes = [(folder / "beacon" / "beacon.safetensors").stat().st_size for folder in (wide, narrow)]
    assert sizes[1] < 0.6 * sizes[0]
    identities = {
        locate_model(str(folder), None, cache_dir, bits).beacon_fingerprint
        for folder, bits in ((wide, None), (wide, 4), (narrow, None))
    }
    assert len(identities) == 3
    assert not torch.equal(read(narrow, cache_dir), read(wide, cache_dir))
    # Quantizing while loading comes to the same.
    assert torch.equal(read(narrow, cache_dir), read(wide, cache_dir, bits=4))
    with pytest.raises(ModelError, match="stored in 4 bits"):
        locate_model(str(narrow), None, cache_dir, 16)


def test_a_packed_beacon_computes_what_a_dequantized_one_does(
    source: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = convert(source, cache_dir, bits=4)
    expected = read(folder, cache_dir)
    monkeypatch.setattr(engine, "free_memory", lambda: 1000)
    torch.testing.assert_close(read(folder, cache_dir), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("stored", [False, True])
def test_tied_embeddings(stored: bool, tmp_path: Path, cache_dir: Path) -> None:
    merged = checkpoint(V2, tie_word_embeddings=True)
    if stored:
        merged.tensors["lm_head.weight"] = merged.tensors["model.embed_tokens.weight"].clone()
    folder = convert(merged.write(tmp_path / "merged"), cache_dir)
    assert "lm_head.weight" not in read_names(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def read_names(folder: Path) -> set[str]:
    shards = [safe_open(shard, "pt") for shard in folder.glob("model*.safetensors")]
    return {name for shard in shards for name in shard.keys()}  # noqa: SIM118  # it is no dict


def test_a_buffer_of_old_checkpoints_is_passed_over(tmp_path: Path, cache_dir: Path) -> None:
    merged = checkpoint(V1)
    merged.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    assert not [
        name for name in read_names(convert(merged.write(tmp_path / "merged"), cache_dir)) if "inv_freq" in name
    ]


def test_the_authors_yarn_is_kept(tmp_path: Path, cache_dir: Path) -> None:
    merged = checkpoint(V2, rope_scaling={"type": "yarn", "factor": 4.0})
    source = locate_model(str(convert(merged.write(tmp_path / "merged"), cache_dir)), None, cache_dir)
    assert source.info.rope_scaling == {"type": "yarn", "factor": 4.0}
    assert isinstance(engine.load_engine(source, "cpu").attached.rotary, AuthorsYarnRotary)


def test_what_is_converted_stays(source: Path, cache_dir: Path) -> None:
    folder = convert(source, cache_dir)
    before = (folder / "model.safetensors").stat()
    assert convert(source, cache_dir) == folder
    assert (folder / "model.safetensors").stat() == before
    assert convert(source, cache_dir, bits=4) == folder
    assert read_record(folder).beacon_bits == 4
    # Nothing was asked for that it is not.
    assert read_record(convert(source, cache_dir)).beacon_bits == 4


def test_a_checkpoint_that_changed_is_converted_anew(source: Path, cache_dir: Path) -> None:
    before = locate_model(str(source), None, cache_dir).base_fingerprint
    shard = load_file(source / FIRST)
    save_file({name: tensor * 2 for name, tensor in shard.items()}, source / FIRST, metadata={"format": "pt"})
    assert locate_model(str(source), None, cache_dir).base_fingerprint != before


def test_two_at_once_convert_once(source: Path, cache_dir: Path) -> None:
    waiting = threading.Event()
    notes: list[Event] = []
    made: list[Path] = []

    def note(event: Event) -> None:
        notes.append(event)
        waiting.set()

    def second() -> None:
        made.append(obtain(str(source), beacon_bits=None, cache=cache_dir, progress=note))

    thread = threading.Thread(target=second)

    def converting(event: Event) -> None:
        if isinstance(event, Transfer) and not thread.ident:
            thread.start()
            assert waiting.wait(60)

    obtain(str(source), beacon_bits=None, cache=cache_dir, progress=converting)
    thread.join()
    assert [type(note) for note in notes] == [Note]
    assert made == [find_converted(str(source))]


def test_an_interrupted_conversion_leaves_nothing(source: Path, cache_dir: Path, models_dir: Path) -> None:
    for count in range(0, 40, 6):
        countdown = iter([None] * count)

        def interrupt(event: Event, countdown: Iterator[None] = countdown) -> None:
            if next(countdown, event):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            obtain(str(source), beacon_bits=None, cache=cache_dir, progress=interrupt)
        assert not models_dir.exists() or list(models_dir.iterdir()) == []


def test_a_killed_conversion_is_cleaned_up_by_the_next(
    source: Path, tmp_path: Path, cache_dir: Path, models_dir: Path
) -> None:
    kill = """
import itertools, os, signal, sys
from pathlib import Path
from beacon_cli.checkpoints.obtain import obtain
events = itertools.count()
def kill(event):
    if next(events) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
obtain(sys.argv[1], beacon_bits=None, cache=Path(sys.argv[2]), progress=kill)
"""
    done = subprocess.run([sys.executable, "-c", kill, str(source), str(cache_dir)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = models_dir.iterdir()
    assert find_converted(str(source)) is None
    other = checkpoint(V1).write(tmp_path / "other")
    convert(other, cache_dir)
    assert not left.exists()
    convert(source, cache_dir)
    assert len(list(models_dir.iterdir())) == 2


def test_one_in_use_is_neither_replaced_nor_removed(source: Path, cache_dir: Path) -> None:
    folder = convert(source, cache_dir)
    lease = Lease(folder)
    with pytest.raises(ModelError, match="in use"):
        convert(source, cache_dir, bits=4)
    with pytest.raises(ModelError, match="in use"):
        remove(folder, cache_dir)
    assert read_record(folder).beacon_bits == 16
    lease.release()
    remove(folder, cache_dir)
    assert not folder.exists()


def test_who_waits_for_a_new_conversion_leases_what_comes_of_it(
    source: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = convert(source, cache_dir)
    waited = iter(range(100))

    def wait(descriptor: int, *, alone: bool) -> None:
        if next(waited) == 0:
            convert(source, cache_dir, bits=4)
        flock(descriptor, alone=alone)

    with monkeypatch.context() as patched:
        patched.setattr("beacon_cli.checkpoints.local.lease.flock", wait)
        lease = Lease(folder)
    with pytest.raises(ModelError, match="in use"):
        remove(folder, cache_dir)
    assert read_record(folder).beacon_bits == 4
    lease.release()
    remove(folder, cache_dir)


def test_other_things_are_not_overwritten(source: Path, tmp_path: Path, cache_dir: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "draft.txt").write_text("years of work")
    with pytest.raises(ModelError, match="no converted model"):
        convert(source, cache_dir, target=tmp_path / "thesis")
    with pytest.raises(ModelError, match="no converted model"):
        convert(source, cache_dir, target=tmp_path / "thesis" / "draft.txt")
    folder = convert(source, cache_dir, target=tmp_path / "made")
    with pytest.raises(ModelError, match=f"holds {source}"):
        convert(checkpoint(V1).write(tmp_path / "other"), cache_dir, target=folder)
    assert (tmp_path / "thesis" / "draft.txt").read_text() == "years of work"


# What can be wrong with a checkpoint: how it is made so, and what the refusal says.


Change = Callable[[Checkpoint], object]


def rename(old: str, new: str) -> Change:
    return lambda merged: merged.tensors.update({new: merged.tensors.pop(old)})


def without(name: str) -> Change:
    return lambda merged: merged.tensors.pop(name)


def put(name: str, tensor: torch.Tensor) -> Change:
    return lambda merged: merged.tensors.update({name: tensor})


def spoil(name: str, value: float) -> Change:
    return lambda merged: merged.tensors[name].view(-1)[-1:].fill_(value)


def setting(**values: Any) -> Change:
    return lambda merged: merged.settings.update(values)


Q, BEACON_Q = "model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.beacon_q_proj.weight"
EMBEDDING = "model.beacon_embed_tokens.weight"
CHANGES: dict[str, tuple[Change, str]] = {
    "missing base": (without(Q), f"lacks 1 of its tensors ({Q})"),
    "missing beacon": (without(BEACON_Q), "lacks 1 of its tensors (layers.1.q.weight)"),
    "missing embedding": (without(EMBEDDING), "lacks 1 of its tensors (embedding)"),
    "missing head": (without("lm_head.weight"), "(lm_head.weight)"),
    "extra base": (put("model.layers.2.mlp.up_proj.weight", torch.ones(128, 64)), "holds 1 tensor that config.json"),
    "extra beacon letter": (rename(BEACON_Q, BEACON_Q.replace("_q_", "_o_")), "lacks 1 of its tensors"),
    "unknown beacon": (put("model.layers.0.mlp.beacon_up_proj.weight", torch.ones(2, 2)), "unknown beacon parameter"),
    "wrong shape": (put(Q, torch.ones(64, 63)), f"{Q} is (64, 63), but config.json asks for (64, 64)"),
    "wrong beacon shape": (put(EMBEDDING, torch.ones(64)), "is (64,), but config.json asks for (1, 64)"),
    "integers": (put(Q, torch.ones(64, 64, dtype=torch.int64)), "stored as I64"),
    "NaN": (spoil(Q, float("nan")), f"{Q} holds values that are not finite"),
    "infinite": (spoil("lm_head.weight", float("inf")), "lm_head.weight holds values that are not finite"),
    "infinite in 16 bits": (put("model.norm.weight", torch.full((64,), 3.4e38)), "holds values that are not finite"),
    "NaN in the beacon": (spoil(BEACON_Q, float("nan")), f"{BEACON_Q} holds values that are not finite"),
    "unknown key": (setting(beacon_colour="red"), "unknown beacon keys in config.json: beacon_colour"),
    "strange ratio": (setting(beacon_ratio=["two"]), "ratios"),
    "no window": (setting(beacon_window=0), "window"),
    "unknown model": (setting(model_type="abacus"), "'abacus'"),
    "fused projections": (setting(model_type="phi3", pad_token_id=0), "Phi3ForCausalLM cannot carry a beacon"),
    "impossible sizes": (setting(num_attention_heads=0), "cannot be converted"),
    "a billion layers": (setting(num_hidden_layers=10**9), "1000000000 layers"),
    "strange layers": (setting(num_hidden_layers="many"), "cannot be converted"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_checkpoint_that_is_wrong(what: str, tmp_path: Path, cache_dir: Path, models_dir: Path) -> None:
    change, reason = CHANGES[what]
    merged = checkpoint(V2)
    change(merged)
    refused(merged.write(tmp_path / "merged"), reason, cache_dir, models_dir)


def test_a_tied_head_of_its_own(tmp_path: Path, cache_dir: Path, models_dir: Path) -> None:
    merged = checkpoint(V2, tie_word_embeddings=True)
    merged.tensors["lm_head.weight"] = torch.ones_like(merged.tensors["model.embed_tokens.weight"])
    refused(merged.write(tmp_path / "merged"), "their weights differ", cache_dir, models_dir)


def refused(source: Path, reason: str, cache: Path, models_dir: Path) -> None:
    with pytest.raises(BeaconError) as refusal:
        convert(source, cache)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not models_dir.exists() or list(models_dir.iterdir()) == []


def edit(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return damage


def place(tensor: str, shard: str | None) -> Callable[[Path], None]:
    entry = {} if shard is None else {tensor: shard}
    return edit(INDEX, lambda index: [index["weight_map"].pop(tensor, None), index["weight_map"].update(entry)])


def cut(folder: Path) -> None:
    os.truncate(folder / SECOND, (folder / SECOND).stat().st_size - 1)


def cut_in_the_header(folder: Path) -> None:
    os.truncate(folder / SECOND, 100)


def empty(folder: Path) -> None:
    (folder / SECOND).write_bytes(b"")


def lengthen(folder: Path) -> None:
    with (folder / SECOND).open("ab") as file:
        file.write(b"!")


def repeat(folder: Path) -> None:
    """The same tensor in both shards."""
    name = next(iter(load_file(folder / FIRST)))
    save_file({**load_file(folder / SECOND), name: load_file(folder / FIRST)[name]}, folder / SECOND)


def header(change: Callable[[str], str]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / FIRST).read_bytes()
        length = int.from_bytes(content[:8], "little")
        text = change(content[8 : 8 + length].decode()).encode()
        (folder / FIRST).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    return damage


def pickled(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")


def no_beacon(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if not k.startswith("beacon_")}))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (cut, "is cut off: 1 of its"),
    "cut off in the header": (cut_in_the_header, "is cut off or no safetensors file (100 bytes)"),
    "empty": (empty, "is cut off or no safetensors file (0 bytes)"),
    "too long": (lengthen, "is damaged (1 bytes too many)"),
    "a shard is missing": (lambda folder: (folder / SECOND).unlink(), "misses 1 of its 2 shards"),
    "the index is missing": (lambda folder: (folder / INDEX).unlink(), f"but no {INDEX}"),
    "the index names another shard": (place(Q, SECOND), f"does not hold {Q}"),
    "the index names a tensor that is nowhere": (place("model.more.weight", FIRST), "does not hold model.more.weight"),
    "the index leaves a tensor out": (place(Q, None), f"holds {Q}, which {INDEX} does not list"),
    "the index leads out of the folder": (
        place(Q, "../../etc/model.safetensors"),
        "names '../../etc/model.safetensors'",
    ),
    "the index leads to the root": (place(Q, "/etc/model.safetensors"), "names '/etc/model.safetensors'"),
    "the index is empty": (edit(INDEX, lambda index: index.clear()), "is damaged"),
    "a tensor twice": (repeat, "twice"),
    "a tensor twice in a header": (
        header(lambda text: text.replace('{"', '{"lm_head.weight":0,"lm_head.weight":1,"', 1)),
        "twice",
    ),
    "overlapping tensors": (header(lambda text: text.replace('"data_offsets":[0,', '"data_offsets":[2,')), "damaged"),
    "a header that is no JSON": (header(lambda text: "{" + text), "is no safetensors file"),
    "a header that is nested": (header(lambda text: "[" * 100_000), "is no safetensors file"),
    "a shape that is no shape": (header(lambda text: text.replace('"shape":[', '"shape":["x",', 1)), "malformed"),
    "config.json is damaged": (
        lambda folder: (folder / "config.json").write_text("{") and None,
        "config.json is damaged",
    ),
    "config.json is missing": (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
    "pickled": (pickled, "holds only pickled weights (pytorch_model.bin), which are never loaded"),
    "no beacon": (no_beacon, "holds no beacon"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_files_that_are_wrong(what: str, source: Path, cache_dir: Path, models_dir: Path) -> None:
    damage, reason = DAMAGES[what]
    damage(source)
    refused(source, reason, cache_dir, models_dir)


def test_headers_agree_with_the_library(source: Path) -> None:
    odd = {"empty": torch.zeros(0, 4), "one": torch.tensor(1.5)}
    save_file({**load_file(source / FIRST), **odd}, source / FIRST)
    ours = {name: stored.read(torch.bfloat16) for name, stored in read_header(source / FIRST).items()}
    theirs = load_file(source / FIRST)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_4_bit_beacon_that_is_damaged(source: Path, cache_dir: Path) -> None:
    folder = convert(source, cache_dir, bits=4)
    path = folder / "beacon" / "beacon.safetensors"
    whole = load_file(path)
    for broken, reason in (
        ({name: t for name, t in whole.items() if name != "layers.0.q.weight.absmax"}, "convert the model again"),
        ({name: t for name, t in whole.items() if not name.startswith("layers.0.q")}, "missing"),
        ({**whole, "embedding": whole["embedding"] * float("nan")}, "not finite"),
    ):
        save_file(broken, path)
        with pytest.raises(BeaconError, match=reason):
            read(folder, cache_dir)
