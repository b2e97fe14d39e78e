"""What a language model learns of words that it did not have, while its own tables rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class NewWords(nn.Module):
    """Trained vectors for S words of a vocabulary, added to what the tables of a pretrained model say of them.

    ``embedding(i) = W_i + u_i`` and ``logit_i = h . V_i + h . v_i``, with u = v where one table serves both. They begin
    at zero, so that at first nothing changes. A row that transformers adds begins near the mean of all rows, where its
    logit is near the mean of the others and never the largest: without training, [SEG] is never said. FROMAGe (arXiv
    2301.13823) trains the row of [RET] alone, too.

    Args:
        ids: of the words.
        width: D.
        tied: one table is both embedding and output layer.
    """

    ids: Tensor

    def __init__(self, ids: Sequence[int], *, width: int, tied: bool) -> None:
        super().__init__()
        self.register_buffer("ids", torch.tensor(sorted(ids)), persistent=False)
        self.embedding = nn.Parameter(torch.zeros(len(ids), width))
        self.output = None if tied else nn.Parameter(torch.zeros(len(ids), width))

    def embedded(self, ids: Tensor, rows: Tensor) -> Tensor:
        """(..., L) ids and their rows of the table (..., L, D) -> (..., L, D)."""
        place = (ids.unsqueeze(-1) == self.ids).to(rows.dtype)  # (..., L, S)
        return rows + place @ self.embedding.to(rows.dtype)

    @property
    def _outputs(self) -> Tensor:
        return self.embedding if self.output is None else self.output

    def logits(self, hidden: Tensor, logits: Tensor) -> Tensor:
        """(..., D) states and the table's logits (..., V) -> (..., V)."""
        added = hidden @ self._outputs.to(hidden.dtype).t()  # (..., S)
        return logits.index_add(-1, self.ids, added.to(logits.dtype))

    @torch.no_grad()
    def folded(self, embedding: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of both tables (V, D) with the vectors in their rows, which say the same without this module."""
        rows = self.embedding.to(embedding.dtype), self._outputs.to(output.dtype)
        return embedding.index_add(0, self.ids, rows[0]), output.index_add(0, self.ids, rows[1])
