"""Token routing: in every adapted layer a small gate chooses among the adapters, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import NonNegativeReal, Positive
from rsmoe.errors import UserError
from rsmoe.experts.bank import ExpertBank
from rsmoe.experts.rows import RowExperts, TokenChoice
from rsmoe.router.balance.switch import SwitchBalance
from rsmoe.router.routing import RULED_OUT, Routing


class TokenBank(ExpertBank):
    """Token-level mixture of adapters (LLaVA-MoLE, arXiv 2401.16160; MixLoRA, arXiv 2404.15159).

    For a token x of a row with the shares s (R, E) of `rsmoe.generation.weights.SumOfAdapters`::

        z = G x + log s                              G (E, in): one gate for the layers of a block that read x
        y = W x + (alpha / r) sum_e w_e B_e A_e x    w = softmax of the k highest z

    With equal shares (``router=uniform``) the gates alone decide; with those of a router a request is routed first and
    its tokens then, among the experts that it was given. A row of one expert has no gates. Each token is routed by what
    it is itself, so that decoding over a cache is the full pass.

    w sums to 1: with equal experts it is the dense model, whatever G is. So that G learns with k = 1 as well, w is
    multiplied with p / p, the probability of the chosen experts over itself without gradient: 1 in value.

    Args:
        k: experts a token.
        balance: weight of the loss "token_balance", E * sum_e f_e P_e of `rsmoe.router.balance.switch.SwitchBalance`,
            over the tokens of each gate, mean of all gates.
        adapter: of `ExpertBank`.
    """

    def __init__(self, *, k: Positive = 1, balance: NonNegativeReal = 0.01, **adapter: Any) -> None:
        super().__init__(**adapter)
        self.k = min(k, self.size)
        self.terms = {"token_balance": balance}
        self.switch = SwitchBalance(experts=self.size)
        weight = next(iter(self.adapted().values())).lora_A
        self.lora_gates = nn.ParameterDict()
        for layer in self.adapted().values():
            width = layer.lora_A.shape[-1]
            if (name := _gate(layer.block, width)) not in self.lora_gates:
                self.lora_gates[name] = nn.Parameter(0.02 * torch.randn(self.size, width, device=weight.device))

    def save_adapters(self, names: Sequence[str], folder: Path) -> None:
        """Refused: apart from their gates the adapters are another model.

        Raises:
            UserError: always.
        """
        raise UserError(
            "bank=token routes tokens from adapter to adapter, which PEFT's format does not hold. "
            'rsmoe.load("<run>").save_pretrained("<folder>") writes the whole model'
        )

    def rows_of(self, expert: Tensor) -> RowExperts:
        """Of a pass; one of shares has gates."""
        rows = super().rows_of(expert)
        if rows.share is None:
            return rows
        share = rows.share.float()  # its logarithm has a gradient where it is 0, too
        prior = share.clamp_min(1e-30).log().masked_fill(share <= 0, RULED_OUT)
        return replace(rows, gates=_Pass(bank=self, prior=prior))

    def losses(self, gates: Mapping[str, Routing]) -> dict[str, Tensor]:
        """ "token_balance" of the gates of a pass; {} of a pass without."""
        each = [self.switch(routing) for routing in gates.values()]
        return {"token_balance": torch.stack(each).mean()} if each else {}


class _Pass:
    """The gates during one pass over R rows: layers of a block that read the same x share a choice."""

    def __init__(self, *, bank: TokenBank, prior: Tensor) -> None:
        self._gates, self._k, self._prior = bank.lora_gates, bank.k, prior
        self._last: tuple[str, Tensor, TokenChoice] | None = None
        self.chosen: dict[str, TokenChoice] = {}

    def __call__(self, block: str, x: Tensor) -> TokenChoice:
        """See `rsmoe.experts.rows.TokenGates`."""
        name = _gate(block, x.shape[-1])
        # known by the tensor itself: activations that are computed again for the backward pass are others
        if self._last is None or self._last[0] != name or self._last[1] is not x:
            self._last = name, x, self._choose(self._gates[name], x)
            self.chosen.setdefault(name, self._last[2])
        return self._last[2]

    def _choose(self, gate: Tensor, x: Tensor) -> TokenChoice:
        with torch.autocast(x.device.type, enabled=False):
            z = F.linear(x.float(), gate.float()).view(len(self._prior), -1, len(gate)) + self._prior[:, None]
            top, index = z.topk(self._k, dim=-1) if self._k > 1 else z.max(-1, keepdim=True)
            weight = top.softmax(-1)
            if torch.is_grad_enabled():
                log_p = torch.logsumexp(top, -1, keepdim=True) - torch.logsumexp(z, -1, keepdim=True)
                weight = weight * (log_p - log_p.detach()).exp()
        return TokenChoice(logits=z, index=index, weight=weight)


def _gate(block: str, width: int) -> str:
    return f"{block.replace('.', '/')}/{width}"
