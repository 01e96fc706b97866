"""What the stages that train by the clock have in common."""

import argparse
import math


def learning_rate(fraction: float, peak: float) -> float:
    """Linear warm-up over the first 2 % of the time, then a cosine to 5 % of the peak."""
    warm = min(1.0, fraction / 0.02 + 0.02)
    return peak * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))


def with_machine(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """With the options that say what to run on, and whether to go on."""
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16; only fast with AMX or a GPU")
    parser.add_argument("--compile", action="store_true", help="torch.compile; needs a C++ compiler")
    parser.add_argument("--resume", action="store_true")
    return parser
