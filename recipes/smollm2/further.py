"""The reader, trained further on passages whose names and numbers are others, and averaged with what it was.

    python -m recipes.smollm2.further --data DATA --out DIR [--share 0.5]

goes on from the default model's reader (`--reader` names another) and leaves `reader.safetensors` and `reader.json` in
`--out`; killed at any moment, the same command goes on. It takes under an hour on two processors with bfloat16, and
a C++ compiler. What is held out is looked at for several shares of what was learned, of which `--share` is kept.

Of weights between those of before and after, the model tells better what a text does not say than of either: they
went from the same beginning, and one of them knows the training passages by heart.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import beacon_smollm2
from beacon_cli.answering.prompts import REFUSAL
from beacon_cli.checkpoints.arithmetic import fast_arithmetic
from beacon_cli.checkpoints.convert.lora import read_lora
from beacon_cli.checkpoints.local.model_folder import READER_CONFIG
from recipes.smollm2 import base, sources
from recipes.smollm2.batches import Plan, ReaderBatches, batches
from recipes.smollm2.conversations import Ask, Composer
from recipes.smollm2.decoder import PLACES, Decoder, Lora
from recipes.smollm2.learning import Training, learned_hidden, reader_losses
from recipes.smollm2.rows import Layout
from recipes.smollm2.sheets import Sheet, batch
from recipes.smollm2.sources import Passage, Question
from recipes.smollm2.training import SIZES, save_reader

PLANS = {"full": Plan(150, 4, 2048, 5e-4, decay=0.56), "smoke": Plan(3, 1, 384, 1e-2, warmup=2)}
# Of the passages.
ALTERED = 0.5
# Of what is learned here in what is kept; what is looked at beside it.
SHARE, SHARES = 0.5, (0.0, 0.25, 0.5, 0.75, 1.0)
# Questions of a row that is looked at.
TOGETHER = 20


@dataclass(frozen=True)
class Told:
    """What a reader says to questions, and how likely it refuses.

    Attributes:
        doubt: (questions) the logarithm of the probability of the refusal.
        refused: (questions) whether it is what is said.
        right: (questions) whether the answer would be given word for word; False where there is none.
        answerable: (questions)
    """

    doubt: Tensor
    refused: Tensor
    right: Tensor
    answerable: Tensor

    def figures(self) -> dict[str, float]:
        """In per cent: answers given word for word, questions refused that have an answer, and that have none; and how
        often a question without an answer is doubted more than one with an answer.
        """
        without, having = self.doubt[~self.answerable], self.doubt[self.answerable]
        said = self.right & ~self.refused
        return {
            "exact": 100 * said[self.answerable].float().mean().item(),
            "refused_wrongly": 100 * self.refused[self.answerable].float().mean().item(),
            "refused": 100 * self.refused[~self.answerable].float().mean().item(),
            "told_apart": 100 * (without[:, None] > having).float().mean().item(),
        }


def main(words: list[str] | None = None) -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("BEACON_DATA"), help="else $BEACON_DATA")
    parser.add_argument("--reader", type=Path, default=beacon_smollm2.FOLDER)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=sorted(PLANS), default="full")
    parser.add_argument("--share", type=float, default=SHARE, help="of what is learned here in what is kept")
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args(words))


def train(options: argparse.Namespace) -> None:
    """Train, look, average and write; what is there of an earlier run of the same command is gone on with."""
    base.keep_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    size, plan = SIZES[options.size], PLANS[options.size]
    model, tokenizer = base.load_base(base.gguf_file()) if size.real else base.tiny_base()
    passages = {
        split: sources.load(Path(options.data), split) if size.real else sources.made_up(0)
        for split in ("train", "dev")
    }
    layout, dtype = Layout(tokenizer), fast_arithmetic().dtype if size.real else torch.float32
    decoder = Decoder(model, dtype, "cpu", compiled=size.real)
    before, lora = read(options.reader, decoder), read(options.reader, decoder)
    training = Training("further", lora, plan, options.out)
    composer = Composer(passages["train"], replace(size.mix, altered=ALTERED))
    rows = batches(ReaderBatches(composer, layout, plan, options.seed), 0, training.step, plan.steps)
    for _ in training.run(reader_losses(decoder, lora, rows, "cpu")):
        pass
    # Rows of any length: to compile for each would take longer than to look.
    looking = Decoder(model, dtype, "cpu", compiled=False)
    for share in SHARES:
        figures = told(looking, averaged(before, lora, share), layout, passages["dev"]["squad"]).figures()
        training.log(share=share, **figures)
    made = json.loads((options.reader / READER_CONFIG).read_text("utf-8"))
    further = {"steps": training.step, "tokens": training.used, "share": options.share, "plan": asdict(plan)}
    save_reader(averaged(before, lora, options.share), options.out, made | {"further": further})


def read(folder: Path, decoder: Decoder) -> Lora:
    """A reader, to be trained further."""
    found = read_lora(folder)
    rank = next(iter(found.parts.values()))[0].shape[0]
    lora = Lora(decoder.shapes(), decoder.layers, rank, found.scale * rank)
    with torch.no_grad():
        for name, place in PLACES.items():
            for number in range(decoder.layers):
                first, second = found.factors(f"model.layers.{number}.{place}.weight")
                lora.a[name][number] = first
                lora.b[name][number] = second / found.scale
    return lora


def averaged(before: Lora, after: Lora, share: float) -> Lora:
    """Weights between those of two readers."""
    made, later = copy.deepcopy(before), after.state_dict()
    made.load_state_dict({name: torch.lerp(each, later[name], share) for name, each in before.state_dict().items()})
    return made


@torch.no_grad()
def told(decoder: Decoder, lora: Lora, layout: Layout, passages: Sequence[Passage]) -> Told:
    """What a reader says to all questions of passages, each asked by itself."""
    refusal, found = [*layout.ids(REFUSAL), layout.end], list[tuple[float, bool, bool, bool]]()
    for passage in passages:
        for first in range(0, len(passage.questions), TOGETHER):
            questions = passage.questions[first : first + TOGETHER]
            targets = [[refusal, *([[*layout.ids(q.target), layout.end]] if q.answers else [])] for q in questions]
            sheet = _asked(layout, passage, questions, targets)
            sheets = batch([sheet], len(sheet.ids), 0, layout.end)
            logits = decoder.logits(learned_hidden(decoder(sheets, lora), sheets)).log_softmax(-1)
            likely = logits.gather(1, sheets.targets[:, None])[:, 0]
            said = logits.argmax(-1) == sheets.targets
            place = 0
            for question, tried in zip(questions, targets, strict=True):
                ends = [place := place + len(target) for target in tried]
                begins = [end - len(target) for end, target in zip(ends, tried, strict=True)]
                whole = [bool(said[begin:end].all()) for begin, end in zip(begins, ends, strict=True)]
                doubt = float(likely[begins[0] : ends[0]].sum())
                found.append((doubt, whole[0], bool(question.answers) and whole[1], bool(question.answers)))
    doubts, refused, right, answerable = zip(*found, strict=True)
    return Told(torch.tensor(doubts), torch.tensor(refused), torch.tensor(right), torch.tensor(answerable))


def _asked(
    layout: Layout, passage: Passage, questions: Sequence[Question], targets: Sequence[Sequence[list[int]]]
) -> Sheet:
    """The passage, and after it each question with each of its targets, which see nothing of one another."""
    sheet, owner = Sheet(), 0
    opening = [*layout.opening, *layout.ids(passage.text)]
    for position, token in enumerate(opening):
        sheet.add(token, position)
    for question, tried in zip(questions, targets, strict=True):
        before = [*layout.encode(Ask(question).text()), *layout.closing]
        for target in tried:
            at = 0
            for position, token in enumerate(before, len(opening)):
                at = sheet.add(token, position, owner=owner)
            for position, token in enumerate(target, len(opening) + len(before)):
                sheet.learn(at, token, owner)
                at = sheet.add(token, position, owner=owner)
            owner += 1
    return sheet


if __name__ == "__main__":
    main()
