"""Made-up values: numbers, dates, measures, codes, words and small phrases."""

from __future__ import annotations

import random
from collections.abc import Callable

from recipes.pocket.names import WORDS, Names


def _grouped(rng: random.Random, low: float, high: float) -> str:
    number = int(10 ** rng.uniform(low, high))
    return f"{number:,}" if rng.random() < 0.8 else str(number)


def _date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.choice(WORDS["months"]), rng.randint(1500, 2040)
    return rng.choice((f"{day} {month} {year}", f"{month} {day}, {year}", f"{day} {month}", f"{month} {day}"))


def _time(rng: random.Random) -> str:
    hour, minute = rng.randint(1, 12), rng.choice((0, 10, 15, 20, 25, 30, 40, 45, 50, 55, 5, 12, 37))
    return rng.choice(
        (
            f"{hour}:{minute:02d}",
            f"{hour}:{minute:02d} in the morning",
            f"{hour}:{minute:02d} p.m.",
            f"{hour} o'clock",
            f"half past {rng.choice(WORDS['small'])}",
        )
    )


def _code(rng: random.Random) -> str:
    letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(2, 5)))
    return rng.choice((f"{letters}-{digits}", f"{letters}{digits}", f"{digits}-{letters}", f"{letters} {digits}"))


def _money(rng: random.Random) -> str:
    amount = _grouped(rng, 0.5, 6)
    return rng.choice(
        (
            f"${amount}",
            f"£{amount}",
            f"{amount} pounds",
            f"{amount} dollars",
            f"{amount} crowns",
            f"€{amount}",
            f"{amount} francs",
            f"${amount} million",
        )
    )


def _hiding(rng: random.Random) -> str:
    return f"{rng.choice(WORDS['prepositions'])} the {rng.choice(WORDS['adjectives'])} {rng.choice(WORDS['nouns'])}"


def _password(rng: random.Random, names: Names) -> str:
    return rng.choice(
        (
            names.word().lower(),
            names.word(),
            f"{rng.choice(WORDS['nouns'])}{rng.randint(2, 999)}",
            f"{rng.choice(WORDS['adjectives'])} {rng.choice(WORDS['nouns'])}",
            f"{names.word().lower()}-{rng.choice(WORDS['nouns'])}",
        )
    )


def _motto(rng: random.Random) -> str:
    one, two, three = rng.sample(WORDS["motto_words"], 3)
    return rng.choice(
        (
            f"{one} and {two}",
            f"{one}, {two}, {three}",
            f"through {one} to {two}",
            f"no {one} without {two}",
            f"{one} before {two}",
        )
    ).capitalize()


def makers(rng: random.Random, names: Names) -> dict[str, Callable[[], str]]:
    """Value kind -> a function that makes one value of it."""
    pick = rng.choice
    return {
        "person": names.person,
        "first": names.first,
        "place": names.place,
        "org": names.org,
        "object": lambda: f"a {pick(WORDS['adjectives'])} {pick(WORDS['nouns'])}".replace("a a", "an a", 1).replace(
            "a o", "an o", 1
        ),
        "thing": lambda: pick(
            (
                f"the {names.word()} {pick(WORDS['nouns'])}",
                f"a new kind of {pick(WORDS['nouns'])}",
                f"the {pick(WORDS['adjectives'])} {pick(WORDS['nouns'])}",
                f"the cave of {names.word()}",
                f"a cure for {pick(WORDS['illnesses'])}",
                names.word().lower(),
            )
        ),
        "titled": lambda: f"{pick(WORDS['titles'])} {names.person()}",
        "peak": lambda: pick(
            (f"Mount {names.word()}", f"{names.word()} Peak", f"{names.word()} {_grouped(rng, 2, 3.8)} m")
        ),
        "pet_name": names.word,
        "nickname": lambda: pick(
            (
                f"the {pick(WORDS['adjectives']).title()} {pick(WORDS['jobs']).title()}",
                f"{names.word()}",
                f"Old {names.word()}",
                f"the {pick(WORDS['animals']).title()}",
            )
        ),
        "date": lambda: _date(rng),
        "year": lambda: str(rng.randint(1005, 2049)),
        "time": lambda: _time(rng),
        "age": lambda: str(rng.randint(3, 99)),
        "body_height": lambda: pick(
            (
                f"{rng.randint(140, 209)} cm",
                f"{pick(WORDS['small'][3:7])} feet {pick(WORDS['small'])} inches",
                f"1.{rng.randint(40, 99)} m",
            )
        ),
        "few": lambda: pick((pick(WORDS["small"]), str(rng.randint(2, 40)))),
        "small": lambda: str(rng.randint(2, 999)),
        "hundreds": lambda: str(rng.randint(24, 1900)),
        "number": lambda: str(rng.randint(100, 999999)),
        "count": lambda: _grouped(rng, 2, 8),
        "area": lambda: (
            f"{_grouped(rng, 1, 6)} {pick(('sq km', 'square miles', 'acres', 'hectares', 'square kilometres'))}"
        ),
        "km": lambda: pick(
            (f"{_grouped(rng, 0.5, 3.7)} km", f"{rng.randint(2, 900)} miles", f"{rng.randint(2, 40)} leagues")
        ),
        "metres": lambda: pick(
            (f"{_grouped(rng, 0.6, 3.8)} m", f"{_grouped(rng, 0.6, 3.5)} metres", f"{_grouped(rng, 0.6, 3.5)} feet")
        ),
        "tonnes": lambda: f"{_grouped(rng, 1, 5)} {pick(('tons', 'tonnes'))}",
        "kg": lambda: pick((f"{rng.randint(2, 900)} kg", f"{rng.randint(2, 900)} pounds")),
        "money": lambda: _money(rng),
        "address": lambda: (
            f"{rng.randint(1, 400)} {names.word()} {pick(('Street', 'Road', 'Lane', 'Square', 'Avenue', 'Alley'))}"
        ),
        "phone": lambda: pick(
            (
                f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
                f"{rng.randint(10, 99)} {rng.randint(10, 99)} {rng.randint(10, 99)}",
                f"0{rng.randint(100, 999)} {rng.randint(10000, 99999)}",
            )
        ),
        "password": lambda: _password(rng, names),
        "code": lambda: _code(rng),
        "job": lambda: pick(WORDS["jobs"]),
        "colour": lambda: pick(WORDS["colours"]),
        "food": lambda: pick(WORDS["foods"]),
        "goods": lambda: pick((pick(WORDS["goods"]), f"{pick(WORDS['goods'])} and {pick(WORDS['goods'])}")),
        "material": lambda: pick(
            (
                pick(WORDS["materials"]),
                f"{pick(('black', 'white', 'red', 'polished', 'green'))} {pick(WORDS['materials'])}",
            )
        ),
        "cause": lambda: pick(WORDS["causes"]),
        "illness": lambda: pick(WORDS["illnesses"]),
        "herb": lambda: pick(WORDS["herbs"]),
        "instrument": lambda: pick(WORDS["instruments"]),
        "animals": lambda: pick(WORDS["plural_animals"]),
        "climate": lambda: pick(WORDS["climates"]),
        "plant": lambda: pick(WORDS["plants"]),
        "subject": lambda: pick(WORDS["subjects"]),
        "clothing": lambda: f"a {pick(WORDS['colours'])} {pick(WORDS['clothes'])}",
        "language": lambda: names.word(),
        "currency": lambda: names.word().lower(),
        "motto": lambda: _motto(rng),
        "hiding": lambda: _hiding(rng),
    }
