"""What is answered from memories of selected rows and beacons for what these leave out (`recipes.smollm2.left_out`).

    BEACON_DATA=DATA python -m benchmarks.left_out DIR OUT.json [--documents 12] [--ratios 16 32]

DIR has the beacon's checkpoint. Documents, questions and figures are those of `selection.py`. Beside each mixed memory
stands what the selected rows among them keep alone. An interrupted run goes on.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import beacon_cli as beacon
from activation_beacon.scorer import Scorer
from beacon_cli.checkpoints.model_source import ModelSource
from benchmarks.batched import HIDDEN, Padded
from benchmarks.selection import FULL, NOTHING, Asked, Outcome, ask, documents, table
from recipes.smollm2.base import keep_memory
from recipes.smollm2.decoder import Beacons, Decoder, rotation, turned
from recipes.smollm2.left_out import PARTS, Text, default_model, read, recall, shipped


class Mixed:
    """Asks a document's questions of each memory."""

    def __init__(self, model: Any, source: ModelSource, decoder: Decoder, scorer: Scorer, beacons: Beacons) -> None:
        self.model, self.source, self.decoder, self.scorer, self.beacons = model, source, decoder, scorer, beacons

    @torch.inference_mode()
    def outcomes(self, document: Asked, ratios: Sequence[int]) -> Iterator[Outcome]:
        """Of every memory; full attention first."""
        opening = self.source.frame.opening
        text, _ = read(self.decoder, [*opening, *self.source.tokenizer.encode(document.text)], len(opening))
        none = torch.zeros(text.keys.shape[:3], dtype=torch.bool)
        yield NOTHING, ask(self.model, self.source, self._memory(text, none), document)
        yield FULL, ask(self.model, self.source, self._memory(text, ~none), document)
        for ratio in ratios:
            rows, _ = text.share(ratio, 0)
            yield (
                f"selection, {ratio}x",
                ask(self.model, self.source, self._memory(text, text.kept(self.scorer, rows)), document),
            )
            for parts in PARTS:
                rows, after = text.share(ratio, parts)
                kept = text.kept(self.scorer, rows)
                _, keys, values = recall(self.decoder, self.beacons, text, kept, after)
                both = self._memory(text, kept, self._turned(keys, [end - 1 for end in after]), values)
                yield f"{parts} of 8 beacons, {ratio}x", ask(self.model, self.source, both, document)
                yield (
                    f"{parts} of 8 left away, {ratio}x",
                    ask(self.model, self.source, self._memory(text, kept), document),
                )

    def _turned(self, keys: Tensor, places: Sequence[int]) -> Tensor:
        cos, sin = rotation(torch.tensor([list(places)]), self.decoder.shape, keys.dtype)
        return turned(keys, (cos[0], sin[0]))

    def _memory(
        self, text: Text, kept: Tensor, beacon_keys: Tensor | None = None, beacon_values: Tensor | None = None
    ) -> Padded:
        keys, made = self._turned(text.keys, range(text.tokens)), Padded([], [], [], text.tokens)
        stays = kept | (torch.arange(text.tokens) < text.sink)
        for layer in range(len(keys)):
            # A head's other rows are hidden, not taken out: this measures answers, not time.
            hidden = torch.zeros(stays[layer].shape).masked_fill_(~stays[layer], HIDDEN)
            rows = [keys[layer], text.values[layer], hidden]
            if beacon_keys is not None and beacon_values is not None:
                more = beacon_keys[layer], beacon_values[layer], torch.zeros(beacon_keys[layer].shape[:2])
                rows = [torch.cat(pair, 1) for pair in zip(rows, more, strict=True)]
            for each, part in zip((made.keys, made.values, made.hidden), rows, strict=True):
                each.append(part)
        return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--documents", type=int, default=12)
    parser.add_argument("--ratios", type=int, nargs="+", default=[16, 32])
    options = parser.parse_args()
    keep_memory()
    model, _, decoder, scorer = default_model()
    beacons = shipped(decoder)
    state = load_file(options.trained / "left_out.checkpoint.safetensors")
    beacons.load_state_dict({name: state[f"{name}/weight"] for name in beacons.state_dict()})
    engine = beacon.load(condense="select").engine
    asked = documents(engine, Path(os.environ["BEACON_DATA"]), 1000, 2)
    made = json.loads(options.out.read_text()) if options.out.exists() else {}
    mixed = Mixed(model, engine.source, decoder, scorer, beacons)
    for document in asked[min(map(len, made.values()), default=0) : options.documents]:
        for way, outcomes in mixed.outcomes(document, options.ratios):
            made.setdefault(way, []).append(outcomes)
        options.out.write_text(json.dumps(made))
    print(table(made))


if __name__ == "__main__":
    main()
