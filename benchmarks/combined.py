"""What it costs to condense documents each by itself and to place them in one memory, against condensing one text.

    python benchmarks/combined.py [--questions FILE] [DOC...]

By default the five country reports of the example PDF, and questions about them (`combined.tsv`: beginning of the
document's name, question, answer). `one text` is all documents one after another, each under its name, condensed as
one; `combined` is what `beacon ask DOC... QUESTION` does; `alone` asks the document that has the answer, without the
others. All at the smallest ratio at which all fit together. Perplexity is that of the right answer's tokens from the
condensed memory alone; exact match (as SQuAD compares) and the share of the right answers that cite a page are those of
`ask` as it is by default, with passages read again.
"""

import argparse
import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import beacon_cli as beacon
from beacon_cli.answering.prompts import question_text
from beacon_cli.condensing.condenser import Condenser, Request
from beacon_cli.condensing.placing import Placed, name_text
from beacon_cli.documents import open_document
from beacon_cli.documents.finding import Place
from beacon_cli.evaluation.metrics import exact_match
from beacon_cli.events import silent
from beacon_cli.settings import DEFAULTS

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


def remember(model: beacon.Model, paths: Iterable[Path], ratio: int | None) -> Placed:
    """Documents in one memory, kept in no cache."""
    condenser = Condenser(model.source, lambda: model.engine, None, Request(ratio, NEEDED), silent)
    return condenser.read([Place(str(path)) for path in paths])


def score(model: beacon.Model, placed: Placed, questions: Iterable[Question], total: Score) -> None:
    """Ask all questions of a memory."""
    reader, source = placed.reader, model.source
    memory, start = beacon.Memory(model.engine, placed, {}), reader.mark()
    total.rows = max(total.rows, memory.rows)
    for question in questions:
        gold = source.tokenizer.encode(question.answer)
        prompt = [*placed.tail, *source.tokenizer.encode(question_text(question.text, ())), *source.frame.closing]
        for ids, token in zip([prompt, *([token] for token in gold)], gold, strict=False):
            total.loss -= float(reader.read(ids).log_softmax(-1)[token])
        total.tokens += len(gold)
        reader.rewind(start)
        answer = memory.ask(question.text, max_new_tokens=48, temperature=0.0)
        right = bool(exact_match(answer.text, [question.answer]))
        total.questions += 1
        total.exact += right
        total.cited += right and bool(answer.citations)


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
    """All documents one after another, each under its name."""
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
    parser.add_argument("--model", default=DEFAULTS.model)
    options = parser.parse_args()
    lines = options.questions.read_text(encoding="utf-8").splitlines()
    questions = [Question(*line.split("\t")) for line in lines]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = options.documents or reports(folder)
        model = beacon.load(options.model, cache_dir=folder)
        together = remember(model, paths, None)
        tokens = sum(document.summary.tokens for document in together.documents)
        print(f"{len(paths)} documents, {tokens:,} tokens, ratio {together.ratio}, {len(questions)} questions")
        scores = {"one text": Score(), "combined": Score(), "alone": Score()}
        whole = remember(model, [one_text(paths, folder / "all.txt")], together.ratio)
        score(model, whole, questions, scores["one text"])
        score(model, together, questions, scores["combined"])
        for path in paths:
            about = [question for question in questions if path.name.startswith(question.document)]
            score(model, remember(model, [path], together.ratio), about, scores["alone"])
    print("| memory | rows | perplexity of the answer | exact match | with a page |")
    print("|---|---|---|---|---|")
    for title, total in scores.items():
        perplexity, exact = math.exp(total.loss / total.tokens), total.exact / total.questions
        cited = total.cited / max(total.exact, 1)
        print(f"| {title} | {total.rows:,} | {perplexity:.0f} | {exact:.0%} | {cited:.0%} |")


if __name__ == "__main__":
    main()
