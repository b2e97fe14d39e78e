"""The LightningModule of a dual encoder: the loss of a batch of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from rsmoe.contrast.dual_encoder import DualEncoder
from rsmoe.contrast.in_parts import in_parts
from rsmoe.contrast.pairs import Pairs, reference_keys, text_key
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.data.batch import Batch
from rsmoe.settings.stage import Stage
from rsmoe.training.module import StageModule

LOSS = "contrast"
"""Name of the loss in curves and stages."""


class ContrastModule(StageModule):
    """One stage of a dual encoder: optimiser, learning rate, curves, validation and resumption are `StageModule`'s.

    Args:
        model: trained in place.
        tokens: of its text tower.
        captions: texts that are drawn of each picture's captions in a step.
        part: pictures whose activations are kept at once, see `in_parts`; None: all.
        stage, seed, hparams, optimizer: as in `StageModule`.
    """

    def __init__(
        self,
        *,
        model: DualEncoder,
        tokens: TextTokens,
        captions: int,
        part: int | None = None,
        stage: Stage,
        seed: int,
        hparams: dict[str, Any],
        optimizer: Mapping[str, Any],
    ) -> None:
        super().__init__(model=cast(Any, model), stage=stage, index=0, seed=seed, hparams=hparams, optimizer=optimizer)
        self._tokens, self._captions, self._part = tokens, captions, part

    def _terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The loss of a batch, every picture with its captions in an order of the step; in validation the first."""
        model, device = cast(DualEncoder, cast(Any, self.model)), batch.pixels.device
        texts = []
        for sample in batch.samples:
            count = len(sample.responses)
            order = torch.randperm(count).tolist() if self.training else list(range(count))
            texts += [sample.responses[order[i % count]] for i in range(self._captions)]
        ids, mask = self._tokens(texts)
        pairs = Pairs.gathered(
            model.embed_batch(batch, part=self._part),
            in_parts(
                model.embed_texts, ids.to(device), mask.to(device), size=self._part and self._part * self._captions
            ),
            keys=torch.tensor([text_key(text) for text in texts]).to(device),
            references=reference_keys([sample.responses for sample in batch.samples]).to(device),
        )
        loss: Tensor = model.loss(pairs)
        return {LOSS: loss}
