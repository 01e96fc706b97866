"""A tiny random model whose tokens are characters."""

from pathlib import Path
from typing import Any, cast

from activation_beacon import attach
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.checkpoints.tokenizer.frame import Frame
from beacon_cli.checkpoints.tokenizer.stream_decoder import StreamDecoder
from beacon_cli.library import Model
from tests.activation_beacon.tiny import CONFIG, VOCABULARY, random_beacon, tiny_model

FRAME = Frame((1, 2), (3,))


class Letters:
    """A token for each printable ASCII character, and one for the end of a line; all others are unknown."""

    eos_ids = frozenset[int]()
    fingerprint = "letters"

    def encode(self, text: str) -> list[int]:
        known = [95 if letter == "\n" else ord(letter) - 32 for letter in text]
        return [token if 0 <= token < VOCABULARY - 1 else VOCABULARY - 1 for token in known]

    def decode(self, ids: list[int]) -> str:
        return "".join("\n" if token == 95 else "?" if token == VOCABULARY - 1 else chr(token + 32) for token in ids)

    def stream_decoder(self) -> StreamDecoder:
        return StreamDecoder(cast(Any, self.decode))


class Info:
    """What is asked of a beacon's own settings."""

    config = CONFIG


def tiny_engine(context: int = 512, **settings: Any) -> Engine:
    """Its beacon condenses intervals of 16 tokens at 2, 4 or 8, or not at all; `settings` are the model's."""
    model = tiny_model(**settings)
    anything: Any = Letters()
    source = ModelSource(
        name="tiny", folder=Path(), beacon_folder=Path(), info=cast(Any, Info()), tokenizer=anything, context=context,
        base_fingerprint="base", beacon_fingerprint="beacon",
    )  # fmt: skip
    vars(source)["frame"] = FRAME  # it has no chat template
    device = next(model.parameters()).device
    dtype = next(model.parameters()).dtype
    return Engine(model, device, dtype, source=source, attached=attach(model, random_beacon(model)))


def tiny_model_of(engine: Engine, cache: Path = Path()) -> Model:
    """The engine as the library has it."""
    model = Model(engine.source, "cpu", cache)
    vars(model)["engine"] = engine
    return model
