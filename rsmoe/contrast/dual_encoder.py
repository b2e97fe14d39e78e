"""Two towers and their loss: pictures and texts in one space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.contrast.in_parts import in_parts
from rsmoe.data.batch import Batch
from rsmoe.errors import UserError
from rsmoe.vision import VisionEncoder
from rsmoe.vision.frozen import FrozenPart


class DualEncoder(nn.Module):
    """A vision encoder with an image head, a text tower, and the loss that joins them.

    Args:
        vision: any encoder of ``conf/vision``; where its base is frozen, its features may be computed before.
        image: tokens (n, P, D) -> (n, dim).
        text: ids and mask (n, L) -> (n, dim).
        loss: see `rsmoe.contrast`.
    """

    def __init__(self, *, vision: VisionEncoder, image: nn.Module, text: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.vision, self.image, self.text, self.loss = vision, image, text, loss

    def embed_images(self, pixels: Tensor) -> Tensor:
        """(n, C, H, W) normalised pixels -> (n, dim) of length 1."""
        tokens = self.vision(pixels.contiguous(memory_format=torch.channels_last)).tokens
        return F.normalize(self.image(tokens).float(), dim=-1)

    def embed_texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, L) token ids, right-padded, and the bool mask of the tokens -> (n, dim) of length 1."""
        return F.normalize(self.text(ids, mask).float(), dim=-1)

    def embed_batch(self, batch: Batch, *, part: int | None = None) -> Tensor:
        """The pictures of B requests -> (B, dim) of length 1, each view encoded once, or taken from its features.

        Args:
            part: views whose activations are kept at once, see `in_parts`; None: all.

        Raises:
            UserError: a request on several dates.
        """
        if batch.pixels.shape[1] > 1:
            long = next(sample for sample in batch.samples if len(sample.images) > 1)
            raise UserError(
                f"a dual encoder reads one picture; sample {long.id!r} of {long.source!r} has several dates"
            )
        if batch.features is None:
            return in_parts(self.embed_images, batch.pixels[:, 0], size=part)[batch.view]
        return in_parts(self._embed_features, *(level[:, 0] for level in batch.features), size=part)[batch.view]

    def _embed_features(self, *levels: Tensor) -> Tensor:
        dtype = next(self.image.parameters()).dtype
        seen = FrozenPart(self.vision).outputs(tuple(level.to(dtype) for level in levels))
        return F.normalize(self.image(seen.tokens).float(), dim=-1)
