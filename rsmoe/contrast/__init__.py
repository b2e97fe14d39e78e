"""Contrast contract: pictures and texts as unit vectors of one space, learned from pairs.

A **dual encoder** has two towers that never see each other: `dual_encoder.DualEncoder` of this library (any
``vision=``, an image head, a text tower of ``conf/text_tower``, a loss of ``conf/pair_loss``), or a CLIP or SigLIP
folder of transformers (`hugging_face.HuggingFaceDual`). `open_dual.open_dual` opens either, with the tokenizer and the
pixels that it was trained with.

- a **text tower** is an ``nn.Module`` with ``(ids (n, L), mask (n, L)) -> (n, dim)``, of any length;
- a **pair loss** is an ``nn.Module`` with ``(pairs: pairs.Pairs) -> scalar``: that of this rank's share, whose mean
  over the ranks is the loss of the whole batch. Scale and bias are parameters of the loss.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Embedder(Protocol):
    """Two towers, ready to be asked."""

    def embed_images(self, pixels: Tensor) -> Tensor:
        """(n, C, H, W) normalised pixels -> (n, dim) of length 1."""

    def embed_texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, L) token ids, right-padded, and the bool mask of the tokens -> (n, dim) of length 1."""
