"""Exact match of a pocket model on what it has never seen; prints JSON.

    python -m recipes.pocket.evaluate --data DATA --model runs/pocket/base/model --questions 100

Every question is asked alone, on a document of its own, decoded greedily. `known`: trained wordings about held-out
names; `held`: wordings never trained; `new`: relations never trained; all hidden in the ten haystack books. `passages`:
the answer stands in a passage read again. `unanswerable`: the right answer is that the text does not say. `factbook`:
the forty held-out countries; `paragraphs`: held-out contexts of SQuAD, Quoref, AdversarialQA and FairytaleQA.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from recipes.pocket.compose import Composer, Plan

PLAIN = Plan(facts=(1, 1), generated=1.0, factbook=0.0, passages=0.0, unanswerable=0.0, summary=0.0)
FACTS = {128: (2, 4), 256: (3, 8), 512: (4, 12), 1024: (6, 18), 2048: (8, 30)}


def first_question(ids: list[int], answer: list[bool]) -> tuple[list[int], list[int]]:
    """The prompt up to the first answer, and that answer with its end token."""
    start = answer.index(True)
    end = start + [*answer[start:], False].index(False)
    return ids[:start], ids[start:end]


@torch.inference_mode()
def exact(model: LlamaForCausalLM, composer: Composer, length: int, plan: Plan, questions: int) -> float:
    """Share of questions answered word for word."""
    right = 0
    for _ in range(questions):
        sample = composer.sample(length, plan)
        prompt, gold = first_question(sample.ids, sample.answer)
        made = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=len(gold) + 4,
            do_sample=False,
            eos_token_id=composer.end,
            pad_token_id=composer.pad,
        )
        right += made[0, len(prompt) :].tolist() == gold
    return round(right / questions, 3)


def evaluate(
    model: LlamaForCausalLM, tokenizer: Path, root: Path, lengths: list[int], questions: int, seed: int
) -> dict[str, float]:
    """Name of the set -> share of exact answers."""
    reader = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    results: dict[str, float] = {}
    for wording in ("known", "held", "new"):
        composer = Composer(root, reader, seed, held_out=True, wording=wording)
        for length in lengths:
            results[f"{wording}_{length}"] = exact(
                model, composer, length, replace(PLAIN, facts=FACTS[length]), questions
            )
    composer = Composer(root, reader, seed, held_out=True)
    few = replace(PLAIN, facts=(2, 10))
    results["passages_512"] = exact(model, composer, 512, replace(few, passages=1.0), questions)
    results["unanswerable_512"] = exact(model, composer, 512, replace(few, unanswerable=1.0), questions)
    results["factbook_512"] = exact(model, composer, 512, replace(few, generated=0.0, factbook=1.0), questions)
    results["paragraphs_512"] = exact(model, composer, 512, replace(few, generated=0.0), questions)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("runs/pocket/base/model"))
    parser.add_argument("--lengths", type=int, nargs="+", choices=sorted(FACTS), default=[256, 512, 1024, 2048])
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=90_001)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = LlamaForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    results = evaluate(model, options.model, options.data, options.lengths, options.questions, options.seed)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
