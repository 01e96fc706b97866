"""From what training data says to token ids, laid out as the tool itself does when it reads and answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beacon_cli.answering.prompts import question_text
from beacon_cli.checkpoints.tokenizer.frame import chat_frame
from beacon_cli.checkpoints.tokenizer.tokenizer import Messages, Tokenizer
from beacon_cli.condensing.text import page_texts
from beacon_cli.documents.text import text as plain_text
from beacon_cli.errors import DocumentError, TrainingError

_ANSWER = "ANSWER0"


@dataclass(frozen=True)
class Example:
    """One text to train on.

    Attributes:
        ids: (tokens) int32.
        learned: (tokens) bool, which of them are predicted.
        where: it is from, for messages.
    """

    ids: np.ndarray
    learned: np.ndarray
    where: str


class Layouts:
    """Lays out texts, questions and conversations for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._frame = chat_frame(tokenizer)
        self._answer_end = self._end_of_answers()
        # Where there are several, the first of the vocabulary ends a text and the later ones a turn.
        self.text_end = [min(tokenizer.eos_ids)] if tokenizer.eos_ids else []

    def text(self, pages: Sequence[str]) -> list[int]:
        """A whole text, page by page."""
        return [*self._tokenizer.text_opening, *self._pages(pages), *self.text_end]

    def question(self, document: str, question: str, answer: str) -> tuple[list[int], list[bool], int]:
        """As `beacon ask --passages 0` reads `document`, followed by the answer that it should give.

        Returns:
            Ids, which are learned, and the index of the answer.
        """
        asked = self._tokenizer.encode(question_text(question.strip(), []))
        prompt = [*self._frame.opening, *self._pages(text_pages(document)), *asked, *self._frame.closing]
        said = [*self._tokenizer.encode(answer.strip()), *self._answer_end]
        return prompt + said, [False] * len(prompt) + [True] * len(said), len(prompt)

    def chat(self, messages: Messages) -> tuple[list[int], list[bool], int]:
        """A conversation by the model's chat template, to learn what the assistant says.

        Returns:
            Ids, which are learned, and the index of the last answer.

        Raises:
            TrainingError: if there is no answer, or the template does not show where it stands.
        """
        whole = self._tokenizer.render(messages, add_generation_prompt=False)
        spans = []
        for index, message in enumerate(messages):
            # What opens a conversation answers nothing; and some templates fail for no message at all.
            if not index or message["role"] != "assistant" or not message["content"].strip():
                continue
            before = self._tokenizer.render(messages[:index], add_generation_prompt=True)
            after = self._tokenizer.render(messages[: index + 1], add_generation_prompt=False)
            # A template may show an answer otherwise once another turn follows: then the last one alone is learned.
            if whole.startswith(after) and after.startswith(before):
                spans.append((len(before), len(after)))
        if not spans:
            raise TrainingError("no assistant message that could be learned: add the answer, or drop the line")
        ids: list[int] = []
        learned: list[bool] = []
        last = done = 0
        for start, end in spans:
            for text, says in ((whole[done:start], False), (whole[start:end], True)):
                last = len(ids)
                ids += self._tokenizer.encode_prompt(text)
                learned += [says] * (len(ids) - len(learned))
            done = end
        return ids, learned, last

    def _pages(self, pages: Sequence[str]) -> list[int]:
        return [i for text in page_texts(pages) for i in self._tokenizer.encode(text)]

    def _end_of_answers(self) -> list[int]:
        """What the template puts after an answer, up to the token that ends it."""
        answered: Messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
        after = self._tokenizer.render(answered, add_generation_prompt=False).rpartition(_ANSWER)[2]
        ids = self._tokenizer.encode_prompt(after)
        ends = [index for index, token in enumerate(ids) if token in self._tokenizer.eos_ids]
        return ids[: ends[0] + 1] if ends else sorted(self._tokenizer.eos_ids)[:1]


def text_pages(text: str) -> list[str]:
    """The pages that a text file of this content has.

    Raises:
        DocumentError: if that is no text.
    """
    decoded, _ = plain_text.decoded(text.encode("utf-8", "replace"))
    pages = plain_text.text_pages(decoded)
    if not any(pages):
        raise DocumentError("holds no text")
    return pages
