"""Pictures and texts in the space of a dual encoder: a run of `rsmoe.commands.contrast`, or a CLIP or SigLIP folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rsmoe.contrast.open_dual import OpenDual, open_dual
from rsmoe.data.sample import Sample
from rsmoe.files import sha256_of_file


class DualEmbedder:
    """An `rsmoe.archive.Embedder` of two towers.

    Args:
        opened: the towers, with the tokenizer and the pixels that they were trained with.
        fingerprint: of their weights.
    """

    def __init__(self, *, opened: OpenDual, fingerprint: str) -> None:
        self.opened, self.fingerprint = opened, fingerprint
        self.bands: int = opened.facts["config"].get("bands", 3)  # folders of transformers read three
        self.dim = self.embed_texts(["image"]).shape[1]

    @classmethod
    def open(cls, checkpoint: str, *, device: str) -> DualEmbedder:
        """The one of a checkpoint; `UserError` as of `open_dual`."""
        opened = open_dual(Path(checkpoint), device=device)
        return cls(opened=opened, fingerprint=sha256_of_file(opened.path))

    @torch.inference_mode()
    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """n pictures (H, W, C) uint8 -> (n, dim) float32."""
        samples = [
            Sample(id=str(i), images=(image,), instruction="", responses=("",), task="retrieval", source="archive")
            for i, image in enumerate(images)
        ]
        batch = self.opened.collate([(sample, 0) for sample in samples])
        found = self.opened.model.embed_images(batch.pixels[:, 0].to(self.opened.device)).float().cpu()
        return found[batch.view].numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """n texts -> (n, dim) float32; `UserError` for a text without a word."""
        ids, mask = self.opened.tokens(texts)
        found = self.opened.model.embed_texts(ids.to(self.opened.device), mask.to(self.opened.device))
        return found.float().cpu().numpy()

    def unknown_words(self, text: str) -> list[str]:
        """Words that its vocabulary does not have; none where a tokenizer spells out what it does not know."""
        return self.opened.tokens.codec.unknown_words(text)
