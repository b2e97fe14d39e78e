"""Texts -> ids and mask, as a text tower reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError


class TextTokens:
    """A tokenizer with the length and the frame that a tower was trained with.

    Args:
        codec: the tokenizer.
        longest: most tokens of a text; of a longer one the end is left out.
        wrap: start and end tokens stand around a text, and the last one stays where it is cut.
        padded: every text is filled up to ``longest`` with the pad, and all of it is read, as SigLIP is trained.
    """

    def __init__(self, codec: TextCodec, *, longest: int, wrap: bool = False, padded: bool = False) -> None:
        self.codec, self.longest, self.wrap, self.padded = codec, longest, wrap, padded

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """n texts -> (n, L) long ids, right-padded, and the bool mask of the tokens.

        Raises:
            UserError: a text without a word.
        """
        rows = [self.codec.encode(text, wrap=self.wrap) for text in texts]
        if [] in rows:
            raise UserError(f"text {rows.index([]) + 1} of {len(rows)} is empty: give at least one word")
        rows = [self._cut(row) for row in rows]
        length = self.longest if self.padded else max(map(len, rows))
        ids = torch.tensor([row + [self.codec.pad_id] * (length - len(row)) for row in rows])
        lengths = torch.tensor([length if self.padded else len(row) for row in rows])
        return ids, torch.arange(length) < lengths[:, None]

    def _cut(self, row: list[int]) -> list[int]:
        if len(row) <= self.longest:
            return row
        return [*row[: self.longest - 1], row[-1]] if self.wrap else row[: self.longest]
