"""What this machine's processor multiplies fast: it says so itself; nothing is timed, so it is the same every time."""

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Arithmetic:
    """The types of weights in products.

    Attributes:
        reading: in passes of many rows.
        decoding: in passes of few rows; int8 are weights of 8 bits, with inputs in bfloat16, and int4 those of 4 where
            they came so, of 8 elsewhere.
    """

    reading: Literal["float32", "bfloat16"]
    decoding: Literal["float32", "int8", "int4"]

    @property
    def dtype(self) -> torch.dtype:
        """Of weights in memory."""
        return torch.bfloat16 if self.reading == "bfloat16" else torch.float32


def fast_arithmetic() -> Arithmetic:
    """What is fast on this CPU.

    Passes of many rows wait for products: with instructions for bfloat16 (AVX-512 BF16, AMX) these take half the time
    of float32, or a tenth, and without them a hundredfold. Passes of few rows wait for the weights to be read: torch's
    kernel for those of 8 bits takes a third of the time of float32 on AVX2 and on AVX-512, that for 4 bits less still.
    """
    short = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    packed = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return Arithmetic("bfloat16" if short else "float32", "int4" if packed else "float32")
