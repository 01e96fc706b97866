"""What stands before and after a document when the model is asked about it.

The default model was trained to answer in exactly these words (`recipes/smollm2` takes them from here).
"""

import re
from collections.abc import Sequence

from beacon_cli.checkpoints.model_source import ModelSource
from beacon_cli.errors import SettingsError

RULE = "\n\n---\n\n"
AGAIN = "Passages read again:\n\n"
TEMPLATE = "Question: {question}"
# So are models asked that were not taught to: they find as much, and talk less (`benchmarks/wording.py`).
UNTAUGHT = f"Answer in a few words from the text.\n\n{TEMPLATE}"
# What the default model answers where the text does not say.
REFUSAL = "The text does not say."


def question_text(question: str, passages: Sequence[str] = (), *, template: str = TEMPLATE, first: bool = True) -> str:
    """What is said of a question in its message; `passages` are read again before it.

    Args:
        template: see `check_template`.
        first: whether the document stands before it in the same message; if not, it goes on after an answer.
    """
    texts = {"{question}": question, "{passages}": "\n\n".join(passages)}
    again = AGAIN + texts["{passages}"] + RULE if passages and "{passages}" not in template else ""
    asked = re.sub("{question}|{passages}", lambda found: texts[found[0]], template)
    return f"{RULE if first else ''}{again}{asked}"


def template_for(source: ModelSource) -> str:
    """In which words a model is best asked: a reader's, and a beacon's, were taught by the plain question."""
    return TEMPLATE if source.passages_first or source.info is not None else UNTAUGHT


def check_template(template: str) -> str:
    """`template`, if a question can be put so: it has {question} in it, and may have {passages}.

    Raises:
        SettingsError: if it has no {question}.
    """
    if "{question}" not in template:
        raise SettingsError(f"--template has no {{question}} in it; write one, like {TEMPLATE!r}")
    return template


def summary_text(documents: int, length: int | None = None) -> str:
    """What follows the documents in a summary's message; `length` is in words, None for a few sentences."""
    size = "a few sentences" if length is None else f"about {length} words"
    return f"{RULE}Summarize the {'text' if documents == 1 else 'texts'} above in {size}."
