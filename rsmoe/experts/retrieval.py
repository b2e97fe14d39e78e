"""The retrieval expert: the state that emits [RET] becomes an embedding, for images and for texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.checks.ranges import Positive
from rsmoe.data.batch import Batch
from rsmoe.data.sample import Sample
from rsmoe.experts.expert import AnswerInput, Expert, HeadInput


class RetrievalExpert(Expert):
    """One linear map per side onto the unit sphere, trained by symmetric InfoNCE within the batch.

    As FROMAGe's [RET] (arXiv 2301.13823, section 3.2): width 256, learnable temperature that starts at 0.07.

    Args:
        dim: width of the embeddings.
        name, tasks, template, hidden_width, pyramid_widths: as in `Expert`.
    """

    token = "[RET]"
    terms: Mapping[str, float] = {"retrieval": 1.0}

    def __init__(
        self,
        *,
        name: str,
        tasks: Sequence[str],
        template: str = "{instruction}",
        hidden_width: Positive,
        pyramid_widths: Sequence[Positive],
        dim: Positive = 256,
    ) -> None:
        super().__init__(
            name=name, tasks=tasks, template=template, hidden_width=hidden_width, pyramid_widths=pyramid_widths
        )
        self.image, self.text = nn.Linear(hidden_width, dim), nn.Linear(hidden_width, dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def head(self, inputs: HeadInput) -> Tensor:
        """n states after image and instruction -> (n, dim) unit image embeddings."""
        return F.normalize(self.image(inputs.hidden).float(), dim=-1)

    def embed_text(self, hidden: Tensor) -> Tensor:
        """(n, D) states after a text alone -> (n, dim) unit text embeddings."""
        return F.normalize(self.text(hidden).float(), dim=-1)

    def losses(self, inputs: HeadInput, batch: Batch) -> dict[str, Tensor]:
        """Mean of the image-to-text and text-to-image cross-entropies over the n samples; 0 for a single one.

        Samples with the same text, or on the same view, are positives of each other, in equal shares: neither a
        second image of "an airport" nor another caption of an image is a negative of it. The temperature is
        kept above 0.01. Without texts in the batch there is nothing to match.
        """
        if inputs.text_hidden is None:
            return {}
        ids, mask = batch.text_ids[inputs.sample], batch.text_mask[inputs.sample]
        words = ids.masked_fill(~mask, -1)
        same = (words[:, None] == words[None]).all(-1) | (inputs.view[:, None] == inputs.view)  # (n, n), symmetric
        target = same / same.sum(1, keepdim=True)
        scale = self.logit_scale.clamp(max=math.log(100)).exp()
        logits = scale * self.head(inputs) @ self.embed_text(inputs.text_hidden).T  # (images, texts)
        return {"retrieval": (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2}

    def answer(self, request: AnswerInput) -> dict[int, dict[str, np.ndarray]]:
        """ "image_embedding": (dim,) float."""
        vectors = self.head(request.inputs).cpu().numpy()
        return {i: {"image_embedding": v} for i, v in zip(request.inputs.sample.tolist(), vectors, strict=True)}

    def references(self, sample: Sample, read: Callable[[Sequence[str]], Tensor]) -> dict[str, np.ndarray]:
        """ "text_embeddings": (n, dim) float, of the references of a retrieval sample."""
        if sample.task != "retrieval":
            return {}
        return {"text_embeddings": self.embed_text(read(sample.responses)).cpu().numpy()}
