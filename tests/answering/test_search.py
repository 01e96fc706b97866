"""Search by the rules of the text's language, and an index that is kept."""

import pytest

from beacon_cli.answering.passages import PASSAGE_WORDS, split_passages
from beacon_cli.answering.search import SearchIndex
from beacon_cli.answering.search_file import packed, unpacked
from beacon_cli.answering.terms import Terms, language_of
from beacon_cli.cache.pages import PageText

LINES = {
    "german": ("Der Leuchtturmwärter hat die Lampen angezündet, und es war dunkel.", "Wer zündete die Lampe an?"),
    "french": ("Les gardiens du phare ont allumé les lampes, et il faisait nuit.", "Quel gardien allume la lampe?"),
    "russian": ("Смотрители маяка зажгли лампы, и было темно на море.", "Какой смотритель зажёг лампу?"),
    "finnish": ("Majakan vartijat olivat saarella ja se oli hyvä.", "Kuka on majakan vartija?"),
    "english": ("灯台守の木村は毎晩ランプに火をつけた。", "誰がランプをつけましたか"),
    "greek": ("Οι φύλακες του φάρου άναψαν τις λάμπες.", "ποιος φύλακας;"),
    "arabic": ("كان حارس المنارة يضيء المصابيح كل ليلة.", "من هو حارس المنارة؟"),
}


def index_of(*texts: str) -> SearchIndex:
    return SearchIndex(split_passages([PageText(n, str(n), text, 0, 0) for n, text in enumerate(texts, 1)]))


@pytest.mark.parametrize("language", LINES)
def test_other_forms_are_found_by_the_rules_of_the_language(language: str) -> None:
    line, question = LINES[language]
    index = index_of("1234 5678.", line, "8765 4321.")
    assert index.terms.language == language == language_of(line)
    assert [passage.page for passage in index.find(question, 3)] == [2]
    assert index.marked(line, question)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("北京是中国的首都。长城在北方。猫在睡觉。", "首都"),
        ("北京是中国的首都。长城在北方。猫在睡觉。", "猫"),
        ("東京タワーは高い。", "タワー"),
        ("กรุงเทพเป็นเมืองหลวงของประเทศไทย", "เมืองหลวง"),
        ("서울은 한국의 수도이다.", "수도"),
    ],
)
def test_what_has_no_spaces_between_words_is_found(text: str, question: str) -> None:
    index = index_of("Nothing here.", text)
    assert [passage.page for passage in index.find(question, 3)] == [2]
    assert any(question in text[first:end] for first, end in index.marked(text, question))


def test_passages_without_spaces_are_as_short_as_others() -> None:
    passages = split_passages([PageText(1, "1", "長城在北方。" * 100, 0, 0)])
    assert all(len(passage.text) <= PASSAGE_WORDS + 20 for passage in passages)
    assert all(passage.text.endswith("。") for passage in passages)


def test_a_number_is_one_however_it_is_written() -> None:
    assert Terms("english").of("1,200 and 12, 3.5 or 1.234.567") == ["1200", "12", "3.5", "1234567"]


def test_a_section_counts() -> None:
    pages = [
        PageText(n, str(n), f"Much is said on page {n}.", 0, 0, title) for n, title in enumerate(("Tides", "Fish"), 1)
    ]
    assert SearchIndex(split_passages(pages)).find("fishes", 1)[0].page == 2


def test_an_index_that_was_kept_finds_the_same() -> None:
    index = index_of("The ferry leaves at nine.", "The ferry of Edda Voss sank.", "The train leaves at ten.")
    kept = SearchIndex(index.passages, unpacked(packed(index), index.passages))
    assert kept.tables is not index.tables
    for question in ("edda", "ferry leaves", "the sinking of ferries", "Xanthippe"):
        assert kept.scores(question).tolist() == index.scores(question).tolist()


def test_one_of_another_text_or_damaged_is_not_used() -> None:
    index, other = index_of("The ferry leaves at nine."), index_of("The ferry leaves at ten.")
    data = packed(index)
    assert unpacked(data, other.passages) is None
    assert unpacked(data[:-1] + b"x", index.passages) is None
    assert unpacked(b"", index.passages) is None


def test_nothing_is_found_in_nothing() -> None:
    assert index_of("1234 . -").find("ferry", 3) == []
    assert SearchIndex([]).find("ferry", 3) == []
