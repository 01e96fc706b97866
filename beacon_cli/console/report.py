"""An answer as one HTML file that needs nothing else: question, answer, places, passages with the words marked."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from beacon_cli.console.text import plain

if TYPE_CHECKING:
    from beacon_cli.answering.answer import Answer
    from beacon_cli.answering.passages import Place
    from beacon_cli.answering.texts import Texts

_VERDICTS = {
    True: "The text says so.",
    "partly": "The text says this of it, or says it of something else.",
    False: "No passage says so",
    None: "This is no answer",
}
# Nothing in it may be loaded or run, whatever a document says.
_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
.answer { font-size: 1.25rem; white-space: pre-wrap }
.place { color: GrayText; margin-bottom: 0 }
blockquote { margin: .25rem 0 1rem; padding-left: 1rem; border-left: .2rem solid GrayText; white-space: pre-wrap }
</style>
"""


def as_html(answer: "Answer", texts: "Texts", model: str) -> str:
    """The HTML of a complete answer from `texts`, by the model of that name."""
    question = answer.question or ""
    parts = [f"<title>{_escaped(question)}</title>\n<h1>{_escaped(question)}</h1>"]
    verdict = _VERDICTS[answer.supported]
    if not answer.supported:
        verdict += "; these places come closest:" if answer.closest else "."
    parts.append(f'<p class="answer">{_escaped(answer.text)}</p>\n<p>{verdict}</p>')
    for place in answer.citations or answer.closest:
        parts.append(f"{_place(place)}\n<blockquote>{_escaped(place.quote)}</blockquote>")
    if answer.found:
        parts.append("<h2>What the question is about</h2>")
    for passage in answer.found:
        spans = texts.marked(passage.text, question)
        parts.append(f"{_place(passage)}\n<blockquote>{_marked(passage.text, spans)}</blockquote>")
    parts.append(f'<p class="place">Answered by {_escaped(model)}.</p>')
    return _HEAD + "\n".join(parts) + "\n</html>\n"


def _place(place: "Place") -> str:
    section = f" ({place.section})" if place.section else ""
    return f'<p class="place">{_escaped(f"{place.document}, p. {place.label or place.page}{section}")}</p>'


def _marked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    made, last = [], 0
    for first, end in spans:
        made.append(f"{_escaped(text[last:first])}<mark>{_escaped(text[first:end])}</mark>")
        last = end
    return "".join([*made, _escaped(text[last:])])


def _escaped(text: str) -> str:
    return escape(plain(text))
