"""Generation: how the rows of one request become one text.

A **fusion** is an ``nn.Module`` in one file with one yaml in ``conf/fusion/``; its constructor takes ``codec`` and
``names`` (of the experts, in the bank's order). `decoding.decode` is what fusions share: greedy, sampled or with beams,
over rows that may belong to several experts, each request by its own settings (`decoding.Decoding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from rsmoe.data.batch import Batch

if TYPE_CHECKING:
    from rsmoe.generation.decoding import Decoding, OnToken
    from rsmoe.model import RSMoE
    from rsmoe.perception import Perception, Reading


class Fusion(Protocol):
    """Mixture, or rewriting."""

    terms: Mapping[str, float]
    """Losses beside that of the text, and their weights."""

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
        max_new: int,
        each: Sequence[Decoding] | None = None,
        on_token: OnToken | None = None,
    ) -> list[list[int]]:
        """Token ids of the answer to each request, by the settings ``each`` of its own; None: greedy or beams for all.

        ``on_token`` is called after every step, where the text is known before its end.
        """
