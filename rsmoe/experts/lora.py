"""A linear layer with one low-rank adapter per expert, applied to all rows of a mixed batch at once.

    y_i = W x_i + (alpha / r) B_e A_e x_i        e: expert of row i          (LoRA, arXiv 2106.09685, eq. 3)

Shapes: R rows, n tokens per row, E experts, r rank.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.experts.grouped import low_rank, routed
from rsmoe.experts.rows import current


def is_conv1d(layer: nn.Module) -> bool:
    """Whether it is GPT-2's ``transformers.pytorch_utils.Conv1D``, a linear layer with a weight of (in, out).

    By its name: who has no such layer need not wait for transformers to be imported.
    """
    return any(
        kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.") for kind in type(layer).__mro__
    )


class GroupedLoRA(nn.Module):
    """Wraps ``base_layer``; an expert without rows costs nothing and gets a zero gradient (DDP needs one).

    Args:
        base_layer: ``nn.Linear`` (also its quantised subclasses) or GPT-2's ``Conv1D``.
        experts: E.
        rank: r.
        alpha: the update is scaled by alpha / r.
        dropout: on the adapter's input.
        shared: one more adapter, which is always on (a shared expert, DeepSeekMoE, arXiv 2401.06066).
        shared_a: all experts have one A, and each a B of its own (HydraLoRA, arXiv 2404.19245).
        block: what it is a part of: its layers that read the same x have one gate, in a bank that routes tokens.
    """

    def __init__(
        self,
        *,
        base_layer: nn.Module,
        experts: int,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        shared: bool = False,
        shared_a: bool = False,
        block: str = "",
    ) -> None:
        super().__init__()
        if isinstance(base_layer, nn.Linear):
            inputs, outputs = base_layer.in_features, base_layer.out_features
        elif is_conv1d(base_layer):
            inputs, outputs = base_layer.weight.shape  # type: ignore[misc]
        else:
            raise TypeError(f"expected nn.Linear or Conv1D, got {type(base_layer).__name__}")
        weight: Any = base_layer.weight
        # adapters of a half-precision or quantised base train in fp32, as in PEFT
        dtype = torch.promote_types(weight.dtype, torch.float32) if weight.is_floating_point() else torch.float32
        self.base_layer = base_layer
        new: dict[str, Any] = {"dtype": dtype, "device": weight.device}
        self.lora_A = nn.Parameter(torch.empty(1 if shared_a else experts, rank, inputs, **new))
        self.lora_B = nn.Parameter(torch.empty(experts, outputs, rank, **new))
        self.lora_shared_A = nn.Parameter(torch.empty(1, rank, inputs, **new)) if shared else None
        self.lora_shared_B = nn.Parameter(torch.empty(1, outputs, rank, **new)) if shared else None
        self.scale, self.dropout, self.block, self.asleep = alpha / rank, dropout, block, False
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PEFT's initialisation: A uniform as in ``nn.Linear``, B zero, so that every expert starts as the base."""
        with torch.no_grad():
            for a, b in ((self.lora_A, self.lora_B), (self.lora_shared_A, self.lora_shared_B)):
                if a is not None and b is not None:
                    for adapter in a:
                        nn.init.kaiming_uniform_(adapter, a=math.sqrt(5))
                    b.zero_()

    def factors(self) -> tuple[Tensor, Tensor]:
        """A (E, r, in) and B (E, out, r) of every expert, the ranks of the shared one behind its own."""
        a, b = self.lora_A.expand(len(self.lora_B), -1, -1).contiguous(), self.lora_B
        if self.lora_shared_A is None or self.lora_shared_B is None:
            return a, b
        also_a, also_b = self.lora_shared_A.expand(len(b), -1, -1), self.lora_shared_B.expand(len(b), -1, -1)
        return torch.cat([a, also_a], dim=1), torch.cat([b, also_b], dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """(R, n, in) -> (R, n, out); rows may also come flattened, (R*n, in), as some models do."""
        rows = current()
        y: Tensor = self.base_layer(x)
        if self.asleep:
            return y
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.lora_A.dtype
        h = F.dropout(x, self.dropout, self.training).to(dtype).reshape(len(rows.expert), -1, x.shape[-1])
        a, b = (factor.to(dtype) for factor in self.factors())
        if rows.gates is None:
            update = low_rank(h, a, b, rows, self.scale)
        else:
            update = routed(h, a, b, rows.gates(self.block, x), self.scale)
        return y + update.reshape(y.shape).to(y.dtype)
