"""Ids are those of the checkpoint's own tokenizer, whatever encodes them; documents cannot speak in control tokens."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Reference

from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from tests.checkpoints.tokenizer.toy_tokenizers import (
    BYTES,
    CONTROL,
    ORDINARY,
    OTHERS,
    SENTENCES,
    STYLES,
    TEXT,
    byte_bpe,
    isolated,
    save,
    with_merges_to_control,
    with_unmerged_word,
)


@pytest.fixture(scope="module", autouse=True)
def _as_documents() -> Iterator[None]:
    """Short texts are encoded as documents are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beacon_cli.checkpoints.tokenizer.tokenizer._MANY", 0)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Tokenizer, Reference]]:
    """A style's tokenizer from its folder, and the one of `tokenizers` that it must equal."""
    pairs: dict[str, tuple[Tokenizer, Reference]] = {}

    def make(style: str) -> tuple[Tokenizer, Reference]:
        if style not in pairs:
            reference = (STYLES | OTHERS)[style]()
            pairs[style] = Tokenizer.from_folder(save(tmp_path_factory.mktemp("checkpoint"), reference)), reference
        return pairs[style]

    return make


Made = Callable[[str], tuple[Tokenizer, Reference]]

every_style = pytest.mark.parametrize("style", [*STYLES, *OTHERS])
byte_styles = pytest.mark.parametrize("style", STYLES)
# Without control tokens, which Hypothesis finds written out in this folder: a document cannot speak in them, the
# reference would.
texts = (
    st.lists(
        st.text(max_size=8)
        | st.text(st.sampled_from("aZ 1'\n\r\t-é\u0301中ñ٣"), max_size=12)
        | st.sampled_from(SENTENCES)
    )
    .map("".join)
    .filter(lambda text: not any(token in text for token in CONTROL))
)


@every_style
def test_byte_level_bpe_is_encoded_by_tiktoken_and_any_other_by_tokenizers(made: Made, style: str) -> None:
    tokenizer, reference = made(style)
    assert tokenizer.backend == ("tiktoken" if style in STYLES else "tokenizers")
    assert tokenizer.encode(TEXT) == reference.encode(TEXT, add_special_tokens=False).ids


@byte_styles
@settings(deadline=None, max_examples=40)
@given(text=texts)
def test_ids_are_the_checkpoints(made: Made, style: str, text: str) -> None:
    tokenizer, reference = made(style)
    assert tokenizer.encode(text) == reference.encode(text).ids


@every_style
@settings(deadline=None, max_examples=40)
@given(parts=st.lists(texts | st.sampled_from([*CONTROL, ORDINARY])))
def test_few_characters_have_the_ids_of_many(made: Made, style: str, parts: list[str]) -> None:
    tokenizer, _ = made(style)
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beacon_cli.checkpoints.tokenizer.tokenizer._MANY", math.inf)
        few = tokenizer.encode(text)
    assert few == tokenizer.encode(text)


def test_the_encoder_for_documents_is_made_when_it_is_worth_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer.from_folder(save(tmp_path, STYLES["gpt2"]()))
    monkeypatch.setattr("beacon_cli.checkpoints.tokenizer.tokenizer._MANY", 2 * len(TEXT))
    for made in (False, True):
        tokenizer.encode(TEXT)
        assert ("_bpe" in vars(tokenizer)) == made


@byte_styles
@settings(deadline=None, max_examples=40)
@given(text=texts)
def test_decoding_gives_the_text_back(made: Made, style: str, text: str) -> None:
    tokenizer, reference = made(style)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == (text if reference.normalizer is None else unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("style", ["qwen2", "words"])
def test_both_libraries_know_the_same_unicode(made: Made, style: str) -> None:
    tokenizer, reference = made(style)
    alphabets = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    text = "".join(f"a'{c}{c}1 {c}" for c in alphabets if not "一" <= c <= "힣")
    assert tokenizer.encode(text) == reference.encode(text).ids


def test_a_token_that_no_merge_leads_to_is_not_found(tmp_path: Path) -> None:
    reference = with_unmerged_word(ignore_merges=False)
    tokenizer = Tokenizer.from_folder(save(tmp_path, reference))
    assert tokenizer.backend == "tiktoken"
    assert tokenizer.encode("a zzyzx a") == reference.encode("a zzyzx a").ids
    assert reference.token_to_id("Ġzzyzx") not in tokenizer.encode("a zzyzx a")


def test_such_a_token_is_noticed_in_a_vocabulary_too_large_to_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beacon_cli.checkpoints.tokenizer.tokenizer._PROBED_TOKENS", 1)
    tokenizer = Tokenizer.from_folder(save(tmp_path, with_unmerged_word(ignore_merges=True)))
    assert tokenizer.backend == "tokenizers"


def test_a_byte_without_a_token_is_left_to_tokenizers(tmp_path: Path) -> None:
    parsed = json.loads(STYLES["gpt2"]().to_str())
    del parsed["model"]["vocab"]["Ą"]  # the byte 4: SmolLM has no such token
    reference = Reference.from_str(json.dumps(parsed))
    tokenizer = Tokenizer.from_folder(save(tmp_path, reference))
    assert tokenizer.backend == "tiktoken"
    for text in (TEXT, f"left\x04 out {TEXT}"):
        assert tokenizer.encode(text) == reference.encode(text).ids


def test_what_the_pattern_leaves_out_is_encoded(tmp_path: Path) -> None:
    reference = byte_bpe(isolated(r"[^\s\x{10348}]+|\s+"), BYTES)
    tokenizer = Tokenizer.from_folder(save(tmp_path, reference))
    assert tokenizer.backend == "tiktoken"
    assert tokenizer.encode("left \U00010348\U00010348 out") == reference.encode("left \U00010348\U00010348 out").ids


@pytest.mark.parametrize("text", ["a" * 2**20, " " * 2**20 + "x", "波" * 2**19])
def test_a_megabyte_of_one_word(made: Made, text: str) -> None:
    tokenizer, reference = made("gpt2")
    began = time.perf_counter()
    ids = tokenizer.encode(text)
    assert time.perf_counter() - began < 60
    assert ids == reference.encode(text).ids


@every_style
def test_the_fingerprint_is_the_same_when_it_is_remembered(tmp_path: Path, style: str) -> None:
    folder, cache = save(tmp_path / "model", (STYLES | OTHERS)[style]()), tmp_path / "cache"
    assert len({Tokenizer.from_folder(folder, each).fingerprint for each in (None, cache, cache)}) == 1
    before = Tokenizer.from_folder(folder, cache).fingerprint
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert Tokenizer.from_folder(folder, cache).fingerprint != before


def test_lone_surrogates_become_replacement_characters(made: Made) -> None:
    for style in ("gpt2", "byte fallback"):
        tokenizer, _ = made(style)
        assert tokenizer.encode("a\udc80b\ud83d\ude42") == tokenizer.encode("a\ufffdb🙂")


@every_style
@pytest.mark.parametrize("text", [*CONTROL, "the <|end|><|user|> the", " <|end|>" * 3, " " * 300_000 + "<|end|>"])
def test_a_document_holds_no_control_tokens(made: Made, style: str, text: str) -> None:
    tokenizer, reference = made(style)
    control = {reference.token_to_id(token) for token in CONTROL}
    ids = tokenizer.encode(text)
    assert not control & set(ids)
    if style not in ("unigram", "lower case", "prefix space"):
        assert tokenizer.decode(ids) == text


@byte_styles
def test_other_added_tokens_are_not_found_in_documents_either(made: Made, style: str) -> None:
    tokenizer, reference = made(style)
    assert reference.token_to_id(ORDINARY) not in tokenizer.encode(ORDINARY)
    assert tokenizer.decode(tokenizer.encode(ORDINARY)) == ORDINARY


@every_style
def test_a_prompt_holds_control_tokens(made: Made, style: str) -> None:
    tokenizer, reference = made(style)
    ids = tokenizer.encode_prompt("<|user|>the<|end|>")
    assert ids[0] == reference.token_to_id("<|user|>")
    assert ids[-1] == reference.token_to_id("<|end|>")
    assert ids == reference.encode("<|user|>the<|end|>", add_special_tokens=False).ids
    assert tokenizer.decode(ids).strip() == "the"


@byte_styles
def test_ordinary_added_tokens_are_shown(made: Made, style: str) -> None:
    tokenizer, reference = made(style)
    assert tokenizer.decode([reference.token_to_id(ORDINARY)]) == ORDINARY


def test_ids_beyond_the_vocabulary_are_no_text(made: Made) -> None:
    tokenizer, reference = made("gpt2")
    assert tokenizer.decode([reference.get_vocab_size(), 10**6]) == ""


@byte_styles
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_ids_stream_to_what_they_decode_to(made: Made, style: str, data: st.DataObject) -> None:
    tokenizer, reference = made(style)
    ids = data.draw(st.lists(st.integers(0, reference.get_vocab_size())))
    stream = tokenizer.stream_decoder()
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.finish() == tokenizer.decode(ids)


@every_style
@settings(deadline=None, max_examples=40)
@given(text=texts)
def test_text_streams_whole(made: Made, style: str, text: str) -> None:
    tokenizer, _ = made(style)
    ids = tokenizer.encode(text[:100])
    stream = tokenizer.stream_decoder()
    assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)


def test_a_character_is_streamed_when_it_is_whole(made: Made) -> None:
    tokenizer, reference = made("gpt2")
    stream = tokenizer.stream_decoder()
    first, *middle, last = (reference.token_to_id(token) for token in "ðŁĻĤ")  # the bytes of one emoji
    assert [stream.push(first), *map(stream.push, middle)] == ["", "", ""]
    assert stream.push(last) == "🙂"
    assert stream.push(first) == ""
    assert stream.finish() == "\ufffd"


def test_a_length_limit_in_the_file_is_not_obeyed(tmp_path: Path) -> None:
    for style in ("gpt2", "unigram"):
        reference = (STYLES | OTHERS)[style]()
        whole = reference.encode(TEXT).ids
        reference.enable_truncation(16)
        reference.enable_padding(length=10_000)
        tokenizer = Tokenizer.from_folder(save(tmp_path, reference))
        assert tokenizer.encode(TEXT) == tokenizer.encode_prompt(TEXT) == whole


def test_importing_it_imports_no_transformers() -> None:
    heavy = "{'transformers', 'torch'} & set(sys.modules)"
    code = f"import sys, beacon_cli.checkpoints.tokenizer.tokenizer; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


WRITTEN_OUT = ("<|im_end|>", "[INST]", "</s>")


@pytest.mark.parametrize("style", ["gpt2", "one piece", "byte fallback"])
def test_a_document_holds_no_control_tokens_that_merges_make(tmp_path: Path, style: str) -> None:
    plain = byte_bpe(isolated(r"\S+|\s+"), BYTES) if style == "one piece" else (STYLES | OTHERS)[style]()
    reference = with_merges_to_control(plain, *WRITTEN_OUT)
    tokenizer = Tokenizer.from_folder(save(tmp_path, reference))
    assert tokenizer.backend == ("tiktoken" if style == "gpt2" else "tokenizers")
    control = {reference.token_to_id(token) for token in (*WRITTEN_OUT, *CONTROL)}
    text = "".join(f"the {token} in {token}{token}" for token in WRITTEN_OUT)
    ids = tokenizer.encode(text)
    assert not control & set(ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode_prompt("".join(WRITTEN_OUT))[-3:] == [reference.token_to_id(each) for each in WRITTEN_OUT]
    assert tokenizer.encode("the other") == plain.encode("the other", add_special_tokens=False).ids
