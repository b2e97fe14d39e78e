"""Generation: how the rows of one request become one text.

A **fusion** is an ``nn.Module`` in one file with one yaml in ``conf/fusion/``; its constructor takes ``codec``,
``names`` (of the experts, in the bank's order) and ``bank``. Where only the rows of a request or their next-token
distribution differ, it derives from `mixture.Mixture`. `decoding.decode` is what fusions share: greedy, sampled or with
beams, over rows that may belong to several experts, each request by its own settings (`decoding.Decoding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.router.routing import Routing, Rows

if TYPE_CHECKING:
    from rsmoe.generation.decoding import Decoding, OnToken
    from rsmoe.model import RSMoE
    from rsmoe.perception import Perception, Reading


class Fusion(Protocol):
    """Mixture of distributions, sum of adapters, or rewriting."""

    terms: Mapping[str, float]
    """Losses beside that of the text, and their weights."""

    def rows(self, routing: Routing) -> Rows:
        """What runs through the bank: a row for each chosen expert of a request, or one for all of them."""

    def log_probability(self, model: RSMoE, batch: Batch, reading: Reading) -> tuple[Tensor, Tensor]:
        """(B, Lr) of each response token, and (B, Lr) mean over the vocabulary, for label smoothing."""

    def losses(self, model: RSMoE, batch: Batch, reading: Reading, *, smoothing: float = 0.0) -> dict[str, Tensor]:
        """Text losses of given responses."""

    def generate(
        self,
        model: RSMoE,
        batch: Batch,
        perception: Perception,
        *,
        end_id: int,
        beams: int,
        each: Sequence[Decoding],
        on_token: OnToken | None = None,
    ) -> list[list[int]]:
        """Token ids of the answer to each request, by the settings ``each`` of its own.

        ``on_token`` is called after every step, where the text is known before its end.
        """
