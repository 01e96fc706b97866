"""Boolean attention masks of planned passes."""

import torch
from torch import Tensor

from activation_beacon.planner import Pass


def pass_mask(plan: Pass, device: torch.device) -> Tensor | None:
    """`whole_mask` of a pass; None where each entry sees all before it and itself."""
    return None if plan.causal else whole_mask(plan, device)


def whole_mask(plan: Pass, device: torch.device) -> Tensor:
    """(1, 1, new, memory + interval) mask of a pass, True where an entry may attend (`docs/FORMAT.md` 4.6)."""
    new, before = len(plan.entries), plan.memory + len(plan.cached)
    mask = torch.ones(new, before + new, dtype=torch.bool, device=device)
    if plan.causal:
        mask = mask.tril(before)
    else:
        mask[:, : plan.memory] = sees_memory(plan, device)
        mask[:, plan.memory :] = window_mask(plan, device)
    return mask[None, None]


def sees_memory(plan: Pass, device: torch.device) -> Tensor:
    """(new, 1) whether each entry attends to the memory of earlier intervals."""
    return torch.tensor([[entry.sees_memory] for entry in plan.entries], device=device)


def window_mask(plan: Pass, device: torch.device) -> Tensor:
    """(new, interval) mask among the entries of the interval; each entry sees itself."""
    window = (*plan.cached, *plan.entries)
    raw = torch.tensor([entry.raw for entry in window], device=device)
    beacon = torch.tensor([entry.beacon for entry in window], device=device)
    ranges = torch.tensor([(*e.sees_raw, *e.sees_beacons) for e in plan.entries], device=device)
    first_raw, end_raw, first_beacon, end_beacon = ranges.T[..., None]  # each (new, 1)
    # An entry that is not of a kind has index -1 there, which no range contains.
    mask: Tensor = ((raw >= first_raw) & (raw < end_raw)) | ((beacon >= first_beacon) & (beacon < end_beacon))
    return mask
