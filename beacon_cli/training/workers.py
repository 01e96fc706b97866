"""Several processes that train one beacon, as `accelerate launch` and `torchrun` start them."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Workers:
    """This process, `rank`, among `size`."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> "Workers":
        """Meet the others, if this process was started with others; each takes the CUDA device of its local rank."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if cuda else "gloo")
        return cls(dist.get_rank(), size)

    def leave(self) -> None:
        """Part from the others."""
        if self.size > 1:
            dist.destroy_process_group()

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def sum(self, *tensors: Tensor) -> None:
        """Add up what all have, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)
