"""Training runs in forks of one process that has imported everything: `python -m tests.training.forked_runs …`.

`killed OUT POINTS FLAG…`: for every point (1,2,3) in turn, `beacon train` is started and killed (SIGKILL) when so many
of the moments that matter have passed: a step of the optimizer, a record, a tensor file, a sync, a rename. At last it
runs to its end. `workers OUT PORT FLAG…`: two processes train one beacon. Either prints how each run ended.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from beacon_cli.training import metrics, run_folder, trainer
from tests.cli.runner import run

# Once, before the first fork, and not in every one.
IMPORTED = (bitsandbytes, AutoModelForCausalLM, LlamaForCausalLM, trainer)


class Moments:
    """Counts them, and kills this process at the last."""

    def __init__(self, last: int) -> None:
        self.left = last

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                os.write(1, f"{call.__qualname__}\n".encode())  # past what captures the output
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return counted


def interpose(moments: Moments) -> None:
    torch.optim.AdamW.step = moments.before(torch.optim.AdamW.step)  # type: ignore[method-assign]  # patched
    metrics.Metrics.add = moments.before(metrics.Metrics.add)  # type: ignore[method-assign]  # patched
    run_folder.save_file = moments.before(run_folder.save_file)
    os.fsync = moments.before(os.fsync)
    Path.rename = moments.before(Path.rename)  # type: ignore[method-assign]  # patched
    Path.replace = moments.before(Path.replace)  # type: ignore[method-assign]  # patched


def forked(flags: list[str], moments: Moments | None = None, environment: dict[str, str] | None = None) -> int:
    """Run `beacon train` in a fork, whose process id is returned."""
    child = os.fork()
    if child:
        return child
    os.environ |= environment or {}
    if moments:
        interpose(moments)
    result = run("train", *flags)
    line = result.err if result.code else "end"
    os.write(1, f"{line}\n".encode())  # at once: two processes write to one pipe
    os._exit(result.code)


def main(what: str, out: str, how: str, flags: list[str]) -> None:
    metrics.Metrics.plot = lambda self: True  # type: ignore[method-assign]  # takes more time than all the rest
    flags = ["--out", out, *flags]
    if what == "killed":
        for point in how.split(","):
            os.waitpid(forked(flags, Moments(int(point))), 0)
        os.waitpid(forked(flags), 0)
    else:
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": how}
        for child in [forked(flags, environment=shared | {"RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]:
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
