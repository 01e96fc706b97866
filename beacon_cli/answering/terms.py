"""Text as terms: what search compares, and what support counts.

A term is a word's stem without accents, by the rules of the text's language; a number without the separators of its
thousands; or, where a script has no spaces between words (Chinese, Japanese, Korean with its particles, Thai, Lao,
Khmer, Burmese), two neighbouring characters (and each of Chinese). Words that say nothing by themselves
are left out.
"""

import unicodedata
from collections import Counter

import regex
import Stemmer
from bm25s import stopwords

VERSION = 1
UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"  # ー belongs to two scripts
)
_TOKEN = regex.compile(rf"\d+(?:[.,]\d+)*|[{UNSPACED}]+|(?:(?![{UNSPACED}\d])[\p{{L}}\p{{M}}])[\p{{L}}\p{{M}}\p{{N}}]*")
_THOUSANDS = regex.compile(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*")
_UNSPACED = regex.compile(rf"[{UNSPACED}]")
_HAN = regex.compile(r"\p{Han}")
_SAMPLE = 40_000  # characters that tell a language

# For languages whose stop words bm25s does not have: some of the commonest.
_COMMON = {
    "catalan": "el la de i que en un una és no per amb els les dels del al es va ser",
    "czech": "a se v na je že s z do o by byl jako jeho ale tak po si za to",
    "finnish": "ja on ei että se hän oli mutta kun ovat myös kuin ne niin jo sen",
    "hungarian": "a az és hogy nem egy is volt de csak meg ez már azt mint el",
    "indonesian": "yang dan di ke dari ini itu dengan untuk tidak pada adalah dalam akan",
    "polish": "i w nie na się z do że jest jak to był o po za tak co ale przez od",
    "romanian": "și în nu este pe din care cu pentru mai fost că la un o de se ca",
}
# Those that a script gives away.
_SCRIPTS = {
    "arabic": r"\p{Arabic}",
    "armenian": r"\p{Armenian}",
    "greek": r"\p{Greek}",
    "hindi": r"\p{Devanagari}",
    "tamil": r"\p{Tamil}",
    "yiddish": r"\p{Hebrew}",
}
STOP_WORDS: dict[str, frozenset[str]] = {
    "english": frozenset(stopwords.STOPWORDS_EN_PLUS),
    **{
        name: frozenset(getattr(stopwords, f"STOPWORDS_{name.upper()}"))
        for name in (
            "danish", "dutch", "french", "german", "italian", "norwegian", "portuguese", "russian", "spanish",
            "swedish", "turkish",
        )
    },
    **{name: frozenset(words.split()) for name, words in _COMMON.items()},
}  # fmt: skip


def language_of(text: str) -> str:
    """The language whose rules to read a text by, as PyStemmer calls it: the one that most of its small words are of.

    Where none is recognised, and in what has no spaces between words, it is English, whose rules do little harm.
    """
    text = text[:_SAMPLE]
    for language, script in _SCRIPTS.items():
        if 2 * len(regex.findall(script, text)) > len(regex.findall(r"\p{L}", text)):
            return language
    words = Counter(regex.findall(r"\p{L}+", text.lower()))
    found = {name: sum(words[word] for word in stops) for name, stops in STOP_WORDS.items()}
    return max(found, key=lambda name: (found[name], name == "english"))


class Terms:
    """Makes terms by the rules of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._stop = STOP_WORDS.get(language, frozenset())
        self._stemmer = Stemmer.Stemmer(language)
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, text: str) -> list[str]:
        """The terms of a text, in their order."""
        return [term for word in words(text) for term in self.of_word(word)]

    def of_word(self, word: str) -> tuple[str, ...]:
        """The terms of one of the text's `words`: none, one, or, without spaces, several."""
        if (known := self._known.get(word)) is None:
            known = self._known[word] = tuple(self._made(word))
        return known

    def _made(self, word: str) -> list[str]:
        if word[0].isdigit():
            return [regex.sub("[.,]", "", word) if _THOUSANDS.fullmatch(word) else word]
        word = unicodedata.normalize("NFKC", word).lower()
        if _UNSPACED.match(word):
            # A character of Chinese is often a word by itself.
            return [*_HAN.findall(word), *(word[i : i + 2] for i in range(len(word) - 1))]
        if word in self._stop:
            return []
        return [plain(self._stemmer.stemWord(word))]


def words(text: str) -> list[str]:
    """The words and numbers of a text as they are written; a stretch without spaces is one of them."""
    return _TOKEN.findall(text)  # type: ignore[no-any-return]  # regex is partly typed


def is_unspaced(text: str) -> bool:
    """Whether it begins in a script without spaces between words."""
    return _UNSPACED.match(text) is not None


def plain(word: str) -> str:
    """A word without the accents on its letters."""
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
