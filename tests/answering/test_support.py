"""What the text supports of an answer, and when an answer is none."""

import pytest
import torch

from beacon_cli.answering.decoding import babbles, belief, loops
from beacon_cli.answering.passages import split_passages
from beacon_cli.answering.search import SearchIndex
from beacon_cli.answering.support import Supported, is_refusal, support
from beacon_cli.cache.pages import PageText

TEXT = [
    "The keeper of the Morvane lighthouse is called Edda Voss. She was born in 1871, and keeps 1,200 candles in store.",
    "The smith of the village, Karl Brann, drinks tea and coffee. His wife Dora sold 48 horses in Vanborg.",
    "Nothing grew on the hill but gorse. 灯台守は木村という女性です。彼女は1871年に長崎で生まれた。",
]
INDEX = SearchIndex(split_passages([PageText(n, str(n), text, 0, 0) for n, text in enumerate(TEXT, 1)]))
KEEPER = "Who is the keeper of the lighthouse?"


@pytest.mark.parametrize(
    ("question", "answer", "supported"),
    [
        (KEEPER, "Edda Voss", True),
        (KEEPER, "The keeper of the lighthouse is called Edda Voss.", True),
        (KEEPER, "It is Voss, Edda.", True),
        (KEEPER, "Edda Brann", False),
        (KEEPER, "Edda Voss, born in 1817", False),
        (KEEPER, "Edda Voss. Nobody knows when Xanthippe came.", "partly"),
        ("How many candles has the keeper?", "1200", True),
        ("How many candles has the keeper?", "12", False),
        ("How many candles has the keeper?", "200", False),
        ("How many horses did Dora sell in Vanborg?", "She sold 48.", True),
        # It stands there, but not of what is asked.
        ("How many ships sank at the Morvane lighthouse?", "48", "partly"),
        ("What does the smith drink?", "coffee, tea", True),
        ("What does the smith drink?", "wine", False),
        ("Does the smith drink tea?", "Yes.", False),
        ("灯台守は誰ですか？", "木村", True),
        ("灯台守は誰ですか？", "田中", False),
    ],
)
def test_what_is_supported(question: str, answer: str, supported: Supported) -> None:
    assert support(INDEX, question, answer).supported == supported


def test_the_passage_that_holds_an_answer_comes_first() -> None:
    assert support(INDEX, "What does the smith drink?", "tea").places[0] == 1
    assert support(INDEX, "What does the smith drink?", "wine").places == ()


def test_a_refusal_is_no_answer() -> None:
    assert is_refusal("The text does not say.")
    assert is_refusal(" the text does not say ")
    assert not is_refusal("The text does not say. It was Edda.")
    assert not is_refusal("")


def test_a_loop_is_one_whatever_its_length() -> None:
    assert loops([7] * 24)
    assert loops([1, 2, 3, *[4, 5, 6, 7] * 6])
    assert loops([*range(40)] * 3)
    assert not loops([7] * 23)
    assert not loops([*range(40)] * 2)
    assert not loops([*range(100)])
    assert not loops([4, 5, 6, 7] * 6 + [1])


def test_babble_is_a_long_stretch_of_disbelief() -> None:
    assert babbles([-3.0] * 24)
    assert not babbles([-3.0] * 23)
    assert not babbles([-3.0] * 24 + [-0.1] * 20)


def test_what_is_drawn_does_not_make_babble() -> None:
    logits = torch.tensor([0.1, 5.0, 0.2])
    assert belief(logits) == pytest.approx(float(logits.log_softmax(-1)[1]), rel=1e-3)
