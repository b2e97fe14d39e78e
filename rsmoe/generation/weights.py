"""Fusion of weights: one row a request, whose adapter is the weighted sum of its experts' adapters."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rsmoe.checks.ranges import NonNegativeReal
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.experts import Bank
from rsmoe.generation.mixture import Mixture
from rsmoe.router.routing import Routing, Rows


class SumOfAdapters(Mixture):
    """y = W x + (alpha / r) sum_e w_e B_e A_e x in every adapted layer: one pass a request, however many experts.

    In each linear layer this is the weighted mean of the experts' outputs, since the updates B_e A_e are summed, not A
    and B apart. The layers between are not linear: the next-token distribution is no mean of the experts' own. Soft
    prompts are summed with the same weights; of written ones a request reads that of the expert that weighs most.
    Merging experts by the router's weights is SMEAR's idea (arXiv 2306.03745).

    Time, beside that of one expert: 1.05 in training and 1.2 in a pass without gradient, where the mixture of three
    experts takes 2.6 and 2.8 (CPU; width 512, 4 layers, 6 experts of rank 16, 12 requests of 64 tokens).

    Args:
        codec, names: of the fusion contract; unused.
        bank: one base that all adapters share.
        length_penalty, length_weight: as in `rsmoe.generation.mixture.Mixture`.

    Raises:
        UserError: a bank whose experts are models of their own.
    """

    def __init__(
        self,
        *,
        codec: TextCodec,
        names: Sequence[str],
        bank: Bank,
        length_penalty: NonNegativeReal = 1.0,
        length_weight: NonNegativeReal = 1.0,
    ) -> None:
        super().__init__(
            codec=codec, names=names, bank=bank, length_penalty=length_penalty, length_weight=length_weight
        )
        if not bank.sums_adapters:
            raise UserError(
                f"fusion=weights sums adapters of one language model, and {type(bank).__name__} has one model for each "
                "expert. Type bank=shared, or fusion=mixture"
            )

    def rows(self, routing: Routing) -> Rows:
        """One row for each of B requests, in the order of the expert that weighs most."""
        if int(routing.chosen.sum()) == len(routing.chosen):
            return routing.rows()  # one expert each: nothing to sum
        heaviest = routing.weights.argmax(1)
        sample = heaviest.argsort(stable=True)
        share = routing.weights[sample]
        return Rows(sample=sample, expert=heaviest[sample], weight=torch.ones_like(share[:, 0]), share=share)
