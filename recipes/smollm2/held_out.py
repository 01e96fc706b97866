"""What a reader says to questions that it was not trained on, and how likely it refuses to answer them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from beacon_cli.answering.prompts import REFUSAL
from recipes.smollm2.batches import Plan
from recipes.smollm2.conversations import Ask, ahead_of
from recipes.smollm2.decoder import Decoder, Lora
from recipes.smollm2.learning import learned_hidden, right_answers
from recipes.smollm2.rows import Layout, Piece
from recipes.smollm2.sheets import batch, of_pieces
from recipes.smollm2.sources import Passage, Question

# Questions that are put to a passage together, each as if it were the only one.
TOGETHER = 12


@dataclass(frozen=True)
class Told:
    """Of each question:

    Attributes:
        doubt: the logarithm of the probability of the refusal, its end not counted, as the tool reckons it.
        refused: whether it is what is said, being the likeliest.
        right: whether the answer would be given word for word; False where there is none.
        answerable: whether there is one.
    """

    doubt: Tensor
    refused: Tensor
    right: Tensor
    answerable: Tensor

    def figures(self, limit: float | None = None) -> dict[str, float]:
        """In per cent: answers given word for word, questions refused that have an answer, and that have none; and how
        often a question without an answer is doubted more than one with an answer.

        Args:
            limit: see `refused_at`.
        """
        without, having = self.doubt[~self.answerable], self.doubt[self.answerable]
        refused = self.refused_at(limit)
        said = self.right & ~refused
        return {
            "exact": 100 * said[self.answerable].float().mean().item(),
            "refused_wrongly": 100 * refused[self.answerable].float().mean().item(),
            "refused": 100 * refused[~self.answerable].float().mean().item(),
            "told_apart": 100 * (without[:, None] > having).float().mean().item(),
        }

    def refused_at(self, limit: float | None) -> Tensor:
        """(questions) whether each is refused: if the refusal has a probability of `limit` or more; with None, if it is
        what is said. (With a limit the likeliest other answer is said of the rest, as the tool says it.)
        """
        return self.refused if limit is None else self.doubt.exp() >= limit

    def limit_for(self, share: float) -> float:
        """The highest limit at which this share of the questions without an answer is refused.

        Args:
            share: above 0.
        """
        without = self.doubt[~self.answerable].exp().sort(descending=True).values
        return without[math.ceil(share * len(without)) - 1].item()


Row = list[tuple[Piece, list[Question]]]


@dataclass(frozen=True)
class HeldOut:
    """Passages, all of whose questions are asked, in batches of the shape that a reader is trained with.

    Attributes:
        ahead: whether a question stands before its passage, too.
    """

    layout: Layout
    passages: Sequence[Passage]
    plan: Plan
    ahead: bool = False

    @torch.no_grad()
    def told(self, decoder: Decoder, lora: Lora, device: str) -> Told:
        """What a reader says."""
        layout, plan = self.layout, self.plan
        doubts, refused, right, answerable = list[float](), list[bool](), list[bool](), list[bool]()
        for rows in self._batches():
            laid = [of_pieces([piece for piece, _ in row]) for row in rows]
            sheets = batch(laid, plan.tokens, 0, layout.end).to(device)
            logits = decoder.logits(learned_hidden(decoder(sheets, lora), sheets)).log_softmax(-1)
            likely = logits.gather(1, sheets.targets[:, None])[:, 0]
            whole = right_answers(logits.argmax(-1), sheets).bool()
            said = likely.masked_fill(sheets.targets == layout.end, 0.0)
            total = torch.zeros(len(whole), device=device).index_add_(0, sheets.answer, said)
            tried = zip(total.tolist(), whole.tolist(), strict=True)
            for question in (question for row in rows for _, questions in row for question in questions):
                doubt, is_refused = next(tried)
                doubts.append(doubt)
                refused.append(is_refused)
                answerable.append(bool(question.answers))
                right.append(answerable[-1] and next(tried)[1])
        return Told(torch.tensor(doubts), torch.tensor(refused), torch.tensor(right), torch.tensor(answerable))

    def _batches(self) -> Iterator[list[Row]]:
        """Rows of at most `plan.tokens` tokens, `plan.rows` at a time, the last ones perhaps empty."""
        rows, used = list[Row](), self.plan.tokens
        for made, questions in (each for passage in self.passages for each in self._pieces(passage)):
            if used + len(made.ids) > self.plan.tokens:
                if len(rows) == self.plan.rows:
                    yield rows
                    rows = []
                rows, used = [*rows, []], 0
            rows[-1].append((made, questions))
            used += len(made.ids)
        yield [*rows, *([] for _ in range(self.plan.rows - len(rows)))]

    def _pieces(self, passage: Passage) -> Iterator[tuple[Piece, list[Question]]]:
        """The passage, and each question with the refusal and, if it has one, with its answer: each seen by itself.

        As often as it takes for all of the passage's questions.
        """
        layout, most = self.layout, 1 if self.ahead else TOGETHER
        refusal = [*layout.ids(REFUSAL), layout.end]
        made, questions = Piece(), list[Question]()
        for question in passage.questions:
            text = ahead_of(question, passage.text) if self.ahead else passage.text
            opening = [*layout.opening, *layout.ids(text)]
            before = [*layout.encode(Ask(question).text()), *layout.closing]
            targets = [refusal, *([[*layout.ids(question.target), layout.end]] if question.answers else [])]
            length = sum(len(before) + len(target) for target in targets)
            if questions and (len(questions) == most or len(made.ids) + length > self.plan.tokens):
                yield made, questions
                made, questions = Piece(), []
            if not questions:
                made.add(opening, 0)
            for number, target in enumerate(targets):
                owner = 2 * len(questions) + number
                made.add(target, made.add(before, len(opening), owner), owner, learned=True)
            questions.append(question)
        yield made, questions
