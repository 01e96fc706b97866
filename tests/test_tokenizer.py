"""Ids are those of the checkpoint's own tokenizer, whatever encodes them; documents cannot speak in control tokens."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Hub

from beacon_cli.errors import ModelError
from beacon_cli.tokenizer import Tokenizer

SENTENCES = (
    "The lighthouse keeper hadn't slept; he'd counted 1,234 waves, they'll say, and it wasn't enough.\n\n",
    "It's 07:45 on 3 March 1921 -- the 14th crossing. “We're late,” she said, “aren't we?”\r\n  Indented   line\t.\n",
    "Ο φύλακας του φάρου μέτρησε χίλια κύματα και ύστερα κοιμήθηκε. ",
    "Смотритель маяка не спал всю ночь и считал волны, их было 1234. ",
    "حارس المنارة لم ينم طوال الليل، وعدّ ١٢٣٤ موجة. ",
    "שׁוֹמֵר המגדלור לא ישן כל הלילה וספר גלים. ",
    "प्रकाशस्तंभ का रखवाला रात भर जागता रहा और उसने १२३४ लहरें गिनीं। ",
    "คนเฝ้าประภาคารไม่ได้นอนทั้งคืนและนับคลื่น ",
    "灯塔看守人整夜没有睡觉，他数了一千二百三十四个波浪。",
    "灯台守は一晩中眠らずに波をかぞえました。ラジオだけが鳴っていた。",
    "등대지기는 밤새 잠들지 못하고 파도를 세었다. ",
    "def count(waves):\n    return {w: len(w) for w in waves if w != 'x'}  # naïve café, e\u0301te\u0301 🙂👍🏽 €5\n",
    "    \n\t\n" + " " * 20 + "a" * 30 + "-" * 20 + "\n" * 8,
)
TEXT = "".join(SENTENCES)

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
WORDS = r"\p{N}|\p{Lu}[\p{L}\p{M}]*| ?[\p{L}\p{M}]+| ?[^\s\p{L}\p{M}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTROL = ("<|end|>", "<|user|>", "<|assistant|>")
ORDINARY = "<think>"


def byte_bpe(*stages: Any, nfc: bool = False, vocabulary: int = 700) -> Hub:
    """A small byte-level BPE as checkpoints have it; its control tokens get the largest ids."""
    hub = Hub(models.BPE())
    hub.pre_tokenizer = stages[0] if len(stages) == 1 else pre_tokenizers.Sequence(list(stages))
    hub.decoder = decoders.ByteLevel()
    if nfc:
        hub.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    hub.train_from_iterator(SENTENCES * 3, trainer)
    hub.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    hub.add_tokens([AddedToken(ORDINARY, special=False, normalized=False)])
    return hub


def isolated(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def of_ranks() -> Hub:
    """As Llama 3's was made of a list of ranks: a token has a merge for each way to split it into tokens."""
    parsed = json.loads(byte_bpe(isolated(LLAMA3), BYTES).to_str())
    vocabulary = parsed["model"]["vocab"]
    splits = [(token[:i], token[i:]) for token in vocabulary for i in range(1, len(token))]
    parsed["model"]["merges"] = [split for split in splits if vocabulary.keys() >= set(split)]
    parsed["model"]["ignore_merges"] = True
    return Hub.from_str(json.dumps(parsed))


def numbered_anew() -> Hub:
    """Ids in no order of merges, merges as one string each: as old files have them."""
    parsed = json.loads(byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False)).to_str())
    model = parsed["model"]
    size = len(model["vocab"])
    model["vocab"] = {token: (i * 13 + 5) % size for token, i in model["vocab"].items()}
    model["merges"] = [" ".join(merge) for merge in model["merges"]]
    assert size % 13
    return Hub.from_str(json.dumps(parsed))


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
STYLES: dict[str, Callable[[], Hub]] = {
    "gpt2": lambda: byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "qwen2": lambda: byte_bpe(isolated(QWEN2), BYTES, nfc=True),
    "llama3": of_ranks,
    "gpt4": lambda: byte_bpe(pre_tokenizers.Split(Regex(LLAMA3), behavior="removed", invert=True), BYTES),
    "digits": lambda: byte_bpe(
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    ),
    "digit runs": lambda: byte_bpe(
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)
    ),
    "words": lambda: byte_bpe(isolated(WORDS), BYTES),
    "numbered anew": numbered_anew,
}


def unigram() -> Hub:
    hub = Hub(models.Unigram())
    hub.pre_tokenizer = pre_tokenizers.Metaspace()
    hub.decoder = decoders.Metaspace()
    hub.train_from_iterator(
        SENTENCES * 3,
        trainers.UnigramTrainer(
            vocab_size=400, special_tokens=["<unk>", *CONTROL], unk_token="<unk>", show_progress=False
        ),
    )
    return hub


def sentencepiece_bpe() -> Hub:
    """In the way of Llama 2: blanks are written `▁`, what has no token is spelled in bytes."""
    vocabulary = {"<unk>": 0, **{token: 1 + i for i, token in enumerate(CONTROL)}}
    for token in (*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdehilnorstw", "th", "▁th", "▁the"):
        vocabulary[token] = len(vocabulary)
    hub = Hub(
        models.BPE(
            vocab=vocabulary,
            merges=[("t", "h"), ("▁", "th"), ("▁th", "e")],
            byte_fallback=True,
            unk_token="<unk>",
            fuse_unk=True,
        )
    )
    hub.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    hub.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    hub.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("<unk>", *CONTROL)])
    return hub


def with_unmerged_word(ignore_merges: bool) -> Hub:
    """A vocabulary that holds a word which no merge leads to; with `ignore_merges` it is found all the same."""
    parsed = json.loads(STYLES["gpt2"]().to_str())
    parsed["model"]["ignore_merges"] = ignore_merges
    parsed["model"]["vocab"]["Ġzzyzx"] = parsed["model"]["vocab"].pop("Ġlighthouse", 5000)
    parsed["model"]["merges"] = [merge for merge in parsed["model"]["merges"] if "".join(merge) != "Ġlighthouse"]
    return Hub.from_str(json.dumps(parsed))


def with_runs_of_blanks() -> Hub:
    hub = STYLES["gpt2"]()
    hub.add_tokens([AddedToken(" " * n, special=False, normalized=False) for n in (2, 3, 4)])
    return hub


OTHERS: dict[str, Callable[[], Hub]] = {
    "unigram": unigram,
    "byte fallback": sentencepiece_bpe,
    "prefix space": lambda: byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "two splits": lambda: byte_bpe(isolated(r"\p{N}{1,3}"), isolated(WORDS), BYTES),
    "lower case": lambda: _lower_case(STYLES["gpt2"]()),
    "line ends": lambda: byte_bpe(isolated(r"\s+$|" + WORDS), BYTES),
    "only Oniguruma": lambda: byte_bpe(isolated(r"\p{InBasicLatin}x|" + WORDS), BYTES),
    "runs of blanks": with_runs_of_blanks,
    "unmerged word": lambda: with_unmerged_word(ignore_merges=True),
}


def _lower_case(hub: Hub) -> Hub:
    hub.normalizer = normalizers.Lowercase()
    return hub


def save(folder: Path, hub: Hub, **tokenizer_config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(hub.to_str(), "utf-8")
    config = {"chat_template": TEMPLATE, "eos_token": "<|end|>", **tokenizer_config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Tokenizer, Hub]]:
    """A style's tokenizer from its folder, and the one of `tokenizers` that it must equal."""
    pairs: dict[str, tuple[Tokenizer, Hub]] = {}

    def make(style: str) -> tuple[Tokenizer, Hub]:
        if style not in pairs:
            hub = (STYLES | OTHERS)[style]()
            pairs[style] = Tokenizer.from_folder(save(tmp_path_factory.mktemp("checkpoint"), hub)), hub
        return pairs[style]

    return make


Made = Callable[[str], tuple[Tokenizer, Hub]]

every_style = pytest.mark.parametrize("style", [*STYLES, *OTHERS])
byte_styles = pytest.mark.parametrize("style", STYLES)
texts = st.lists(
    st.text(max_size=8) | st.text(st.sampled_from("aZ 1'\n\r\t-é\u0301中ñ٣"), max_size=12) | st.sampled_from(SENTENCES)
).map("".join)


@byte_styles
def test_byte_level_bpe_is_encoded_by_tiktoken(made: Made, style: str) -> None:
    tokenizer, hub = made(style)
    assert tokenizer.backend == "tiktoken"
    assert tokenizer.encode(TEXT) == hub.encode(TEXT).ids


@pytest.mark.parametrize("style", OTHERS)
def test_any_other_tokenizer_is_encoded_by_tokenizers(made: Made, style: str) -> None:
    tokenizer, hub = made(style)
    assert tokenizer.backend == "tokenizers"
    assert tokenizer.encode(TEXT) == hub.encode(TEXT, add_special_tokens=False).ids


@byte_styles
@settings(deadline=None, max_examples=40)
@given(text=texts)
def test_ids_are_the_checkpoints(made: Made, style: str, text: str) -> None:
    tokenizer, hub = made(style)
    assert tokenizer.encode(text) == hub.encode(text).ids


@byte_styles
@settings(deadline=None, max_examples=40)
@given(text=texts)
def test_decoding_gives_the_text_back(made: Made, style: str, text: str) -> None:
    tokenizer, hub = made(style)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == (text if hub.normalizer is None else unicodedata.normalize("NFC", text))
    assert tokenizer.decode(ids) == hub.decode(ids)


@pytest.mark.parametrize("style", ["qwen2", "words"])
def test_both_libraries_know_the_same_unicode(made: Made, style: str) -> None:
    tokenizer, hub = made(style)
    alphabets = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    text = "".join(f"a'{c}{c}1 {c}" for c in alphabets if not "一" <= c <= "힣")
    assert tokenizer.encode(text) == hub.encode(text).ids


def test_a_token_that_no_merge_leads_to_is_not_found(tmp_path: Path) -> None:
    hub = with_unmerged_word(ignore_merges=False)
    tokenizer = Tokenizer.from_folder(save(tmp_path, hub))
    assert tokenizer.backend == "tiktoken"
    assert tokenizer.encode("a zzyzx a") == hub.encode("a zzyzx a").ids
    assert hub.token_to_id("Ġzzyzx") not in tokenizer.encode("a zzyzx a")


def test_a_pattern_that_leaves_something_out(tmp_path: Path) -> None:
    hub = byte_bpe(isolated(r"[\x00-\x{FFFF}]\p{M}*|\x{1F642}"), BYTES)
    tokenizer = Tokenizer.from_folder(save(tmp_path, hub))
    assert tokenizer.encode("left \U00010348\U00010348 out") == hub.encode("left \U00010348\U00010348 out").ids


@pytest.mark.parametrize("text", ["a" * 2**20, " " * 2**20 + "x", "波" * 2**19])
def test_a_megabyte_of_one_word(made: Made, text: str) -> None:
    tokenizer, hub = made("gpt2")
    began = time.perf_counter()
    ids = tokenizer.encode(text)
    assert time.perf_counter() - began < 10
    assert ids == hub.encode(text).ids


def test_lone_surrogates_become_replacement_characters(made: Made) -> None:
    for style in ("gpt2", "byte fallback"):
        tokenizer, _ = made(style)
        assert tokenizer.encode("a\udc80b\ud83d\ude42") == tokenizer.encode("a\ufffdb🙂")


@every_style
@pytest.mark.parametrize("text", [*CONTROL, "the <|end|><|user|> the", " <|end|>" * 3, " " * 300_000 + "<|end|>"])
def test_a_document_holds_no_control_tokens(made: Made, style: str, text: str) -> None:
    tokenizer, hub = made(style)
    control = {hub.token_to_id(token) for token in CONTROL}
    ids = tokenizer.encode(text)
    assert not control & set(ids)
    if style not in ("unigram", "lower case", "prefix space"):
        assert tokenizer.decode(ids) == text


@byte_styles
def test_other_added_tokens_are_not_found_in_documents_either(made: Made, style: str) -> None:
    tokenizer, hub = made(style)
    assert hub.token_to_id(ORDINARY) not in tokenizer.encode(ORDINARY)
    assert tokenizer.decode(tokenizer.encode(ORDINARY)) == ORDINARY


@every_style
def test_a_prompt_holds_control_tokens(made: Made, style: str) -> None:
    tokenizer, hub = made(style)
    ids = tokenizer.encode_prompt("<|user|>the<|end|>")
    assert ids[0] == hub.token_to_id("<|user|>")
    assert ids[-1] == hub.token_to_id("<|end|>")
    assert ids == hub.encode("<|user|>the<|end|>", add_special_tokens=False).ids
    assert tokenizer.decode(ids).strip() == "the"


@byte_styles
def test_ordinary_added_tokens_are_shown(made: Made, style: str) -> None:
    tokenizer, hub = made(style)
    assert tokenizer.decode([hub.token_to_id(ORDINARY)]) == ORDINARY


def test_ids_beyond_the_vocabulary_are_no_text(made: Made) -> None:
    tokenizer, hub = made("gpt2")
    assert tokenizer.vocab_size == hub.get_vocab_size()
    assert tokenizer.decode([tokenizer.vocab_size, 10**6]) == ""


@byte_styles
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_ids_stream_to_what_they_decode_to(made: Made, style: str, data: st.DataObject) -> None:
    tokenizer, hub = made(style)
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size)))
    stream = tokenizer.stream_decoder()
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.finish() == tokenizer.decode(ids) == hub.decode(ids)


@every_style
@settings(deadline=None, max_examples=40)
@given(text=texts)
def test_text_streams_whole(made: Made, style: str, text: str) -> None:
    tokenizer, _ = made(style)
    ids = tokenizer.encode(text[:100])
    stream = tokenizer.stream_decoder()
    assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)


def test_a_character_is_streamed_when_it_is_whole(made: Made) -> None:
    tokenizer, hub = made("gpt2")
    stream = tokenizer.stream_decoder()
    first, *middle, last = (hub.token_to_id(token) for token in "ðŁĻĤ")  # the bytes of one emoji
    assert [stream.push(first), *map(stream.push, middle)] == ["", "", ""]
    assert stream.push(last) == "🙂"
    assert stream.push(first) == ""
    assert stream.finish() == "\ufffd"


def test_messages_are_rendered_by_the_template(made: Made) -> None:
    tokenizer, _ = made("gpt2")
    messages = [{"role": "user", "content": " Who? "}]
    assert tokenizer.render(messages) == "<|user|>Who?<|end|><|assistant|>"
    assert tokenizer.render(messages, add_generation_prompt=False) == "<|user|>Who?<|end|>"


def test_a_jinja_file_goes_before_the_configuration(tmp_path: Path) -> None:
    save(
        tmp_path,
        STYLES["gpt2"](),
        chat_template=[{"name": "tool_use", "template": ""}, {"name": "default", "template": "A"}],
    )
    assert Tokenizer.from_folder(tmp_path).render([]) == "A"
    (tmp_path / "chat_template.jinja").write_text("B")
    assert Tokenizer.from_folder(tmp_path).render([]) == "B"


def test_a_template_names_special_tokens_and_sees_no_clock(tmp_path: Path) -> None:
    template = (
        "\n  {{ eos_token }} {{ bos_token }}{% if strftime_now is defined %} {{ strftime_now('%d %b %Y') }}{% endif %}"
    )
    save(tmp_path, STYLES["gpt2"](), chat_template=template, bos_token={"content": "<|user|>"})
    assert Tokenizer.from_folder(tmp_path).render([]) == "\n  <|end|> <|user|> 26 Jul 2024"


def test_a_reasoning_model_is_asked_to_answer_at_once(tmp_path: Path) -> None:
    template = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}"
    assert (
        Tokenizer.from_folder(save(tmp_path, STYLES["gpt2"](), chat_template=template)).render([])
        == "<think>\n\n</think>"
    )


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('roles must\nalternate') }}", "{% if %}", "{{ nobody.name }}"]
)
def test_a_template_that_fails(tmp_path: Path, template: str) -> None:
    tokenizer = Tokenizer.from_folder(save(tmp_path, STYLES["gpt2"](), chat_template=template))
    with pytest.raises(ModelError, match="chat template fails") as failure:
        tokenizer.render([{"role": "user", "content": "Who?"}])
    assert "\n" not in str(failure.value)


def test_without_a_template_the_contents_stand_alone(tmp_path: Path) -> None:
    hub = STYLES["gpt2"]()
    messages = [{"role": "system", "content": "Read."}, {"role": "user", "content": "Who?"}]
    save(tmp_path, hub, chat_template=None, bos_token="<|user|>")
    assert Tokenizer.from_folder(tmp_path).render(messages) == "Read.\n\nWho?"
    hub.post_processor = processors.TemplateProcessing("<|user|> $A", None, [("<|user|>", hub.token_to_id("<|user|>"))])
    save(tmp_path, hub, chat_template=None, bos_token="<|user|>")
    assert Tokenizer.from_folder(tmp_path).render(messages) == "<|user|>Read.\n\nWho?"


@byte_styles
def test_a_prompt_is_split_at_the_document(made: Made, style: str) -> None:
    tokenizer, _ = made(style)

    def messages(document: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"DOCUMENT0 and DOCUMENT1:\n{document}\nWho?"}]

    before, after = tokenizer.split_prompt(messages)
    assert before == tokenizer.encode_prompt("<|user|>DOCUMENT0 and DOCUMENT1:\n")
    assert after == tokenizer.encode_prompt("\nWho?<|end|><|assistant|>")


@pytest.mark.parametrize("template", ["Hello", "{{ messages[0].content * 2 }}"])
def test_a_template_that_drops_or_doubles_the_document(tmp_path: Path, template: str) -> None:
    tokenizer = Tokenizer.from_folder(save(tmp_path, STYLES["gpt2"](), chat_template=template))
    with pytest.raises(ModelError, match="exactly once"):
        tokenizer.split_prompt(lambda document: [{"role": "user", "content": document}])


def test_all_ends_of_an_answer_are_known(tmp_path: Path) -> None:
    hub = STYLES["gpt2"]()
    save(tmp_path, hub)
    named = hub.token_to_id("<|end|>")
    assert Tokenizer.from_folder(tmp_path).eos_ids == {named}
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [8, 9]}')
    assert Tokenizer.from_folder(tmp_path).eos_ids == {7, 8, 9, named}
    save(tmp_path, hub, eos_token=None)
    (tmp_path / "config.json").write_text('{"eos_token_id": null}')
    assert Tokenizer.from_folder(tmp_path).eos_ids == {8, 9}


def test_the_fingerprint_is_that_of_the_ids(tmp_path: Path) -> None:
    hub = STYLES["gpt2"]()
    save(tmp_path, hub)
    fingerprint = Tokenizer.from_folder(tmp_path).fingerprint
    path = tmp_path / "tokenizer.json"
    parsed = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(dict(reversed(parsed.items())), indent=3), "utf-8")
    assert Tokenizer.from_folder(tmp_path).fingerprint == fingerprint
    parsed["model"]["merges"].pop()
    path.write_text(json.dumps(parsed), "utf-8")
    assert Tokenizer.from_folder(tmp_path).fingerprint != fingerprint
    save(tmp_path, hub, chat_template=TEMPLATE + " ")
    assert Tokenizer.from_folder(tmp_path).fingerprint != fingerprint


def test_a_length_limit_in_the_file_is_not_obeyed(tmp_path: Path) -> None:
    for style in ("gpt2", "unigram"):
        hub = (STYLES | OTHERS)[style]()
        whole = hub.encode(TEXT).ids
        hub.enable_truncation(16)
        hub.enable_padding(length=10_000)
        tokenizer = Tokenizer.from_folder(save(tmp_path, hub))
        assert tokenizer.encode(TEXT) == tokenizer.encode_prompt(TEXT) == whole


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b'{"version": "1.0", "model": {'),
        ("tokenizer.json", b""),
        ("tokenizer.json", b"[]"),
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b"[]"),
        ("generation_config.json", b"\xff"),
        ("chat_template.jinja", b"\xff"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    save(tmp_path, STYLES["gpt2"]())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name) as failure:
        Tokenizer.from_folder(tmp_path)
    assert "\n" not in str(failure.value)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path / "nowhere")


def test_importing_it_imports_no_transformers() -> None:
    code = "import sys, beacon_cli.tokenizer; sys.exit('transformers' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
