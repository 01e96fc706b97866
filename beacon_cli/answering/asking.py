"""Answering a question from a memory: what is read again, the prompt, decoding, and where the answer stands."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from activation_beacon import SequenceReader
from beacon_cli.answering.answer import Outcome
from beacon_cli.answering.citations import MOST_CITATIONS, cite, cited
from beacon_cli.answering.decoding import End
from beacon_cli.answering.judging import Judgement, judged
from beacon_cli.answering.passages import PASSAGE_WORDS, Passage
from beacon_cli.answering.prompts import question_text, summary_text, template_for
from beacon_cli.answering.recall import recalled
from beacon_cli.answering.request import Decoding, Turn
from beacon_cli.answering.saying import say
from beacon_cli.answering.search import SearchIndex
from beacon_cli.answering.support import begins_refusal, is_refusal, support
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.condensing.placing import Placed
from beacon_cli.errors import SettingsError, TooLongError

# Positions that a passage may take when it is read again: words are seldom more than two tokens.
PASSAGE_TOKENS = 2 * PASSAGE_WORDS
# Left to itself, reading again takes this part of the model's context, or what these passages take, or what is left.
# (More would find more in books, and answer less well about PDFs, and more where there is no answer.)
AGAIN_SHARE, LEAST_AGAIN = 16, 2
# Passages that are told of as what the question is about.
FOUND = 5
# A question of fewer terms than this goes on from the one before.
FEW_TERMS = 3


def answer(
    engine: Engine,
    ratio: int,
    place: Callable[[], Placed],
    index: SearchIndex,
    question: str | None,
    how: Decoding,
    history: Sequence[Turn] = (),
) -> Generator[str, None, Outcome]:
    """Read a question (None: ask for a summary) after the memory, and yield the answer as it comes.

    The memory may go on from there: rewind it before the next question. A model that does better so
    (`ModelSource.passages_first`) is first asked with nothing before it but the passages; if it finds no answer there
    (or one that is too likely none, `ModelSource.refuses_from`), and they are not all of the text, what it makes of the
    memory is taken if the text supports it.

    Args:
        ratio: at which what is read on is condensed, as the documents were.
        place: the memory, where the documents end; called if it is needed.
        history: what was said before, the oldest first; of it, the latest turns that fit are read, and condensed like
            any text.

    Raises:
        SettingsError: if the question and an answer do not fit the model's context.
    """
    return _Asking(engine, ratio, place, index, question, how, history, time.perf_counter()).answer()


@dataclass(frozen=True)
class _Asking:
    """A question to a memory; see `answer`. `began` is when."""

    engine: Engine
    ratio: int
    place: Callable[[], Placed]
    index: SearchIndex
    question: str | None
    how: Decoding
    history: Sequence[Turn]
    began: float

    def answer(self) -> Generator[str, None, Outcome]:
        again = self._alone()
        if again:
            outcome = yield from self._from_passages(again)
        else:
            placed = self._recalled()
            before, prompt, again = self._prompt(placed)
            reader = placed.whole()
            reader.remember(before)
            outcome = Outcome(passages=tuple(again))
            yield from self._spoken(reader, prompt, outcome)
            self._judge(outcome)
        outcome.seconds["answer"] = time.perf_counter() - self.began
        return outcome

    def _from_passages(self, again: Sequence[Passage]) -> Generator[str, None, Outcome]:
        """Ask with the passages alone. A refusal is held back, for then the memory is asked."""
        outcome, held, told = Outcome(passages=tuple(again)), "", False
        for piece in self._spoken(*self._after_passages(again), outcome, alone=True):
            held += piece
            if told or not begins_refusal(held):
                yield held
                held, told = "", True
        self._judge(outcome)
        if not (told or outcome.answered) and len(again) < len(self.index.passages):
            # All of it, if that is possible: what surrounds the passages would tell little that these did not.
            placed = self.place()
            if not placed.at_once:
                placed = self._recalled()
            _, after_memory, again = self._prompt(placed)
            second = Outcome(passages=tuple(again))
            more = "".join(self._spoken(placed.whole(), after_memory, second))
            self._judge(second)
            if second.answered and second.supported is True:
                held, outcome = more, second
        if held:
            yield held
        return outcome

    def _alone(self) -> Sequence[Passage]:
        """The passages after which nothing else is read but the question; none if it is better asked otherwise."""
        source = self.engine.source
        if self.question is None or self.history or not source.passages_first:
            return []
        again = self._wanted()
        while again and sum(map(len, self._document(again))) + self.how.max_new_tokens > source.context:
            again = again[1:]
        return again

    def _after_passages(self, again: Sequence[Passage]) -> tuple[SequenceReader, list[int]]:
        """What reads the question after the passages, and what it reads: the best one has been read to be judged."""
        text, rest = self._document(again)
        reader = self._judgement.reader
        if reader is None or reader.consumed != len(text):
            return self.engine.reader(self.ratio), [*text, *rest]
        return reader, rest

    def _document(self, again: Sequence[Passage]) -> tuple[list[int], list[int]]:
        """Token ids of a prompt whose document is the passages, the best first: up to that one's end, and the rest.

        All but what opens it is the rest if the template says where the passages stand.
        """
        source, question, encode = self.engine.source, self.question or "", self.engine.source.tokenizer.encode
        first, *others = (passage.headed for passage in reversed(again))
        if "{passages}" in self._template:
            first, others = "", []
            asked = question_text(question, [passage.headed for passage in again], template=self._template)
        else:
            asked = question_text(question, template=self._template)
        rest = encode("".join(f"\n\n{text}" for text in others) + asked)
        return [*source.frame.opening, *encode(first)], [*rest, *source.frame.closing]

    def _spoken(
        self, reader: SequenceReader, prompt: Sequence[int], outcome: Outcome, *, alone: bool = False
    ) -> Iterator[str]:
        """Read a prompt with the passages of `outcome`, which is told of it, and yield what the model says then.

        Args:
            alone: whether nothing else stands before the question.
        """
        # The question, and what is read again, is seen as it is: in training, too, a text's last interval stays raw.
        reader.condense_at(0)
        logits = reader.read(prompt)
        texts = [passage.headed for passage in outcome.passages]
        decoder = self.engine.source.tokenizer.stream_decoder()
        pieces: list[str] = []
        for token in say(self.engine, reader, logits, texts, self.how, self.ratio, alone=alone):
            if isinstance(token, End):
                outcome.finished = token.finished
                break
            if not outcome.generated:
                outcome.seconds["first_token"] = time.perf_counter() - self.began
            outcome.generated += 1
            if piece := decoder.push(token):
                pieces.append(piece)
                yield piece
        if piece := decoder.finish():
            pieces.append(piece)
            yield piece
        outcome.text = "".join(pieces).strip()

    @property
    def _template(self) -> str:
        return self.how.template or template_for(self.engine.source)

    @cached_property
    def _about(self) -> str:
        """What to look for in the text: a question that says little by itself and names nothing ("And when?") goes on
        from the one before.
        """
        question, history = self.question or "", self.history
        terms = set(self.index.terms.of(question))
        if question and history and len(terms) < FEW_TERMS and terms.isdisjoint(self.index.tables.names):
            return f"{history[-1].question} {question}"
        return question

    def _recalled(self) -> Placed:
        """What of the memory a question is asked after that is not asked of passages alone.

        Raises:
            TooLongError: if all of it was asked for, and it is too much.
        """
        placed = self.place()
        if self.question is not None and self.how.recall:
            # A question that is about nothing in a long text is asked after its beginning.
            about = self._found if placed.at_once else self._found or self.index.passages
            placed = recalled(self.engine, placed, about[: self.how.recall])
        if not placed.at_once:
            names, source = ", ".join(document.summary.name for document in placed.documents), self.engine.source
            raise TooLongError(
                f"{names}: {placed.rows:,} rows at ratio {placed.ratio}, and in the context of {source.name} "
                f"({source.context:,}) not all of them fit at once: read it with `whole`, for a larger ratio, or ask "
                "after parts of it (`recall`)"
            )
        return placed

    @cached_property
    def _judgement(self) -> Judgement:
        if self.engine.source.passages_first and self.how.passages != 0:
            return judged(self.engine, self.index, self._about)
        return Judgement(self.index.find(self._about, len(self.index.passages)), None)

    @property
    def _found(self) -> Sequence[Passage]:
        """The passages that the question is about, the best first."""
        return self._judgement.passages

    def _judge(self, outcome: Outcome) -> None:
        """Find out whether it is an answer, and what the documents say of it."""
        index, text, lost = self.index, outcome.text, outcome.finished in ("loop", "babble")
        outcome.answered = bool(text) and not lost and not is_refusal(text)
        if self.question is None:
            return
        outcome.found = tuple(self._found[:FOUND])
        if outcome.answered:
            said = support(index, self._about, text)
            outcome.supported = said.supported
            outcome.citations = tuple(cite(index, said.places, text))
        if not outcome.citations:
            outcome.closest = tuple(cited(index, passage, self._about) for passage in outcome.found[:MOST_CITATIONS])

    def _prompt(self, placed: Placed) -> tuple[list[int], list[int], list[Passage]]:
        """Token ids of what was said before and of what is said now, and the passages that are read again, the best
        last. If not all fits, the oldest turns are left out, then the passages that fit worst.

        Args:
            placed: what of the memory stands before it.
        """
        source, how = self.engine.source, self.how
        left = source.context - placed.whole().memory.size - how.max_new_tokens
        encode, turns, again = source.tokenizer.encode, list(self.history), self._wanted()
        while True:
            before = [*placed.tail] if turns else []
            for number, turn in enumerate(turns):
                asked = question_text(turn.question, template=self._template, first=not number)
                before += [*encode(asked), *source.frame.closing, *encode(turn.answer), *source.between]
            if self.question is None:
                request = summary_text(len(placed.documents), how.length)
            else:
                texts = [passage.headed for passage in again]
                request = question_text(self.question, texts, template=self._template, first=not turns)
            now = [*(() if turns else placed.tail), *encode(request), *source.frame.closing]
            if len(before) + len(now) <= left:
                return before, now, again
            if turns:
                turns = turns[1:]
            elif again:
                again = again[1:]
            else:
                raise SettingsError(
                    f"the question and an answer of {how.max_new_tokens} tokens do not fit after the document in the "
                    f"context of {source.context:,} tokens: ask in fewer words, or lower --max-new-tokens"
                )

    def _wanted(self) -> list[Passage]:
        """The passages to read again if they fit, the best last."""
        if self.question is None:
            return []
        if self.how.passages is not None:
            return list(self._found[: self.how.passages][::-1])
        source, wanted = self.engine.source, list[Passage]()
        room = max(source.context // AGAIN_SHARE, LEAST_AGAIN * PASSAGE_TOKENS)
        for passage in self._found:
            room -= len(source.tokenizer.encode(passage.headed))
            if room < 0:
                break
            wanted.append(passage)
        return wanted[::-1]
