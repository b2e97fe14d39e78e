"""Pictures and texts in the space of a model's retrieval expert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rsmoe
from rsmoe.errors import UserError
from rsmoe.evaluation.answer_requests import checkpoint_facts
from rsmoe.evaluation.assistant import Assistant


class MixtureEmbedder:
    """An `rsmoe.archive.Embedder` of a trained mixture; the router chooses who reads a picture, as in its benchmark.

    Args:
        model: with a retrieval expert.
        fingerprint: of its weights.

    Raises:
        UserError: it has no such expert.
    """

    def __init__(self, *, model: Assistant, fingerprint: str) -> None:
        if not model.embeds:
            raise UserError(
                f"this model has no retrieval expert, it has {', '.join(model.experts)}: give checkpoint=starter, or "
                "train one with expert=[...,retrieval]"
            )
        self.model, self.fingerprint = model, fingerprint
        self.bands: int = model.run.config["bands"]
        self.dim = self.embed_texts(["image"]).shape[1]

    @classmethod
    def open(cls, checkpoint: str, *, device: str) -> MixtureEmbedder:
        """The one of a checkpoint.

        Raises:
            UserError: see `rsmoe.load`; no retrieval expert.
        """
        model = rsmoe.load(checkpoint, device=device)
        return cls(model=model, fingerprint=checkpoint_facts(Path(checkpoint))["checkpoint_sha256"])

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """n pictures (H, W, C) uint8 -> (n, dim) float32."""
        found: np.ndarray = self.model.embed(list(images))
        return found.astype(np.float32)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """n texts -> (n, dim) float32; `UserError` for a text without a word."""
        return self.model.embed_texts(texts).astype(np.float32)

    def unknown_words(self, text: str) -> list[str]:
        """Words that its vocabulary does not have; none where a tokenizer spells out what it does not know."""
        return self.model.run.codec.unknown_words(text)
