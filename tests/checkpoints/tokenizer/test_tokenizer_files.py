"""What a checkpoint's files say: the chat template, the ends of an answer, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import processors

from beacon_cli.checkpoints.tokenizer.frame import chat_frame
from beacon_cli.checkpoints.tokenizer.tokenizer import Tokenizer
from beacon_cli.errors import ModelError
from tests.checkpoints.tokenizer.toy_tokenizers import STYLES, TEMPLATE, save


def test_messages_are_rendered_by_the_template(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(save(tmp_path, STYLES["gpt2"]()))
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
    ("template", "told"),
    [
        ("{{ messages[0].content }}{% if '/no_think' in messages[0].content %}<|end|>{% endif %}", True),
        ("{% if enable_thinking %}/no_think{% endif %}{{ messages[0].content }}", False),
        ("{{ messages[0].content }}", False),
    ],
)
def test_one_whose_template_reads_it_from_the_message_is_told_there(tmp_path: Path, template: str, told: bool) -> None:
    save(tmp_path, STYLES["gpt2"](), chat_template=template)
    tokenizer = Tokenizer.from_folder(tmp_path)
    closing = tokenizer.encode_prompt(" /no_think<|end|>") if told else []
    assert list(chat_frame(tokenizer).closing) == closing


def test_a_system_message_needs_a_place(tmp_path: Path) -> None:
    save(tmp_path, STYLES["gpt2"](), chat_template=TEMPLATE)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.decode(chat_frame(tokenizer, " Be terse. ").opening) == tokenizer.decode(
        tokenizer.encode_prompt("<|system|>Be terse.<|end|><|user|>")
    )
    for template in ("{{ messages[-1].content }}", "{{ raise_exception('no system') if messages[1] else 1 }}"):
        (tmp_path / "chat_template.jinja").write_text(template)
        with pytest.raises(ModelError, match="no place for a system message"):
            chat_frame(Tokenizer.from_folder(tmp_path), "Be terse.")


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('roles must\nalternate') }}", "{% if %}", "{{ nobody.name }}"]
)
def test_a_template_that_fails(tmp_path: Path, template: str) -> None:
    tokenizer = Tokenizer.from_folder(save(tmp_path, STYLES["gpt2"](), chat_template=template))
    with pytest.raises(ModelError, match="chat template fails") as failure:
        tokenizer.render([{"role": "user", "content": "Who?"}])
    assert "\n" not in str(failure.value)


def test_without_a_template_the_contents_stand_alone(tmp_path: Path) -> None:
    reference = STYLES["gpt2"]()
    messages = [{"role": "system", "content": "Read."}, {"role": "user", "content": "Who?"}]
    save(tmp_path, reference, chat_template=None, bos_token="<|user|>")
    assert Tokenizer.from_folder(tmp_path).render(messages) == "Read.\n\nWho?"
    reference.post_processor = processors.TemplateProcessing(
        "<|user|> $A", None, [("<|user|>", reference.token_to_id("<|user|>"))]
    )
    save(tmp_path, reference, chat_template=None, bos_token="<|user|>")
    assert Tokenizer.from_folder(tmp_path).render(messages) == "<|user|>Read.\n\nWho?"


@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_is_split_at_the_document(tmp_path: Path, style: str) -> None:
    tokenizer = Tokenizer.from_folder(save(tmp_path, STYLES[style]()))

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
    reference = STYLES["gpt2"]()
    save(tmp_path, reference)
    named = reference.token_to_id("<|end|>")
    assert Tokenizer.from_folder(tmp_path).eos_ids == {named}
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [8, 9]}')
    assert Tokenizer.from_folder(tmp_path).eos_ids == {7, 8, 9, named}
    save(tmp_path, reference, eos_token=None)
    (tmp_path / "config.json").write_text('{"eos_token_id": null}')
    assert Tokenizer.from_folder(tmp_path).eos_ids == {8, 9}


def test_the_fingerprint_is_that_of_the_ids(tmp_path: Path) -> None:
    reference = STYLES["gpt2"]()
    save(tmp_path, reference)
    fingerprint = Tokenizer.from_folder(tmp_path).fingerprint
    path = tmp_path / "tokenizer.json"
    parsed = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(dict(reversed(parsed.items())), indent=3), "utf-8")
    assert Tokenizer.from_folder(tmp_path).fingerprint == fingerprint
    parsed["model"]["merges"].pop()
    path.write_text(json.dumps(parsed), "utf-8")
    assert Tokenizer.from_folder(tmp_path).fingerprint != fingerprint
    save(tmp_path, reference, chat_template=TEMPLATE + " ")
    assert Tokenizer.from_folder(tmp_path).fingerprint != fingerprint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b'{"version": "1.0", "model": {'),
        ("tokenizer.json", b""),
        ("tokenizer.json", b"[]"),
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b"[]"),
        ("generation_config.json", b"\xff"),
        ("generation_config.json", b'{"eos_token_id": "</s>"}'),
        ("generation_config.json", b'{"eos_token_id": [2, true]}'),
        ("config.json", b'{"eos_token_id": 2.5}'),
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
