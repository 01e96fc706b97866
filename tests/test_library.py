"""The public API, as a program or a notebook uses it."""

import inspect
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

import beacon_cli as beacon
from beacon_cli import Answer, Memory, Model, library
from beacon_cli.answering import decoding
from beacon_cli.cache import builder
from beacon_cli.errors import BeaconError, DocumentError, ModelError, SettingsError
from beacon_cli.events import Condensed, Event, IntervalDone, Note, PageRead, Reading, Stage
from tests.scripted import RATIOS, ROW_BYTES, UNPROMPTED, WINDOW, Script, make_model
from tests.stories import FACT, FILLER, WHO_KEEPS, story

ROOT = Path(__file__).parents[1]
OTHER = "What did they eat before noon?"
# More than an interval of tokens: the memory goes on to be condensed while it is said.
LONG = FILLER * 2

Asking = Callable[[Memory], Answer]
ASKINGS: dict[str, Asking] = {
    "question": lambda memory: memory.ask(WHO_KEEPS),
    "other question": lambda memory: memory.ask(OTHER),
    "no passages": lambda memory: memory.ask(WHO_KEEPS, passages=0),
    "many passages": lambda memory: memory.ask(WHO_KEEPS, passages=5),
    "summary": lambda memory: memory.summarize(),
}


@pytest.fixture(scope="module")
def model(scripted_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return beacon.load(str(scripted_model), cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A text of a few intervals."""
    path = tmp_path / "short.txt"
    path.write_text(story(6, fact_at=2))
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "a.txt").write_text(story(5, fact_at=2))
    (folder / "b.md").write_text("# Logbook\n\n" + story(3))
    (folder / "note.txt").write_text("The ferry leaves at nine.\n")
    return folder


# What it is for


def test_a_book_is_read_and_asked(scripted_model: Path, book: Path, cache_dir: Path, says: Script) -> None:
    says("Edda Voss")
    events: list[Event] = []
    model = beacon.load(str(scripted_model), progress=events.append)
    memory = model.read(book, progress=events.append)
    answer = memory.ask(WHO_KEEPS)
    assert (answer.text, answer.supported, str(answer)) == ("Edda Voss", True, "Edda Voss")
    (citation,) = answer.citations
    assert (citation.document, citation.page, citation.quote) == ("book.txt", 1, FACT)
    assert FACT in answer.passages[-1].text
    assert len(answer.passages) == 2
    assert answer.seconds.keys() == {"first_token", "answer"}
    assert (answer.question, answer.finished) == (WHO_KEEPS, "stop")
    assert answer.generated == len(says.asked[0].logits) - 1

    kinds = [type(event) for event in events]
    assert [kind for kind in kinds if kind in (Stage, Reading, Condensed)][-1] is Condensed
    assert kinds.count(IntervalDone) == memory.tokens // WINDOW
    assert {Stage, Reading, PageRead} <= set(kinds)
    (document,) = memory.documents
    assert (document.name, document.tokens) == ("book.txt", memory.tokens)
    assert (memory.ratio, model.name) == (2, str(scripted_model))
    assert memory.seconds.keys() >= {"open", "load_model", "condense"}
    assert Path(str(document.cache_path)).parent.parent == cache_dir


def test_what_was_read_before_comes_from_the_cache(model: Model, book: Path) -> None:
    first, second = model.read(book, ratio=8), model.read(book, ratio=8)
    assert not first.documents[0].from_cache
    assert second.documents[0].from_cache
    assert second.documents[0].condensed_now == 0
    assert (second.tokens, second.rows) == (first.tokens, first.rows)
    assert model.read(book, ratio=8, refresh=True).documents[0].condensed_now > 0


def test_passages_are_found_best_first_and_without_the_model(model: Model, book: Path, says: Script) -> None:
    memory = model.read(book)
    assert memory.find("Who keeps the lighthouse of Morvane?", 1)[0].text.count(FACT) == 1
    assert len(memory.find("the mill")) == 5
    assert len(memory.find("the mill", 3)) == 3
    assert memory.find("Xanthippe") == []
    assert not says.asked


def test_as_many_passages_are_read_again_as_fit(model: Model, book: Path, says: Script) -> None:
    memory = model.read(book, ratio=8)
    answer = memory.ask(OTHER, passages=50, max_new_tokens=7000)
    best = memory.find(OTHER, 50)
    assert 1 < len(answer.passages) < len(best)
    assert answer.passages == tuple(reversed(best[: len(answer.passages)]))
    assert all(passage.text in says.asked[0].prompt for passage in answer.passages)


def test_an_answer_that_stands_nowhere_is_not_supported(model: Model, short: Path, says: Script) -> None:
    says("Karl Brann")
    answer = model.read(short).ask(WHO_KEEPS)
    assert (answer.supported, answer.citations) == (False, ())


def test_a_summary_is_neither_supported_nor_cited(model: Model, short: Path, says: Script) -> None:
    says("They went on.")
    summary = model.read(short).summarize()
    assert (summary.text, summary.question, summary.supported) == ("They went on.", None, None)
    assert (summary.citations, summary.passages) == ((), ())


# Answers as they come


def test_an_answer_streams_and_is_complete_afterwards(model: Model, short: Path, says: Script) -> None:
    says("The keeper is called Edda Voss.")
    answer = model.read(short).ask(WHO_KEEPS)
    assert says.asked == []  # nothing is done before it is asked for
    pieces = list(answer)
    assert len(pieces) > 5
    assert "".join(pieces) == answer.text == "The keeper is called Edda Voss."
    assert list(answer) == pieces
    assert len(says.asked) == 1


def test_a_field_waits_for_the_rest(model: Model, short: Path, says: Script) -> None:
    says("The keeper is called Edda Voss.")
    answer = model.read(short).ask(WHO_KEEPS)
    pieces = iter(answer)
    first = next(pieces)
    assert answer.text == "The keeper is called Edda Voss."
    assert first + "".join(pieces) == answer.text


def test_no_piece_breaks_a_character(model: Model, short: Path, says: Script) -> None:
    text = "Žižek, Ærøskøbing: 灯台守 🙂👍🏽!"
    says(text)
    pieces = list(model.read(short).ask(WHO_KEEPS))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_the_longest_answer_is_kept_to(model: Model, short: Path, says: Script) -> None:
    says(LONG)
    answer = model.read(short).ask(WHO_KEEPS, max_new_tokens=7)
    assert (answer.generated, answer.finished) == (7, "length")
    assert LONG.startswith(answer.text)


def test_a_warm_answer_is_drawn(model: Model, short: Path) -> None:
    memory = model.read(short)
    assert memory.ask(WHO_KEEPS).text == UNPROMPTED
    assert len({memory.ask(WHO_KEEPS, temperature=100, max_new_tokens=8).text for _ in range(3)}) > 1


# The law: a question does not use a memory up


def check_unused(used: Memory, fresh: Callable[[], Memory], says: Script, *askings: str) -> None:
    """Whatever `used` is asked, one thing after the other, it answers as a memory that was asked nothing before."""
    rows = used.rows
    for name in (*askings, *askings[:2]):
        first = ASKINGS[name](used).text
        second = ASKINGS[name](fresh()).text
        assert first == second
        assert says.asked[-2].equals(says.asked[-1])
        assert used.rows == rows


@pytest.mark.parametrize("answer", [None, LONG], ids=["short", "long"])
def test_a_question_does_not_use_a_memory_up(model: Model, short: Path, says: Script, answer: str | None) -> None:
    says(answer)
    check_unused(model.read(short, cache=False), lambda: model.read(short, cache=False), says, *ASKINGS)


def test_nor_one_of_several_documents_out_of_the_cache(model: Model, shelf: Path, says: Script) -> None:
    says(LONG)
    check_unused(model.read(shelf), lambda: model.read(shelf), says, "question", "summary")


def test_nor_one_whose_rotary_frequencies_grow(tmp_path: Path, book: Path, says: Script) -> None:
    """Each question lets them grow, and the next must begin where the document ended."""
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    folder = make_model(tmp_path / "growing", context=512, rope_parameters=rope)

    def fresh() -> Memory:
        source = beacon.load(str(folder)).source
        return Model(replace(source, context=4096), "cpu", tmp_path / "cache").read(book, ratio=2, cache=False)

    says(LONG)
    check_unused(fresh(), fresh, says, "question", "no passages", "summary")


def test_two_answers_in_turn_do_not_spoil_each_other(model: Model, short: Path, says: Script) -> None:
    says(LONG, "The mill.", LONG, "The mill.")
    memory = model.read(short)
    one, other = memory.ask(WHO_KEEPS), memory.ask(OTHER)
    pieces = list(zip_longest(one, other, fillvalue=""))
    assert "".join(piece for piece, _ in pieces).strip() == one.text == LONG.strip()
    assert "".join(piece for _, piece in pieces) == other.text == "The mill."
    for number, question in enumerate((WHO_KEEPS, OTHER)):
        assert model.read(short).ask(question).text
        assert says.asked[-1].equals(says.asked[number])


def test_two_memories_of_a_model_in_turn(model: Model, short: Path, book: Path, says: Script) -> None:
    memories = [model.read(path, ratio=4) for path in (short, book)]
    answers = [memory.ask(WHO_KEEPS) for memory in memories]
    for _ in zip_longest(*answers):
        pass
    interleaved = list(says.asked)
    for number, path in enumerate((short, book)):
        assert model.read(path, ratio=4).ask(WHO_KEEPS).text == answers[number].text
        assert says.asked[-1].prompt == interleaved[number].prompt
    assert memories[0].ask(OTHER).text
    assert model.read(short, ratio=4).ask(OTHER).text
    assert says.asked[-1].equals(says.asked[-2])


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "let go"])
def test_an_answer_that_was_left_does_not_spoil_the_next(model: Model, short: Path, says: Script, kept: bool) -> None:
    says(LONG, UNPROMPTED, UNPROMPTED)
    memory = model.read(short)
    left: Answer | None = memory.ask(OTHER)
    for _ in left or ():
        break
    if not kept:
        left = None
    assert memory.ask(WHO_KEEPS).text
    assert model.read(short).ask(WHO_KEEPS).text
    assert says.asked[-1].equals(says.asked[-2])
    # What somebody may still want is brought to its end before; for what nobody can ask any more nothing is done.
    assert (len(says.asked[0].logits) > WINDOW) is kept
    assert left is None or left.text == LONG.strip()


@pytest.mark.parametrize("where", ["in the loop", "while reading", "while answering"])
def test_an_interrupted_answer_does_not_spoil_the_next(
    model: Model, short: Path, says: Script, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    memory = model.read(short)
    answer = memory.ask(OTHER)

    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    def show() -> None:
        for _ in answer:
            if where == "in the loop":
                raise KeyboardInterrupt
            patch.setattr(decoding, "pick", interrupt)

    with monkeypatch.context() as patch:
        if where == "while reading":  # the first layer has written to the memory, the second has not
            engine: Any = model.engine
            patch.setattr(engine.model.model.layers[1], "forward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            show()
    if where != "in the loop":
        assert answer.ended
        with pytest.raises(KeyboardInterrupt):
            print(answer.text)
    assert memory.ask(WHO_KEEPS).text
    assert model.read(short).ask(WHO_KEEPS).text
    assert says.asked[-1].equals(says.asked[-2])


def test_a_question_that_does_not_fit_does_not_spoil_the_next(model: Model, short: Path) -> None:
    memory = model.read(short)
    answer = memory.ask(WHO_KEEPS, max_new_tokens=9000)
    for _ in range(2):
        with pytest.raises(SettingsError, match="do not fit"):
            print(answer.text)
    assert memory.ask(WHO_KEEPS).text == UNPROMPTED


# What can be read, and what cannot


def test_documents_are_named_in_any_way(
    model: Model, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(documents: Any) -> list[str]:
        return [document.name for document in model.read(documents).documents]

    assert names(shelf / "a.txt") == names(str(shelf / "a.txt")) == names([shelf / "a.txt"]) == ["a.txt"]
    assert names([shelf / "b.md", str(shelf / "a.txt")]) == ["b.md", "a.txt"]
    assert names(shelf) == names(str(shelf / "*")) == ["a.txt", "b.md", "note.txt"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((shelf / "a.txt").read_bytes())))
    assert names("-") == ["stdin"]


def test_a_text_is_read_as_a_file_that_says_the_same(model: Model, short: Path, says: Script) -> None:
    file, text = model.read(short), model.read_text(short.read_text(), name="a letter")
    assert [document.name for document in text.documents] == ["a letter"]
    assert file.ask(WHO_KEEPS).text == text.ask(WHO_KEEPS).text
    assert says.asked[-1].equals(says.asked[-2])


def test_pages_are_selected(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "pages.txt"
    path.write_text("\f".join(f"Page {number}. {FILLER}" for number in range(1, 5)))
    memory = model.read(path, pages="2-3")
    assert {passage.page for passage in memory.find("page mill", 9)} == {2, 3}


def test_room_asks_for_a_higher_ratio(model: Model, book: Path) -> None:
    assert model.read(book).ratio == RATIOS[0]
    room = model.room_for(WHO_KEEPS, max_new_tokens=7000, passages=2)
    memory = model.read(book, room=room)
    assert memory.ratio > RATIOS[0]
    assert memory.ask(WHO_KEEPS, max_new_tokens=7000).text == UNPROMPTED


def test_without_a_cache_nothing_is_written(scripted_model: Path, short: Path, cache_dir: Path) -> None:
    memory = beacon.load(str(scripted_model)).read(short, cache=False)
    assert memory.ask(WHO_KEEPS).text
    assert memory.documents[0].cache_path is None
    assert not (cache_dir / "documents").exists()


def test_a_folder_is_condensed_ahead(scripted_model: Path, shelf: Path) -> None:
    (shelf / "empty.txt").touch()
    events: list[Event] = []
    model = beacon.load(str(scripted_model))
    done = model.condense(shelf, ratio=4, progress=events.append)
    assert [document.name for document in done] == ["a.txt", "b.md", "note.txt"]
    assert next(event.text for event in events if isinstance(event, Note)).startswith("left out: ")
    assert all(document.from_cache for document in model.read(shelf / "a.txt", ratio=4).documents)
    with pytest.raises(DocumentError, match="empty"):
        model.condense([shelf / "a.txt", shelf / "empty.txt"])


def test_an_error_of_the_callers_own_leaves_what_is_done(
    model: Model, book: Path, says: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "SHARD_BYTES", 2 * WINDOW // 16 * ROW_BYTES)

    class EnoughError(Exception):
        pass

    def enough(event: Event) -> None:
        if isinstance(event, IntervalDone) and event.tokens >= 5 * WINDOW:
            raise EnoughError

    with pytest.raises(EnoughError):
        model.read(book, ratio=16, progress=enough)
    memory = model.read(book, ratio=16)
    (document,) = memory.documents
    # Shards hold two intervals, and one that is not full is not kept.
    assert document.condensed_now == memory.tokens // WINDOW * WINDOW - 4 * WINDOW
    assert memory.ask(WHO_KEEPS).text == model.read(book, ratio=16, cache=False).ask(WHO_KEEPS).text
    assert says.asked[-1].equals(says.asked[-2])


def test_what_cannot_be_is_refused_by_name(model: Model, short: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not trained for ratio 3; choose one of 2, 4, 8, 16, 32, or auto"):
        model.read(short, ratio=3)
    with pytest.raises(DocumentError, match=r"nowhere\.pdf"):
        model.read(tmp_path / "nowhere.pdf")
    with pytest.raises(BeaconError, match="pages"):
        model.read(short, pages="first")
    memory = model.read(short)
    with pytest.raises(SettingsError, match="question is empty"):
        memory.ask(" \n")
    with pytest.raises(SettingsError, match="max_new_tokens is 0"):
        memory.ask(WHO_KEEPS, max_new_tokens=0)
    with pytest.raises(SettingsError, match="temperature is -1"):
        memory.summarize(temperature=-1)
    with pytest.raises(SettingsError, match="passages is -1"):
        memory.ask(WHO_KEEPS, passages=-1)
    with pytest.raises(ModelError, match="nowhere"):
        beacon.load(str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="cache_bits is 5"):
        beacon.load(cache_bits=5)


# The package


def test_importing_it_is_light() -> None:
    code = (
        "import sys, beacon_cli as beacon\n"
        "assert not {'torch', 'transformers', 'numpy', 'rich', 'typer'} & set(sys.modules)\n"
        "print(*dir(beacon))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, sorted(beacon.__all__)), done.stderr
    names: dict[str, Any] = {}
    exec("from beacon_cli import *", names)
    assert names.keys() - {"__builtins__"} == set(beacon.__all__)


def test_a_model_that_is_converted_starts_without_what_converts() -> None:
    code = "import sys, beacon_cli.library; print(*{'gguf', 'transformers', 'bitsandbytes'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_it_is_typed_and_has_only_the_names_that_it_says() -> None:
    assert Path(beacon.__file__).with_name("py.typed").exists()
    with pytest.raises(AttributeError, match="has no attribute 'summarise'"):
        print(beacon.summarise)


def test_each_public_name_is_documented() -> None:
    undocumented = []
    for name in beacon.__all__:
        value = getattr(beacon, name)
        if not callable(value):
            continue
        text = inspect.getdoc(value) or ""
        undocumented += [name] * (not text)
        members = vars(value) if inspect.isclass(value) and not issubclass(value, Exception) else {}
        for member, what in members.items():
            attribute = getattr(what, "func", None) or getattr(what, "fget", None) or what
            own = (inspect.getdoc(attribute) or "") if callable(attribute) else ""
            if not member.startswith("_") and not own and f"{member}: " not in text and f"{member}, " not in text:
                undocumented.append(f"{name}.{member}")
    assert undocumented == []


# What is written about it


def run_example(
    code: str, scripted_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What it prints, with the scripted model as the default."""
    monkeypatch.setattr(beacon, "load", partial(library.load, str(scripted_model)), raising=False)
    exec(compile(code, "example", "exec"), {"__name__": "__main__", "__doc__": "usage"})
    return capsys.readouterr().out


def test_the_pages_example_runs(
    scripted_model: Path,
    book: Path,
    says: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(book.parent)
    says("Edda Voss", "Two walk, and it rains.")
    out = run_example(code, scripted_model, monkeypatch, capsys)
    assert out.startswith("Edda Voss True (Citation(document='book.txt'")
    assert f"Two walk, and it rains.1 {FILLER[:20]}" in out


def test_the_example_file_runs(
    scripted_model: Path,
    book: Path,
    says: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = (ROOT / "examples" / "ask_a_book.py").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["ask_a_book.py", str(book), WHO_KEEPS])
    says("Edda Voss", "Karl Brann")
    assert run_example(code, scripted_model, monkeypatch, capsys) == f"Edda Voss\npage 1: “{FACT}”\n"
    out = run_example(code, scripted_model, monkeypatch, capsys)
    assert out.startswith("Karl Brann\nThe book does not say so")
    assert FACT in out
    monkeypatch.setattr(sys, "argv", ["ask_a_book.py", str(book) + "x", WHO_KEEPS])
    with pytest.raises(SystemExit, match="error: "):
        run_example(code, scripted_model, monkeypatch, capsys)
