"""A small text tower from random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsmoe.checks.ranges import Depth, Fraction, NonNegative, Positive
from rsmoe.errors import UserError


class TextTransformer(nn.Module):
    """Word embeddings, ``depth`` pre-norm blocks that look both ways, the mean over the words, a linear map.

    With ``depth`` 0 it is a bag of words.

    Args:
        vocab_size: of the tokenizer.
        dim: of the embedding.
        width: D.
        depth: blocks.
        heads: of attention.
        dropout: in the blocks, and of the pooled channels.
        word_dropout: share of the words that training leaves out of a text.
        longest: most tokens of a text.

    Raises:
        UserError: heads that do not divide the width.
    """

    def __init__(
        self,
        *,
        vocab_size: Positive,
        dim: Positive,
        width: Positive = 192,
        depth: NonNegative = 2,
        heads: Positive = 4,
        dropout: Fraction = 0.1,
        word_dropout: Fraction = 0.0,
        longest: Depth = 64,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"text_tower.heads={heads}: expected a divisor of text_tower.width={width}")
        self.longest, self.word_dropout = longest, word_dropout
        self.words = nn.Embedding(vocab_size, width)
        self.places = nn.Parameter(torch.zeros(longest, width)) if depth else None
        nn.init.normal_(self.words.weight, std=0.02)
        block = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, depth, enable_nested_tensor=False) if depth else None
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, dim))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, L) token ids and the bool mask of the tokens, at least one in each text -> (n, dim)."""
        if self.training and self.word_dropout:
            kept = mask & (torch.rand(mask.shape, device=mask.device) >= self.word_dropout)
            mask = torch.where(kept.any(1, keepdim=True), kept, mask)
        x = self.words(ids)
        if self.blocks is not None:
            assert self.places is not None
            x = self.blocks(x + self.places[: ids.shape[1]], src_key_padding_mask=~mask)
        x = x.masked_fill(~mask[..., None], 0.0)
        out: Tensor = self.out(x.sum(1) / mask.sum(1, keepdim=True))
        return out
