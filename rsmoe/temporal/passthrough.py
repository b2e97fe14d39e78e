"""No temporal perception."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.errors import UserError
from rsmoe.temporal.memory import VisualMemory


class Passthrough(nn.Module):
    """One date per sample: its tokens are the memory.

    Args:
        width: D, unused; every temporal module takes it.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: Tensor, frames: Tensor) -> VisualMemory:
        """(B, 1, N, D), (B,) -> memory (B, N, D), all valid.

        Raises:
            UserError: there are samples with two dates.
        """
        if tokens.shape[1] != 1:
            raise UserError(
                f"temporal=passthrough reads one date, and samples have up to {tokens.shape[1]}. "
                f"Use temporal=csrm, temporal=concat or temporal=subtract"
            )
        memory = tokens[:, 0]
        return VisualMemory(tokens=memory, mask=torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device))
