"""The instruction router: chooses experts by the instruction and the visual queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import NonNegativeReal, Positive
from rsmoe.router import Balance, Choice
from rsmoe.router.gate import Gate
from rsmoe.router.request import RouterRequest
from rsmoe.router.routing import Routing


class InstructionRouter(Gate):
    """A gate over E experts from the instruction's words and the instruction-guided queries.

    z = W MLP([mean of word embeddings ; mean of queries]), p = softmax(z) in fp32. The label of the task is not an
    input, so it cannot leak into inference. The paper (RS-MoE, arXiv 2411.01595) publishes no router architecture;
    this one is ours.

    Args:
        width: D of the queries.
        memory_width: D_m of the visual memory.
        vocab_size: of the instruction's tokens.
        experts: E.
        choice, balance: see `Gate`.
        hidden: width of the gate's MLP.
        reads: "both"; "instruction": word embeddings alone; "image": the mean of the visual memory alone. The last two
            do not use the queries, because the Q-Former reads both picture and instruction.
        jitter: standard deviation of the noise on the logits in training.
    """

    def __init__(
        self,
        *,
        width: Positive,
        memory_width: Positive,
        vocab_size: Positive,
        experts: Positive,
        choice: Callable[..., Choice],
        balance: Balance,
        hidden: Positive = 128,
        reads: Literal["both", "instruction", "image"] = "both",
        jitter: NonNegativeReal = 0.0,
    ) -> None:
        super().__init__(width=hidden, experts=experts, choice=choice, balance=balance, jitter=jitter)
        self.reads = reads
        self.words = None if reads == "image" else nn.Embedding(vocab_size, hidden)
        size = {"both": hidden + width, "instruction": hidden, "image": memory_width}[reads]
        self.mix = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, hidden), nn.GELU())
        self.gate = nn.Linear(hidden, experts)

    def forward(self, request: RouterRequest) -> Routing:
        """See `rsmoe.router.Router`."""
        state = self.mix(self._features(request))
        with torch.autocast(state.device.type, enabled=False):
            logits = nn.functional.linear(state.float(), self.gate.weight.float(), self.gate.bias.float())  # (B, E)
            return self.route(logits, state, request)

    def _features(self, request: RouterRequest) -> Tensor:
        if self.words is None:
            return request.memory
        mask = request.instruction_mask.unsqueeze(-1).to(request.queries.dtype)
        words: Tensor = (self.words(request.instruction_ids) * mask).sum(1) / mask.sum(1).clamp_min(1.0)  # (B, hidden)
        return words if self.reads == "instruction" else torch.cat([words, request.queries.mean(1)], dim=-1)
