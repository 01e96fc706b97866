"""Scores with known values, and intervals that hold what they should."""

import math

import pytest

from beacon_cli.evaluation.metrics import bootstrap, exact_match, f1, found, normal, perplexity, wilson


def test_what_does_not_count_in_an_answer() -> None:
    assert normal("  The “White”  Rabbit, of a\nHole! ") == "white rabbit of hole"


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "overlap"),
    [
        ("the White Rabbit.", ["a white rabbit"], 1, 1),
        ("a white rabbit in a hole", ["the White Rabbit", "nobody"], 0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        ("Dinah Dinah", ["Dinah"], 0, 2 * 0.5 / 1.5),
        ("a cat", ["Dinah"], 0, 0),
        ("", ["Dinah"], 0, 0),
        ("the", ["a"], 1, 1),
    ],
)
def test_exact_match_and_f1(answer: str, golds: list[str], exact: float, overlap: float) -> None:
    assert exact_match(answer, golds) == exact
    assert f1(answer, golds) == pytest.approx(overlap)


def test_an_answer_is_found_as_whole_words() -> None:
    assert found("It is 48213, I think.", ["48213"]) == 1
    assert found("It is 482134.", ["48213"]) == 0
    assert found("the history of tea", ["the history of tea leaves"]) == 0


def test_wilson_against_published_values() -> None:
    low, high = wilson(0, 10)
    assert (low, high) == (0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(5, 10) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson(10, 10)[1] == pytest.approx(1)


def test_bootstrap_surrounds_the_mean_and_shrinks() -> None:
    few, many = [0.0, 0.5, 1.0] * 3, [0.0, 0.5, 1.0] * 100
    assert bootstrap(few)[0] < 0.5 < bootstrap(few)[1]
    assert bootstrap(many)[1] - bootstrap(many)[0] < (bootstrap(few)[1] - bootstrap(few)[0]) / 3
    assert bootstrap([0.3, 0.3]) == (pytest.approx(0.3), pytest.approx(0.3))
    low, high = bootstrap([1.0, 3.0] * 200, [3.0, 1.0] * 200)
    assert 1.3 < low < 1.5 < high < 1.7


def test_perplexity_weighs_blocks_by_their_tokens() -> None:
    assert perplexity([math.log(8), math.log(2)], [1, 2]) == pytest.approx(8 ** (1 / 3) * 2 ** (2 / 3))
