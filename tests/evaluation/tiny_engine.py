"""An engine around a tiny random model, whose tokens are characters."""

from types import SimpleNamespace
from typing import Any, cast

from activation_beacon import attach
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.tokenizer.frame import Frame
from tests.activation_beacon.tiny import CONFIG, VOCABULARY, random_beacon, tiny_model

FRAME = Frame((1, 2), (3,))


class Letters:
    """A token for each printable ASCII character, and one for the end of a line; all others are unknown."""

    eos_ids = frozenset[int]()

    def encode(self, text: str) -> list[int]:
        known = [95 if letter == "\n" else ord(letter) - 32 for letter in text]
        return [token if 0 <= token < VOCABULARY - 1 else VOCABULARY - 1 for token in known]

    def decode(self, ids: list[int]) -> str:
        return "".join("\n" if token == 95 else "?" if token == VOCABULARY - 1 else chr(token + 32) for token in ids)


def tiny_engine(context: int = 512, **settings: Any) -> Engine:
    """Its beacon condenses intervals of 16 tokens at 2, 4 or 8, or not at all; `settings` are the model's."""
    model = tiny_model(**settings)
    source: Any = SimpleNamespace(
        name="tiny",
        context=context,
        info=SimpleNamespace(config=CONFIG),
        tokenizer=Letters(),
        ratios=(0, 2, 4, 8),
    )
    device = next(model.parameters()).device
    dtype = next(model.parameters()).dtype
    return Engine(cast(Any, source), attach(model, random_beacon(model)), device, dtype)
