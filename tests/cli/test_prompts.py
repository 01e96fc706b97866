"""In which words the model is asked: --system, --template."""

from pathlib import Path

from tests.cli.runner import assert_misused, assert_refused, run
from tests.scripted import ASSISTANT, END, Script
from tests.stories import WHO_KEEPS

ASK = ("--passages", "0", "--json")


def test_a_system_message_stands_in_front_and_makes_another_memory(book: Path, says: Script) -> None:
    says("Edda Voss")
    plain = run("ask", str(book), WHO_KEEPS, *ASK).json
    terse = run("ask", str(book), WHO_KEEPS, *ASK, "--system", "Be terse.").json
    assert terse["cache_path"] != plain["cache_path"]
    assert terse["tokens_condensed"] > 0
    again = run("ask", str(book), WHO_KEEPS, *ASK, "--system", "Be terse.").json
    assert (again["cache_path"], again["tokens_condensed"]) == (terse["cache_path"], 0)
    assert not [each for each in says.asked if "Be terse." in each.prompt]  # it is in the memory


def test_a_short_text_shows_all_of_the_prompt(tmp_path: Path, says: Script) -> None:
    path = tmp_path / "note.txt"
    path.write_text("Edda keeps it.")
    run("ask", str(path), "Who?", *ASK, "--system", "Be terse.")
    run("ask", str(path), "Who?", *ASK, "--template", "Say in one word: {question}")
    asked = [each.prompt for each in says.asked]
    assert asked == [
        f"<|system|>Be terse.{END}<|user|>Edda keeps it.\n\n---\n\nQuestion: Who?{END}{ASSISTANT}",
        f"<|user|>Edda keeps it.\n\n---\n\nSay in one word: Who?{END}{ASSISTANT}",
    ]


def test_a_model_that_was_not_taught_by_the_plain_question_is_asked_for_few_words(tmp_path: Path, says: Script) -> None:
    path = tmp_path / "note.txt"
    path.write_text("Edda keeps it.")
    run("ask", str(path), "Who?", *ASK, "--condense", "select")
    run("ask", str(path), "Who?", *ASK, "--condense", "beacon")
    untaught, taught = (each.prompt for each in says.asked)
    assert untaught.endswith(f"---\n\nAnswer in a few words from the text.\n\nQuestion: Who?{END}{ASSISTANT}")
    assert taught.endswith(f"---\n\nQuestion: Who?{END}{ASSISTANT}")


def test_passages_stand_before_the_template_or_where_it_says(book: Path, says: Script) -> None:
    run("ask", str(book), WHO_KEEPS, "--passages", "1", "--template", "{question} Answer:")
    run("ask", str(book), WHO_KEEPS, "--passages", "1", "--template", "From {passages} say: {question}")
    before, within = says.asked
    passage = "\n\n".join(before.passages)
    assert passage
    assert before.request == f"{WHO_KEEPS} Answer:{END}{ASSISTANT}"
    assert within.request == f"From {passage} say: {WHO_KEEPS}{END}{ASSISTANT}"


def test_a_question_is_taken_word_for_word(tmp_path: Path, says: Script) -> None:
    (tmp_path / "note.txt").write_text("Braces.")
    run("ask", str(tmp_path / "note.txt"), "What is {passages} or {question}?", *ASK)
    assert says.asked[0].request.startswith("Question: What is {passages} or {question}?")


def test_a_template_without_a_question_is_refused(book: Path) -> None:
    assert_misused(run("ask", str(book), "Who?", "--template", "Answer"), "--template", "{question}")


def test_a_cache_with_a_system_message_is_verified_and_mended(book: Path, cache_dir: Path) -> None:
    assert run("cache", "build", str(book), "--system", "Be terse.", "--quiet").code == 0
    assert run("cache", "verify", "--deep", "--quiet").code == 0
    (shard,) = cache_dir.glob("documents/*/*00000*")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert run("cache", "verify", "--quiet").code == 1
    assert run("cache", "verify", "--repair", "--quiet").code == 0
    assert run("cache", "verify", "--deep", "--quiet").code == 0


def test_a_chat_template_without_a_place_for_it(tmp_path: Path, book: Path, scripted_model: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in scripted_model.iterdir():
        (model / path.name).symlink_to(path)
    (model / "chat_template.jinja").write_text("<|user|>{{ messages[-1]['content'] }}<|end|><|assistant|>")
    refused = run("ask", str(book), "Who?", "--model", str(model), "--system", "Be terse.")
    assert_refused(refused, "no place for a system message", "--system")
    assert run("ask", str(book), "Who?", "--model", str(model)).code == 0
