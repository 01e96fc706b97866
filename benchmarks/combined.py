"""What it costs to condense documents each by itself and to place them in one memory, against condensing one text.

    python benchmarks/combined.py [--questions FILE] [DOC...]

By default the five country reports of the example PDF, and questions about them (`combined.tsv`: beginning of the
document's name, question, answer). `one text` is all documents behind each other, each under its name, condensed as
one; `combined` is what `beacon ask DOC... QUESTION` does; `alone` asks the document that has the answer, without the
others. All at the smallest ratio at which all fit together. Perplexity is that of the right answer's tokens from the
condensed memory alone; exact match (in lower case, without punctuation and articles) and the share of the right answers
that cite a page are those of `ask` as it is by default, with passages read again.
"""

import argparse
import copy
import math
import re
import string
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from beacon_cli.condensing.combining import condense_together, measure_all
from beacon_cli.condensing.condense import Memory, Request
from beacon_cli.workflows import Options, answer

from beacon_cli.answering.prompts import name_text, question_text
from beacon_cli.checkpoints.engine import Engine, load_engine
from beacon_cli.checkpoints.model_source import locate_model
from beacon_cli.checkpoints.tokenizer.frame import Frame, chat_frame
from beacon_cli.documents import open_document
from beacon_cli.documents.finding import Place
from beacon_cli.events import Answered, returned

HERE = Path(__file__).parent
NEEDED = 1024


@dataclass
class Score:
    """Sums over questions."""

    rows: int = 0
    questions: int = 0
    loss: float = 0.0
    tokens: int = 0
    exact: int = 0
    cited: int = 0


@dataclass(frozen=True)
class Question:
    document: str
    text: str
    answer: str


def remember(engine: Engine, frame: Frame, paths: Iterable[Path], ratio: int | None) -> Memory:
    """The memory of documents, kept in no cache."""
    request = Request(ratio, NEEDED)
    places = [Place(str(path)) for path in paths]
    documents = returned(measure_all(engine.source, frame, places, None, request, password=None, pages=None))
    return returned(condense_together(engine, frame, documents, None, request))


def score(engine: Engine, frame: Frame, memory: Memory, questions: Iterable[Question], total: Score) -> None:
    """Ask all questions of a memory, which is afterwards as it was before."""
    reader, tokenizer = memory.reader, engine.source.tokenizer
    size, planner = reader.memory.size, copy.deepcopy(reader.planner)
    total.rows = max(total.rows, memory.rows)
    for question in questions:
        gold = tokenizer.encode(question.answer)
        prompt = [*memory.tail, *tokenizer.encode(question_text(question.text, [])), *frame.closing]
        reader.condense_at(memory.ratio)
        for ids, token in zip([prompt, *([token] for token in gold)], gold, strict=False):
            total.loss -= float(reader.read(ids).log_softmax(-1)[token])
        total.tokens += len(gold)
        reader.memory.truncate(size)
        reader.planner = copy.deepcopy(planner)
        options = Options("", max_new_tokens=48)
        events = answer(engine, frame, memory, question.text, options, {})
        (found,) = [event for event in events if isinstance(event, Answered)]
        right = normal(found.text) == normal(question.answer)
        total.questions += 1
        total.exact += right
        total.cited += right and bool(found.citations)
        reader.memory.truncate(size)
        reader.planner = copy.deepcopy(planner)


def normal(text: str) -> str:
    bare = "".join(" " if character in string.punctuation else character for character in text.lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def reports(folder: Path) -> list[Path]:
    """The countries of the example PDF, a text each, with the PDF's pages."""
    countries: dict[str, list[str]] = {}
    with open_document(str(HERE.parent / "examples" / "world-factbook.pdf")) as document:
        for page in document.pages():
            countries.setdefault(page.text.partition("\n")[0], []).append(page.text)
    paths = []
    for country, pages in countries.items():
        if len(pages) > 1:
            paths.append(folder / f"{country}.txt")
            paths[-1].write_text("\f".join(pages), encoding="utf-8")
    return paths


def one_text(paths: Iterable[Path], path: Path) -> Path:
    """All documents behind each other, each under its name."""
    pages = []
    for each in paths:
        with open_document(str(each)) as document:
            first, *rest = (page.text for page in document.pages())
        pages += [name_text(each.name) + first, *rest]
    path.write_text("\f".join(pages), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path)
    parser.add_argument("--questions", type=Path, default=HERE / "combined.tsv")
    parser.add_argument("--model", default="beacon-pocket")
    options = parser.parse_args()
    lines = options.questions.read_text(encoding="utf-8").splitlines()
    questions = [Question(*line.split("\t")) for line in lines]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = options.documents or reports(folder)
        engine = load_engine(locate_model(options.model, None, folder))
        frame = chat_frame(engine.source.tokenizer)
        together = remember(engine, frame, paths, None)
        tokens = sum(document.summary.tokens for document in together.documents)
        print(f"{len(paths)} documents, {tokens:,} tokens, ratio {together.ratio}, {len(questions)} questions")
        scores = {"one text": Score(), "combined": Score(), "alone": Score()}
        whole = remember(engine, frame, [one_text(paths, folder / "all.txt")], together.ratio)
        score(engine, frame, whole, questions, scores["one text"])
        score(engine, frame, together, questions, scores["combined"])
        for path in paths:
            about = [question for question in questions if path.name.startswith(question.document)]
            score(engine, frame, remember(engine, frame, [path], together.ratio), about, scores["alone"])
    print("| memory | rows | perplexity of the answer | exact match | with a page |")
    print("|---|---|---|---|---|")
    for title, total in scores.items():
        perplexity, exact = math.exp(total.loss / total.tokens), total.exact / total.questions
        cited = total.cited / max(total.exact, 1)
        print(f"| {title} | {total.rows:,} | {perplexity:.0f} | {exact:.0%} | {cited:.0%} |")


if __name__ == "__main__":
    main()
