"""Ask the tool questions that nothing was chosen on, or a language model by itself, and score what they answer.

    python -m benchmarks.reading ask DATA runs/tool
    python -m benchmarks.reading ask DATA runs/qwen --gguf FILE.gguf --sets natural single --questions 40
    python -m benchmarks.reading table runs/tool runs/qwen --keep
    python -m benchmarks.reading card DATA

`ask` puts every answer into `answers.jsonl` of the folder as it comes, and goes on there. The tool is asked through
`beacon_cli.load(…).read(…).ask(…)`, as `--model` says. With `--gguf` a language model is asked by itself in bfloat16,
with a reader's adapter, and the limit from which on that refuses, if `--reader` names its folder: about the text if it
is short, about the passages of it that the tool's search finds for the question if it is long. Answers are compared as
SQuAD compares them. `table --keep` puts the figures into `reading.json`, by the folder's name. `card` measures what
ships, by itself and through the tool, and writes its card from `reading.json`.

Columns, in per cent: `contained`: a right answer stands in what is said; `page`: that, and a page where it stands is
cited; `in 2`, `in 5`: of the passages that are found (by the tool: as its model judges them) the first two or five have
one with a right answer, from such a page; `refused`: it said that the text does not say, or nothing; `declined`: that,
or the tool called the answer unsupported; `sure`: of the answers called supported, how many contain a right one. `s`:
seconds a question, without reading the document.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch

import beacon_cli as beacon
from beacon_cli.answering.passages import Passage, split_passages
from beacon_cli.answering.search import SearchIndex
from beacon_cli.cache.pages import PageText
from beacon_cli.checkpoints.default_model import refuses_from
from beacon_cli.checkpoints.local.model_folder import READER
from beacon_cli.errors import BeaconError
from beacon_cli.evaluation.metrics import found
from benchmarks.reading_card import SHIPPED, write_card
from benchmarks.reading_scores import ANSWERS, RUN, Record, keep, kept, records, summary, table
from benchmarks.reading_sets import SETS, Asked, load, pages_of
from recipes.smollm2 import base, evaluation
from recipes.smollm2.rows import Layout
from recipes.smollm2.sources import Question

TOKENS = 48
BATCH = 16
# So many passages the search is asked for, to see where the right one comes.
DEEP = 10


def ask_tool(model: beacon.Model, asked: Sequence[Asked]) -> Iterator[Record]:
    """What the tool answers; what it cannot read or answer is kept as an `error`."""
    for document, group in groupby(asked, lambda each: each.document):
        memory, problem = None, BeaconError("")
        try:
            memory = model.read(document) if isinstance(document, Path) else model.read_text(document)
        except BeaconError as error:
            problem = error
        for each in group:
            record: Record = {"answer": "", "seconds": 0.0}
            try:
                if memory is None:
                    raise problem
                answer = memory.ask(each.question, max_new_tokens=TOKENS)
                record |= _told(answer) | {"rank": _rank(each, answer.found)}
                record["reading"] = sum(memory.seconds.values())
            except BeaconError as error:
                record["error"] = str(error)
            yield _kept(each, record)


def _told(answer: beacon.Answer) -> Record:
    return {
        "answer": answer.text,
        "supported": answer.supported,
        "cited": [citation.page for citation in answer.citations],
        "passages": [passage.page for passage in answer.passages],
        "seconds": answer.seconds["answer"],
    }


def ask_alone(gguf: Path, adapter: Path | None, count: int, asked: Sequence[Asked]) -> Iterator[Record]:
    """What a language model answers by itself, given short texts whole and of long ones `count` passages."""
    model, tokenizer = base.load_base(gguf, adapter)
    layout, limit = Layout(tokenizer), refuses_from(adapter) if adapter else None
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        began = time.perf_counter()
        searched = [_searched(each) for each in batch]
        cases = [
            evaluation.Case(_text(each, passages[:count]), Question(each.question, each.answers))
            for each, passages in zip(batch, searched, strict=True)
        ]
        answers = evaluation.answers(model, layout, cases, TOKENS, limit)
        seconds = (time.perf_counter() - began) / len(batch)
        for each, passages, answer in zip(batch, searched, answers, strict=True):
            pages = [passage.page for passage in passages[:count]]
            yield _kept(each, {"answer": answer, "passages": pages, "seconds": seconds, "rank": _rank(each, passages)})


_indexes: dict[Path, SearchIndex] = {}


def _searched(asked: Asked) -> list[Passage]:
    """The passages of a long text that the tool's search finds for a question, the best first."""
    if not isinstance(asked.document, Path):
        return []
    if asked.document not in _indexes:
        pages = [PageText(page.number, "", page.text, 0, 0, page.section) for page in pages_of(asked.document)]
        _indexes[asked.document] = SearchIndex(split_passages(pages))
    return _indexes[asked.document].find(asked.question, DEEP)


def _text(asked: Asked, passages: Sequence[Passage]) -> str:
    """What a model by itself is asked about: the text, or passages of it, the best last."""
    if isinstance(asked.document, str):
        return asked.document
    return "\n\n".join(passage.text for passage in reversed(passages))


def _rank(asked: Asked, passages: Sequence[Passage]) -> int | None:
    """The place, from 1 on, of the first passage that holds a right answer on a page where it stands; else None."""
    held = (
        rank
        for rank, passage in enumerate(passages, 1)
        if passage.page in asked.pages and found(passage.text, asked.answers)
    )
    return next(held, None)


def _kept(asked: Asked, record: Record) -> Record:
    known = {"set": asked.set, "key": asked.key, "question": asked.question, "answers": asked.answers}
    return known | {"pages": sorted(asked.pages)} | record


def ask(options: argparse.Namespace) -> None:
    """The command `ask`: go on with the answers of a folder."""
    torch.set_num_threads(options.threads)
    model = None
    if options.gguf:
        by = _alone(options.gguf, options.reader, options.passages)
    else:
        model = beacon.load(*([options.model] if options.model else []), cache_dir=options.cache)
        source = model.source
        by = {"model": model.name, "base": source.base_fingerprint, "beacon": source.beacon_fingerprint}
        by |= _limited(source.refuses_from)
    _begin(options.out, by)
    done = {(record["set"], record["key"]) for record in records(options.out)}
    every = load(options.data, options.documents, options.sets, options.questions)
    asked = [each for each in every if (each.set, each.key) not in done]
    answers = ask_tool(model, asked) if model else ask_alone(options.gguf, options.reader, options.passages, asked)
    with (options.out / ANSWERS).open("a", encoding="utf-8") as file:
        for record in answers:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()


def _alone(gguf: Path, adapter: Path | None, passages: int) -> Record:
    """Who is asked, if it is a language model by itself."""
    weights = base.fingerprint(adapter / READER) if adapter else None
    by = {"gguf": gguf.name, "sha256": base.fingerprint(gguf), "reader_sha256": weights, "passages": passages}
    return by | _limited(refuses_from(adapter) if adapter else None)


def _limited(limit: float | None) -> Record:
    """What is noted of a limit of refusing, if there is one: with another one, answers are others."""
    return {} if limit is None else {"refuses_from": limit}


def _begin(folder: Path, by: Record) -> None:
    """Note in a folder who is asked; refuse to go on there with another model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUN
    if not path.exists():
        path.write_text(json.dumps(by, indent=1) + "\n", "utf-8")
    elif (before := json.loads(path.read_text("utf-8"))) != by:
        raise SystemExit(f"{folder} has the answers of {before}, not of {by}: remove it, or give another folder")


def show(options: argparse.Namespace) -> None:
    """The command `table`."""
    runs = {folder.name: summary(folder) for folder in options.folders}
    if options.keep:
        keep(runs)
    print(table(runs or kept()), end="")


def card(options: argparse.Namespace) -> None:
    """The command `card`: measure what ships, keep the figures, write its card."""
    ships = f"{base.fingerprint(SHIPPED / READER)[:12]}-{refuses_from(SHIPPED)}"
    for run, gguf in (("reader", base.gguf_file()), ("tool", None)):
        if run in options.runs:
            options.gguf, options.reader, options.out = gguf, SHIPPED, options.into / f"{run}-{ships}"
            ask(options)
            keep({run: summary(options.out)})
    write_card(kept())
    print(table(kept()), end="")


def main() -> None:
    """Run a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("data", type=Path, help="the data folder")
    shared.add_argument("--model", help="of the tool, if not its default")
    shared.add_argument("--passages", type=int, default=5, help="of a long text, for a model by itself")
    shared.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    shared.add_argument("--questions", type=int, default=100, help="of each set with short texts")
    shared.add_argument("--documents", type=Path, default=Path("runs/documents"), help="where to unpack them")
    shared.add_argument("--cache", type=Path, default=Path("runs/cache"), help="of the tool")
    shared.add_argument("--threads", type=int, default=1)
    asking = commands.add_parser("ask", parents=[shared], help="ask, and keep the answers")
    asking.set_defaults(run=ask)
    asking.add_argument("out", type=Path, help="a folder for the answers; its name is the run's")
    asking.add_argument("--gguf", type=Path, help="a language model to ask by itself")
    asking.add_argument("--reader", type=Path, help="a folder with an adapter for it")
    showing = commands.add_parser("table", help="score the answers of some folders")
    showing.set_defaults(run=show)
    showing.add_argument("folders", type=Path, nargs="*", help="if none: what is kept in reading.json")
    showing.add_argument("--keep", action="store_true", help="put the figures into reading.json")
    writing = commands.add_parser("card", parents=[shared], help="measure what ships, and write its card")
    writing.set_defaults(run=card)
    writing.add_argument("--runs", nargs="*", choices=("reader", "tool"), default=("reader", "tool"))
    writing.add_argument("--into", type=Path, default=Path("runs"), help="where the answers are kept")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
