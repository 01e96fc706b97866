"""Training data: laid out as the tool itself reads and answers, or refused with file and line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activation_beacon.config import BeaconConfig
from beacon_cli.answering.prompts import question_text
from beacon_cli.checkpoints.tokenizer.frame import chat_frame
from beacon_cli.condensing.text import page_texts
from beacon_cli.documents import open_document
from beacon_cli.errors import TrainingError
from beacon_cli.training.data import Lengths, TrainingData, read_data
from beacon_cli.training.layouts import Example, Layouts
from tests.scripted import scripted_tokenizer
from tests.training.tiny_base import prose, question, write_lines

TOKENIZER = scripted_tokenizer(prose(3000))
LAYOUTS = Layouts(TOKENIZER)
END = TOKENIZER.encode_prompt("<|end|>")
LENGTHS = Lengths(window=32, max_tokens=400)


def read(path: Path, limits: Lengths = LENGTHS, **how: Any) -> TrainingData:
    return read_data([str(path)], LAYOUTS, limits, **how)


def learned_text(example: Example) -> list[str]:
    """What is learned, each run of it."""
    runs = np.split(np.arange(len(example.ids)), np.flatnonzero(np.diff(example.learned)) + 1)
    return [TOKENIZER.decode(example.ids[run].tolist()) for run in runs if example.learned[run[0]]]


def test_a_question_is_laid_out_as_ask_reads_it(tmp_path: Path) -> None:
    document = "\n\n".join(prose(80, seed) for seed in range(12))  # three pages
    file = tmp_path / "document.txt"
    file.write_text(document)
    with open_document(str(file)) as opened:
        pages = [page.text for page in opened.pages()]
    assert len(pages) > 1
    frame = chat_frame(TOKENIZER)
    prompt = [*frame.opening, *(i for text in page_texts(pages) for i in TOKENIZER.encode(text))]
    prompt += [*TOKENIZER.encode(question_text("Who?", [])), *frame.closing]
    line = {"document": document, "question": " Who? ", "answer": "Edda Voss\n"}
    (example,) = read(write_lines(tmp_path / "a.jsonl", line), Lengths(32, 10_000)).examples
    assert example.ids.tolist() == [*prompt, *TOKENIZER.encode("Edda Voss"), *END]
    assert np.flatnonzero(example.learned).tolist() == list(range(len(prompt), len(example.ids)))


def test_of_a_conversation_what_the_assistant_says_is_learned(tmp_path: Path) -> None:
    said = ["The keeper does.", "He is old."]
    messages = [
        {"role": "user", "content": prose(60)},
        {"role": "assistant", "content": said[0]},
        {"role": "user", "content": "Tell me more"},
        {"role": "assistant", "content": said[1]},
        {"role": "user", "content": "Thanks"},
    ]
    (example,) = read(write_lines(tmp_path / "a.jsonl", {"messages": messages})).examples
    assert learned_text(example) == said
    rendered = TOKENIZER.render(messages[:4], add_generation_prompt=False)
    assert TOKENIZER.encode_prompt(rendered) == example.ids.tolist()


def test_a_long_text_is_cut_and_all_of_it_is_learned(tmp_path: Path) -> None:
    (tmp_path / "tale.txt").write_text(prose(500))
    data = read(tmp_path, LENGTHS)
    assert [len(example.ids) for example in data.examples[:-1]] == [400] * (len(data.examples) - 1)
    assert all(example.learned.all() for example in data.examples)
    with open_document(str(tmp_path / "tale.txt")) as opened:
        whole = [i for text in page_texts(page.text for page in opened.pages()) for i in TOKENIZER.encode(text)] + END
    assert np.concatenate([example.ids for example in data.examples]).tolist() == whole
    shorter = read(tmp_path, Lengths(window=32, max_tokens=len(whole) - 20))
    assert shorter.dropped == 20
    assert shorter.examples[-1].where == f"{tmp_path / 'tale.txt'}, tokens 0-{len(whole) - 21}"


def test_short_texts_can_be_packed(tmp_path: Path) -> None:
    texts = [{"text": prose(8, seed)} for seed in range(40)]
    path = write_lines(tmp_path / "a.jsonl", *texts)
    with pytest.raises(TrainingError, match=r"a\.jsonl:1: \d+ tokens are less than one window of 32"):
        read(path)
    data = read(path, pack=True)
    assert len(data.examples[0].ids) == 400
    assert (np.concatenate([example.ids for example in data.examples]) == END[0]).sum() >= 30


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", "not JSON"),
        ("[" * 100_000, "not JSON that can be read"),
        ("9" * 5_000, "not JSON that can be read"),
        ('{"text": "a\x00"}', "not JSON (Invalid control character at, character 12 of the line)"),
        ("[1, 2]", "unknown kind of line"),
        ({"prompt": "a"}, "unknown kind of line"),
        ({"text": " "}, "empty text"),
        ({"text": 3}, "no text as text"),
        ({"document": prose(60), "question": "Who?"}, "no answer"),
        ({"document": prose(60), "question": "Who?", "answer": ""}, "an empty answer"),
        ({"document": "", "question": "Who?", "answer": "He"}, "an empty document"),
        (question(1, words=2), "less than one window of 32"),
        (question(1, words=900), "more than --max-tokens 400"),
        ({"messages": []}, "no assistant message"),
        ({"messages": [{"role": "user", "content": prose(60)}]}, "no assistant message"),
        ({"messages": [{"role": "user"}]}, "messages must be a list"),
        ({"messages": [{"role": "user", "content": "Hm"}, {"role": "assistant", "content": prose(90)}]}, "one window"),
        ({"messages": [{"role": "wizard", "content": prose(60)}]}, "the role 'wizard' is not known"),
        ({"messages": [{"role": "user", "content": None}]}, "both of them texts"),
        ({"question": "Who?", "answer": "He"}, "no document"),
        ({"text": "\0" * 60}, "no usable text"),
        ("\udcff", "not UTF-8 (byte 1 of the line)"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: Any, words: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", question(1))
    with path.open("ab") as file:
        file.write(b"\n" + (line.encode("utf-8", "surrogateescape") if isinstance(line, str) else b""))
    if not isinstance(line, str):
        write_lines(tmp_path / "more", line)
        with path.open("ab") as file:
            file.write((tmp_path / "more").read_bytes())
    with pytest.raises(TrainingError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert words in str(caught.value)
    data = read(path, skip_bad=True)
    assert len(data.examples) == 1
    assert [bad.startswith(f"{path}:3: ") for bad in data.bad] == [True]


def test_where_nothing_is_left_the_first_reason_is_given(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", "nonsense", "more")
    with pytest.raises(TrainingError, match=r"nothing to learn from; the first of 2 .*a\.jsonl:1: not JSON"):
        read(path, skip_bad=True)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(TrainingError, match="nothing to learn from: every file is empty"):
        read(tmp_path / "empty.jsonl")
    with pytest.raises(TrainingError, match=r"all texts together are \d tokens"):
        read(write_lines(tmp_path / "b.jsonl", {"text": "Rain."}), pack=True)


def test_marks_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    expected = read(write_lines(tmp_path / "a.jsonl", question(1), question(2)))
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines()
    (tmp_path / "b.ndjson").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines))
    found = read(tmp_path / "b.ndjson")
    assert found.checksum == expected.checksum
    assert [example.where for example in found.examples] == [f"{tmp_path / 'b.ndjson'}:{line}" for line in (1, 3)]


def test_hidden_files_of_a_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".git").mkdir(parents=True)
    for name in (".draft.txt", "deep/.git/note.txt", "deep/tale.txt"):
        (tmp_path / name).write_text(prose(60))
    (example,) = read(tmp_path).examples
    assert example.where.startswith(f"{tmp_path / 'deep' / 'tale.txt'}, ")
    assert read(tmp_path / ".draft.txt").examples  # named, it is wanted


def test_what_opens_a_conversation_is_not_learned(tmp_path: Path) -> None:
    said = [("assistant", "Good day."), ("user", prose(60)), ("assistant", "No.")]
    messages = [{"role": role, "content": content} for role, content in said]
    assert learned_text(read(write_lines(tmp_path / "a.jsonl", {"messages": messages})).examples[0]) == ["No."]


def test_files_that_are_not_there_or_unreadable(tmp_path: Path) -> None:
    for skip_bad in (False, True):  # a path with a slip in it is never passed over
        for name in ("nowhere.txt", "nowhere.jsonl"):
            with pytest.raises(TrainingError, match=rf"{name}' is not there"):
                read(tmp_path / name, skip_bad=skip_bad)
    with pytest.raises(TrainingError, match="'' is not there"):
        read_data([""], LAYOUTS, LENGTHS)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(TrainingError, match=r"into a \.jsonl file"):
        read(tmp_path / "list.json")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(TrainingError) as caught:
        read(tmp_path / "empty.txt")
    assert str(caught.value).count("empty.txt") == 1
    (tmp_path / "folder").mkdir()
    with pytest.raises(TrainingError, match="holds no training data"):
        read(tmp_path / "folder")


def test_windows_that_no_text_can_fill() -> None:
    with pytest.raises(TrainingError, match="raise --max-tokens"):
        Lengths.of(BeaconConfig(window=32, stride=32, ratios=(2,)), 33)


def test_the_checksum_is_that_of_what_is_learned(tmp_path: Path) -> None:
    one = read(write_lines(tmp_path / "a.jsonl", question(1), question(2)))
    same = read(write_lines(tmp_path / "b.jsonl", question(1), question(2)))
    other = read(write_lines(tmp_path / "c.jsonl", question(2), question(1)))
    assert one.checksum == same.checksum
    assert one.checksum != other.checksum
