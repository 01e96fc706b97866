"""The part of `kvpress_comparison.py` that runs in kvpress's own environment: MODEL JOBS ANSWERS."""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from kvpress import ExpectedAttentionPress, KVzipPress, SnapKVPress, StreamingLLMPress
from kvpress.pipeline import KVPressTextGenerationPipeline
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

PRESSES = {
    "SnapKV": SnapKVPress,
    "ExpectedAttention": ExpectedAttentionPress,
    "KVzip": KVzipPress,
    "StreamingLLM": StreamingLLMPress,
}
MAX_NEW_TOKENS = 48


def main() -> None:
    model_path, jobs_path, answers_path = map(Path, sys.argv[1:])
    order = json.loads(jobs_path.read_text())
    torch.set_num_threads(order["threads"])
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
    # Not by what the configuration says it is, which would be another: by the file that we read, too.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_path)
    pipeline = KVPressTextGenerationPipeline(model=model, tokenizer=tokenizer)
    answers: list[tuple[str, int, str, str]] = []
    for name, ratio in [("none", 1), *((name, ratio) for name in order["presses"] for ratio in order["ratios"])]:
        # Questions about one document share its pruned cache.
        for document, jobs in groupby(order["jobs"], key=lambda job: job["document"]):
            asked: list[dict[str, Any]] = list(jobs)
            press = None if ratio == 1 else PRESSES[name](compression_ratio=1 - 1 / ratio)
            inputs = {
                "context_ids": torch.tensor([document]),
                "questions_ids": [torch.tensor([job["question"]]) for job in asked],
            }
            with torch.inference_mode():
                found = pipeline._forward(inputs, max_new_tokens=MAX_NEW_TOKENS, press=press)
            answers += [(name, ratio, job["key"], answer.strip()) for job, answer in zip(asked, found, strict=True)]
        print(f"{name} {ratio}x done", file=sys.stderr, flush=True)
    answers_path.write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
