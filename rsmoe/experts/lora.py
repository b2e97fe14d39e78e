"""A linear layer with one low-rank adapter per expert, applied to all rows of a mixed batch at once.

    y_i = W x_i + (alpha / r) B_e A_e x_i        e: expert of row i          (LoRA, arXiv 2106.09685, eq. 3)

Shapes: R rows, n tokens per row, E experts, r rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from rsmoe.experts.grouped import low_rank, routed
from rsmoe.experts.rows import current


class GroupedLoRA(nn.Module):
    """Wraps ``base_layer``; an expert without rows costs nothing and gets a zero gradient (DDP needs one).

    Args:
        base_layer: ``nn.Linear`` (also its quantised subclasses) or GPT-2's ``Conv1D``.
        experts: E.
        rank: r.
        alpha: the update is scaled by alpha / r.
        dropout: on the adapter's input.
        block: what it is a part of: its layers that read the same x have one gate, in a bank that routes tokens.
    """

    def __init__(
        self, *, base_layer: nn.Module, experts: int, rank: int, alpha: float, dropout: float = 0.0, block: str = ""
    ) -> None:
        super().__init__()
        if isinstance(base_layer, nn.Linear):
            inputs, outputs = base_layer.in_features, base_layer.out_features
        elif isinstance(base_layer, Conv1D):
            inputs, outputs = base_layer.weight.shape
        else:
            raise TypeError(f"expected nn.Linear or Conv1D, got {type(base_layer).__name__}")
        weight = base_layer.weight
        # adapters of a half-precision or quantised base train in fp32, as in PEFT
        dtype = torch.promote_types(weight.dtype, torch.float32) if weight.is_floating_point() else torch.float32
        self.base_layer = base_layer
        self.lora_A = nn.Parameter(torch.empty(experts, rank, inputs, dtype=dtype, device=weight.device))
        self.lora_B = nn.Parameter(torch.empty(experts, outputs, rank, dtype=dtype, device=weight.device))
        self.scale, self.dropout, self.block, self.asleep = alpha / rank, dropout, block, False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PEFT's initialisation: A uniform as in ``nn.Linear``, B zero, so that every expert starts as the base."""
        with torch.no_grad():
            for adapter in self.lora_A:
                nn.init.kaiming_uniform_(adapter, a=math.sqrt(5))
            self.lora_B.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(R, n, in) -> (R, n, out); rows may also come flattened, (R*n, in), as some models do."""
        rows = current()
        y: Tensor = self.base_layer(x)
        if self.asleep:
            return y
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.lora_A.dtype
        h = F.dropout(x, self.dropout, self.training).to(dtype).reshape(len(rows.expert), -1, x.shape[-1])
        a, b = self.lora_A.to(dtype), self.lora_B.to(dtype)
        if rows.gates is None:
            update = low_rank(h, a, b, rows, self.scale)
        else:
            update = routed(h, a, b, rows.gates(self.block, x), self.scale)
        return y + update.reshape(y.shape).to(y.dtype)
