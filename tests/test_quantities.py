"""Sizes, ages and numbers of things as people read them."""

import pytest

from beacon_cli.quantities import counted, format_age, format_size, parse_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.0 kB"),
        (99_999, "100.0 kB"),
        (100_000, "0.1 MB"),
        (345_600_000, "345.6 MB"),
        (10**9, "1.0 GB"),
        (4_200_000_000_000, "4,200.0 GB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert format_size(size) == text
    assert parse_size(text.replace(",", "")) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "less than a minute"),
        (60, "1 minute"),
        (7199, "1 hour"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (40 * 86400 + 5, "40 days"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


def test_one_of_a_thing_and_several() -> None:
    assert [counted(number, "page") for number in (0, 1, 2, 1234)] == ["0 pages", "1 page", "2 pages", "1,234 pages"]
