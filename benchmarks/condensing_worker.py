"""Condenses as it is told on stdin, for `condensing.py`: `python condensing_worker.py WAY FOLDER THREADS [CHECKOUT]`.

Ways are `ours`, `eight` (the same, of few rows with weights of 8 bits), `authors` (their code, from a checkout, in an
environment with a transformers of its time), `last` (the same, with logits of nothing but the last token, as ours) and
`products` (the matrix products of it, and nothing else). Every line is a number of tokens; the answer is a line of
JSON.
"""

import json
import resource
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

DECODED = 40
Ids = list[int]
# Reads tokens after what was read before, or, if told so, anew; the logits of the last one.
Read = Callable[[Ids, bool], torch.Tensor]


def ours(folder: Path, few: bool) -> Read:
    """This tool's decoder and reader, in float32, but for weights of 8 bits in products of `few` rows."""
    from safetensors.torch import load_file  # noqa: PLC0415  # not in the authors' process

    from activation_beacon import Beacon, attach  # noqa: PLC0415  # not in the authors' process
    from activation_beacon.authors import authors_config, beacon_name  # noqa: PLC0415  # not in the authors' process
    from activation_beacon.products import eight_bit_weights  # noqa: PLC0415  # not in the authors' process
    from beacon_cli.checkpoints.engine import FEW_ROWS  # noqa: PLC0415  # not in the authors' process
    from beacon_cli.checkpoints.lean import outline  # noqa: PLC0415  # not in the authors' process

    settings, state = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    model = outline({key: value for key, value in settings.items() if not key.startswith("beacon_")})
    if model is None:
        raise SystemExit("the random model is none that this tool's decoder knows")
    names = {name: beacon_name(name) for name in state}
    model.load_state_dict({name: state[name] for name, own in names.items() if own is None}, assign=True)
    beacon = Beacon.like(authors_config(settings), model)
    beacon.load_state_dict({own: state[name].squeeze(0) for name, own in names.items() if own is not None})
    if few:
        model.pack(eight_bit_weights, FEW_ROWS)
    attached = attach(model, beacon)
    reader = attached.reader(settings["beacon_ratio"][0])

    def read(ids: Ids, anew: bool) -> torch.Tensor:
        nonlocal reader
        if anew:
            reader = attached.reader(settings["beacon_ratio"][0])
        return reader.read(ids)

    return read


def authors(folder: Path, checkout: Path, last: bool) -> Read:
    """Their code, without what its package imports besides."""
    package: Any = types.ModuleType("src")
    package.__path__ = [str(checkout / "src")]
    sys.modules["src"] = package
    from src.llama import LlamaForCausalLM  # type: ignore[import-not-found]  # noqa: PLC0415  in their checkout only

    how = {"attn_implementation": "sdpa", "torch_dtype": torch.float32}
    model = LlamaForCausalLM.from_pretrained(folder, **how).eval().requires_grad_(False)
    if last:
        # Their own code drops the very last row, where that is a beacon.
        model.lm_head.register_forward_pre_hook(lambda _, hidden: (hidden[0][:, -2:],))

    def read(ids: Ids, anew: bool) -> torch.Tensor:
        if anew:
            model.memory.reset()
        logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0, -1]
        return logits

    return read


def products(folder: Path) -> Read:
    """Every product of a pass: projections, beacons' projections, scores over what a row sees on average, values.

    By the function that this tool has for it.
    """
    from activation_beacon.matmul import linear  # noqa: PLC0415  # not in the authors' process

    settings = json.loads((folder / "config.json").read_text())
    hidden, inner, size = (settings[name] for name in ("hidden_size", "intermediate_size", "head_dim"))
    heads, shared = settings["num_attention_heads"], settings["num_key_value_heads"]
    window, beacons = settings["beacon_window"], settings["beacon_window"] // settings["beacon_ratio"][0]
    rows = window + beacons
    shapes = [(rows, hidden, (heads + 2 * shared) * size), (beacons, hidden, (heads + 2 * shared) * size)]
    shapes += [(rows, heads * size, hidden), (rows, hidden, 2 * inner), (rows, inner, hidden)]
    pairs = [(torch.randn(n, i), torch.randn(o, i)) for n, i, o in shapes]
    query = torch.randn(shared, heads // shared * rows, size)

    def read(ids: Ids, anew: bool) -> torch.Tensor:
        for interval in range(len(ids) // window):
            keys = torch.randn(shared, interval * beacons + rows // 2, size)
            for _ in range(settings["num_hidden_layers"]):
                for x, weight in pairs:
                    linear(x, weight)
                for asking, own in zip(query, keys, strict=True):
                    for part in asking.split(128):
                        linear(linear(part, own), own.T)
        return torch.zeros(1)

    return read


def work(way: str, read: Read, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """What each number of tokens took: seconds, milliseconds a token decoded, and the tokens.

    With one thread it is processor time, which other work beside it lengthens less; with more, wall time.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for line in lines:
        ids = torch.randint(3, 2000, (int(line),), generator=torch.Generator().manual_seed(int(line))).tolist()
        began = clock()
        logits = read(ids, True)
        taken = {"condensing": clock() - began}
        given, each = [], []
        for _ in range(0 if way == "products" else DECODED):
            given.append(int(logits.argmax()))
            began = clock()
            logits = read(given[-1:], False)
            each.append(clock() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        yield taken | {"decoding": statistics.median(each) if each else None, "given": given, "peak": peak}


def main() -> None:
    way, folder, threads, *rest = sys.argv[1:]
    torch.set_num_threads(int(threads))
    if way in ("authors", "last"):
        read = authors(Path(folder), Path(rest[0]), way == "last")
    else:
        read = products(Path(folder)) if way == "products" else ours(Path(folder), way == "eight")
    print("ready", flush=True)
    with torch.inference_mode():
        for taken in work(way, read, iter(sys.stdin)):
            print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
