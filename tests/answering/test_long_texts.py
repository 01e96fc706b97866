"""A text of which the memory does not fit the model at once: nothing is too long, for a question recalls parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import beacon_cli as beacon
from beacon_cli import Model
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.cache import builder, loading
from beacon_cli.cache.store import Store
from beacon_cli.condensing.ratio import ratio_to_recall
from beacon_cli.errors import CacheError, TooLongError
from beacon_cli.events import IntervalDone
from tests.cli.runner import assert_refused, run
from tests.scripted import Script, make_model
from tests.stories import FACT, WHO_KEEPS, story

CONTEXT, PARAGRAPHS = 2048, 300  # some 24,000 tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "short", context=CONTEXT)


@pytest.fixture
def model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(builder, "SHARD_BYTES", 2**16)  # four intervals at ratio 8
    return beacon.load(str(folder), condense="select", cache_dir=tmp_path / "cache", device="cpu")


@pytest.fixture
def long(tmp_path: Path) -> Path:
    path = tmp_path / "long.txt"
    path.write_text(story(PARAGRAPHS, 200))
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The shards that are loaded."""
    indices, read = list[int](), loading.read_shard

    def reading(folder: Path, manifest: Any, index: int, pinned: bool = False) -> Any:
        indices.append(index)
        return read(folder, manifest, index, pinned)

    monkeypatch.setattr(loading, "read_shard", reading)
    return indices


def test_a_question_loads_what_it_recalls_and_is_asked_as_without_a_cache(
    model: Model, long: Path, loaded: list[int], says: Script
) -> None:
    says("Edda Voss")
    held = model.read(long, cache=False)
    built = model.read(long)  # whose reader has let go of what is in the cache
    taken = model.read(long)
    assert [memory.ratio for memory in (held, built, taken)] == [8, 8, 8]
    assert held.rows == built.rows == taken.rows > CONTEXT
    assert taken.documents[0].from_cache
    for memory in (held, built, taken, taken):
        loaded.clear()
        assert memory.ask(WHO_KEEPS, passages=0, recall=2).text == "Edda Voss"
        shards = len(set(loaded))
        assert shards == 0 if memory is held else 1 < shards <= 4
    manifest = Store(*model._cache[:2]).entries()[0].manifest
    assert manifest is not None
    assert len(manifest.shards) > 20
    assert all(asked.equals(says.asked[0]) for asked in says.asked)


def test_what_passages_do_not_say_is_asked_of_what_is_recalled(
    model: Model, long: Path, loaded: list[int], says: Script
) -> None:
    says(REFUSAL, "Edda Voss")
    vars(model.source)["passages_first"] = True
    memory = model.read(long)
    loaded.clear()
    assert memory.ask(WHO_KEEPS, passages=1).text == "Edda Voss"
    assert len(says.asked) == 2
    assert 1 < len(set(loaded)) <= 6


def test_a_question_about_nothing_in_it_is_asked_after_its_beginning(model: Model, long: Path, says: Script) -> None:
    says("Nobody")
    memory = model.read(long, cache=False)
    assert memory.find("zyxwv") == []
    assert memory.ask("zyxwv?", passages=0).text == "Nobody"


def test_all_of_it_is_read_at_once_only_at_a_ratio_at_which_it_fits(model: Model, long: Path, says: Script) -> None:
    says("A road.")
    memory = model.read(long)
    for ask in (memory.summarize, lambda: memory.ask(WHO_KEEPS, passages=0, recall=0)):
        with pytest.raises(TooLongError, match=r"long\.txt: [\d,]+ rows at ratio 8"):
            ask().complete()
    assert memory.ask(WHO_KEEPS).text == "A road."
    whole = model.read(long, whole=True)
    assert whole.ratio > 8
    assert whole.summarize().text == "A road."


@pytest.mark.parametrize("ratio", ["auto", 8])
def test_what_must_fit_at_once_is_refused(model: Model, long: Path, tmp_path: Path, ratio: Any) -> None:
    other = tmp_path / "longer.txt"
    other.write_text(story(3 * PARAGRAPHS))
    with pytest.raises(TooLongError, match=r"longer\.txt has"):
        model.read(other, ratio=ratio, whole=True)
    with pytest.raises(TooLongError, match=r"long.*\.txt has"):
        model.read([long, other], ratio=ratio, whole=True)


def test_several_documents_are_asked_after_parts_of_each(
    model: Model, long: Path, tmp_path: Path, says: Script
) -> None:
    """Nothing is too much; what stands in two documents is read after the name of each, from disk as without one."""
    paths = [long]
    for number in range(3):
        paths.append(tmp_path / f"{number}.txt")
        paths[-1].write_text(story(PARAGRAPHS // 3, 40).replace("Edda Voss", f"Edda the {number}."))
    says("Edda Voss")
    held, built, taken = model.read(paths, cache=False), model.read(paths), model.read(paths)
    assert [memory.ratio for memory in (held, built, taken)] == [8, 8, 8]
    assert sum(document.tokens for document in taken.documents) == taken.tokens
    for memory in (held, built, taken, taken):
        assert memory.ask(WHO_KEEPS, passages=0, recall=4).text == "Edda Voss"
        assert {passage.document for passage in memory.find(WHO_KEEPS, 4)} == {path.name for path in paths}
    assert all(asked.equals(says.asked[0]) for asked in says.asked)
    with pytest.raises(TooLongError, match=r"long\.txt, 0\.txt, 1\.txt, 2\.txt: [\d,]+ rows"):
        taken.summarize().complete()


def test_what_the_cache_has_of_a_document_alone_serves_in_any_company(
    model: Model, long: Path, tmp_path: Path, says: Script
) -> None:
    says("Edda Voss")
    short = tmp_path / "short.txt"
    short.write_text(story(15, 5).replace("Edda Voss", "Edda the Short"))
    ratios = [model.condense(path)[0].ratio for path in (long, short)]
    assert ratios == [8, 2]
    for paths in ([long, short], [short, long]):
        memory = model.read(paths)
        assert [document.condensed_now for document in memory.documents] == [0, 0]
        assert sorted(document.ratio for document in memory.documents) == [2, 8]
        assert memory.ask(WHO_KEEPS, passages=0).text == "Edda Voss"
    keys = [entry.entry.key for entry in Store(*model._cache[:2]).entries()]
    assert model.read(keys).ask(WHO_KEEPS, passages=0).text == "Edda Voss"
    with pytest.raises(CacheError, match="cannot be read at ratio 8"):
        model.read(keys, ratio=8)
    two = [tmp_path / f"{number}.txt" for number in range(2)]
    for path in two:
        path.write_text(f"{path.name} begins. {story(15, 5)}")
    together = model.read(two)  # both fit at once, and are placed as they are
    assert together.ask(WHO_KEEPS, passages=0, recall=0).text == "Edda Voss"
    assert {document.ratio for document in together.documents} == {2}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("recall", [4, 0])
def test_a_document_shorter_than_an_interval_is_asked_among_others(
    model: Model, tmp_path: Path, says: Script, order: tuple[int, int], recall: int
) -> None:
    says("Edda Voss")
    paths = [tmp_path / "note.txt", tmp_path / "story.txt"]
    paths[0].write_text(FACT)
    paths[1].write_text(story(15))
    memory = model.read([paths[number] for number in order])
    assert memory.ask(WHO_KEEPS, passages=0, recall=recall).text == "Edda Voss"
    assert [passage.document for passage in memory.find(WHO_KEEPS, 1)] == ["note.txt"]
    assert (FACT in says.asked[0].prompt) == (recall > 0 or order == (1, 0))  # else it is in the memory


@pytest.mark.parametrize("recall", [4, 0])
def test_several_documents_shorter_than_an_interval_without_anything_before_them(
    model: Model, tmp_path: Path, says: Script, recall: int
) -> None:
    says("Edda Voss")
    vars(model.source)["frame"] = replace(model.source.frame, opening=())
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for path in paths:
        path.write_text(f"{path.name} begins. {FACT}")
    assert model.read(paths).ask(WHO_KEEPS, passages=0, recall=recall).text == "Edda Voss"


def test_room_that_is_made_for_one_document_takes_no_other_away(
    folder: Path, long: Path, tmp_path: Path, says: Script
) -> None:
    says("Edda Voss")
    other = tmp_path / "other.txt"
    other.write_text(story(PARAGRAPHS - 1))
    model = beacon.load(str(folder), condense="select", cache_dir=tmp_path / "cache", cache_limit=3 * 2**20)
    for _ in range(2):
        memory = model.read([long, other])
        assert len(Store(tmp_path / "cache").entries()) == 1
        assert memory.ask(WHO_KEEPS, passages=0).text == "Edda Voss"


def test_it_goes_on_where_it_was_stopped_and_ends_as_if_it_had_not_been(
    model: Model, folder: Path, long: Path, tmp_path: Path, loaded: list[int]
) -> None:
    done = list[int]()

    def stop(event: object) -> None:
        if isinstance(event, IntervalDone):
            done.append(event.rows)
            if len(done) == 60:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.read(long, progress=stop)
    assert done == sorted(done)
    loaded.clear()
    model.condense(long)
    assert 0 < len(set(loaded)) < 10  # of 15: no more than it reads on with
    again = beacon.load(str(folder), condense="select", cache_dir=tmp_path / "again", device="cpu")
    again.condense(long)
    chains = [
        each.manifest.chain for at in ("cache", "again") for each in Store(tmp_path / at).entries() if each.manifest
    ]
    assert len(chains) == 2
    assert chains[0] == chains[1]


def test_it_is_verified_and_repaired(
    folder: Path, long: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "SHARD_BYTES", 2**16)
    how = ("--model", str(folder), "--condense", "select")
    assert run("cache", "build", str(long), *how).code == 0
    assert "equal to the bit" in run("cache", "verify", "--deep").out
    shard = sorted(cache_dir.glob("documents/*/memory-*"))[17]
    shard.write_bytes(shard.read_bytes()[:-1])
    assert run("cache", "verify", "--repair", "--quiet").code == 0
    assert run("cache", "verify").code == 0


@pytest.mark.parametrize("taken", [False, True])
def test_what_has_left_the_cache_meanwhile_is_condensed_again(
    model: Model, long: Path, says: Script, taken: bool
) -> None:
    says("Edda Voss")
    store = Store(*model._cache[:2])
    for _ in range(1 + taken):
        memory = model.read(long)
    memory.ask(WHO_KEEPS, passages=0).complete()
    store.remove(store.entries()[0].entry)
    for _ in range(2):
        memory.ask(WHO_KEEPS, passages=0).complete()
    assert len(store.entries()) == 1
    first, *others = says.asked
    assert all(asked.equals(first) for asked in others)


def test_what_has_left_the_cache_and_has_changed_is_refused(model: Model, long: Path) -> None:
    store = Store(*model._cache[:2])
    model.condense(long)
    memory = model.read(long)
    long.write_text(story(PARAGRAPHS, 100))
    store.remove(store.entries()[0].entry)
    with pytest.raises(CacheError, match="has changed"):
        memory.ask(WHO_KEEPS, passages=0).complete()


def test_what_has_left_the_cache_without_its_document_is_refused(model: Model, long: Path) -> None:
    store = Store(*model._cache[:2])
    model.condense(long)
    entry = store.entries()[0].entry
    memory = model.read(entry.key)
    store.remove(entry)
    with pytest.raises(CacheError, match=entry.key):
        memory.ask(WHO_KEEPS, passages=0).complete()


def test_commands_ask_a_long_text_and_say_when_it_must_fit(folder: Path, long: Path) -> None:
    how = ("--model", str(folder), "--condense", "select")
    result = run("ask", str(long), WHO_KEEPS, *how, "--json")
    assert (result.code, result.json["ratio"]) == (0, 8)
    long.write_text(story(3 * PARAGRAPHS))
    assert run("ask", str(long), WHO_KEEPS, *how, "--json").json["ratio"] == 8
    assert_refused(run("ask", str(long), WHO_KEEPS, *how, "--recall", "0"), "long.txt has", "--pages")
    assert_refused(run("summarize", str(long), *how), "long.txt has", "--pages")


@pytest.mark.parametrize(
    ("kept", "ratio"),
    [
        ({}, 8),
        ({2: 1.0, 4: 0.9, 8: 0.7, 16: 0.6}, 4),
        ({2: 1.0, 4: 0.9, 8: 0.9, 16: 0.8}, 16),
        ({2: 0.1, 4: 0.1, 8: 0.1}, 2),
    ],
)
def test_the_ratio_is_the_largest_that_keeps_enough(model: Model, kept: dict[int, float], ratio: int) -> None:
    vars(model.source)["kept"] = kept
    assert ratio_to_recall(model.source, 10**6, 100) == ratio
    assert ratio_to_recall(model.source, 1000, 100) == 2
