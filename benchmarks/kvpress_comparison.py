"""The same LLM and questions, condensed by this tool and pruned by kvpress to the same size, in one run.

    python -m venv /tmp/kvpress && /tmp/kvpress/bin/pip install -r benchmarks/kvpress-requirements.txt
    python benchmarks/kvpress_comparison.py --kvpress /tmp/kvpress/bin/python QUESTIONS.jsonl… [--ratios 4,8,16]

QUESTIONS are those of `beacon eval qa`. Documents should have a whole number of intervals, and a few tokens more: what
is left is not condensed here, and pruned there. Only those whose document the model can read with full attention are
asked, as kvpress prunes a cache that has been filled so. Both sides read the same token ids, and both decode greedily.
kvpress runs in an environment of its own (it pins another transformers), on the same weights, dequantized to float32;
its row `kvpress, nothing pruned` has to agree with ours for full attention.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model

import beacon_cli as beacon
from beacon_cli.checkpoints.engine import Engine
from beacon_cli.evaluation.baselines import Full
from beacon_cli.evaluation.plan import CONDENSERS
from beacon_cli.evaluation.qa import qa
from beacon_cli.evaluation.records import Journal, Measurement
from beacon_cli.evaluation.report import aggregate, markdown, table
from beacon_cli.evaluation.running import answer_questions, make_methods
from beacon_cli.settings import DEFAULTS

WORKER = Path(__file__).with_name("kvpress_worker.py")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def prune(
    engine: Engine,
    python: Path,
    jobs: list[dict[str, Any]],
    presses: Sequence[str],
    ratios: Sequence[int],
    folder: Path,
) -> Any:
    """What kvpress answers: (press, ratio, sample, answer) for each; uses the model up."""
    engine.attached.detach()
    model = folder / "model"
    model.mkdir()
    # Not with `save_pretrained`, which wants to quantize again what was loaded in 4 bits.
    save_model(engine.model, str(model / "model.safetensors"), metadata={"format": "pt"})
    config = json.loads((engine.source.folder / "config.json").read_text())
    config.pop("quantization_config", None)
    (model / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER_FILES:
        if (engine.source.folder / name).exists():
            (model / name).write_bytes((engine.source.folder / name).read_bytes())
    asked, answered = folder / "jobs.json", folder / "answers.json"
    order = {"jobs": jobs, "presses": presses, "ratios": list(ratios), "threads": torch.get_num_threads()}
    asked.write_text(json.dumps(order))
    # An environment of its own: none of this one's packages.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, WORKER, model, asked, answered], check=True, env=clean)
    return json.loads(answered.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path, nargs="+")
    parser.add_argument("--kvpress", type=Path, required=True, help="a Python that has kvpress")
    parser.add_argument("--model", default=DEFAULTS.model)
    parser.add_argument("--beacon")
    parser.add_argument("--condense", choices=CONDENSERS)
    parser.add_argument("--presses", default="SnapKV,ExpectedAttention,KVzip,StreamingLLM")
    parser.add_argument("--ratios", default="4,8,16")
    parser.add_argument("--samples", type=int, help="questions of each file")
    parser.add_argument("--out", type=Path, help="JSON of every answer")
    options = parser.parse_args()
    ratios = [int(ratio) for ratio in options.ratios.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder, began = Path(name), time.perf_counter()
        model = beacon.load(options.model, options.beacon, condense=options.condense, cache_dir=folder)
        task = qa(model.source.tokenizer, options.questions, options.samples, seed=0)
        journal = Journal(None, {})
        answer_questions(make_methods(["full", "condensed"], model, ratios, 0, 0), task, journal)
        read = {record.key for record in journal.records if record.method == "full" and record.problem is None}
        records = [record for record in journal.records if record.key in read]
        samples = {sample.key: sample for sample in task.samples() if sample.key in read}
        full, jobs = Full(model.engine), []
        for key, sample in samples.items():
            document, question = full.prompt(sample, task.max_new_tokens)
            jobs.append({"key": key, "document": document, "question": question})
        for press, ratio, key, answer in prune(
            model.engine, options.kvpress, jobs, options.presses.split(","), ratios, folder
        ):
            sample = samples[key]
            scores = {name: metric(answer, sample.answers) for name, metric in task.metrics.items()}
            named = f"kvpress, {press} {ratio}x" if ratio > 1 else "kvpress, nothing pruned"
            records.append(Measurement(named, key, sample.group, scores, None, 1.0, {"answer": answer}))
    print(markdown(*table(aggregate(records, ["set"]), "set")))
    seconds = time.perf_counter() - began
    print(f"{seconds:.0f} s, {len(read)} questions")
    if options.out:
        found = {
            "command": shlex.join(["benchmarks/kvpress_comparison.py", *sys.argv[1:]]),
            "seconds": seconds,
            "threads": torch.get_num_threads(),
            "records": [vars(record) for record in records],
        }
        options.out.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
