"""Embeddings of pictures and of texts in one space, by the retrieval expert of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rsmoe.data.batch import Batch
from rsmoe.data.collate import RETRIEVAL_TOKEN
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import pad
from rsmoe.evaluation.class_maps import picture_sizes
from rsmoe.evaluation.open_run import OpenRun
from rsmoe.experts.expert import AnswerInput
from rsmoe.model import RSMoE
from rsmoe.perception import Perception

EMBED = "Embed this image for retrieval."
"""What a picture is asked, if nothing else is: the words of the retrieval benchmarks."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Where a picture or a text lies; the dot product of two is their cosine."""

    vector: np.ndarray
    """(dim,) float, of length 1."""
    tokens: int
    """Read for it: words, and visual tokens of a picture."""


def retrieval_expert(model: RSMoE) -> int | None:
    """Place of the expert that embeds; None in a model without one."""
    return next((place for place, expert in enumerate(model.experts) if expert.token == RETRIEVAL_TOKEN), None)


def require_retrieval(model: RSMoE) -> int:
    """Place of the expert that embeds."""
    found = retrieval_expert(model)
    if found is None:
        raise UserError(
            f"this model has no retrieval expert, it has {', '.join(model.names)}: train one with "
            "expert=[...,retrieval]"
        )
    return found


@torch.no_grad()
def embed_batch(model: RSMoE, batch: Batch, perception: Perception) -> list[Embedding]:
    """Embeddings of the pictures of B requests: of the state that emits [RET], as in training."""
    index = require_retrieval(model)
    ids = torch.full((len(batch), 1), model.special[RETRIEVAL_TOKEN], device=batch.pixels.device)
    said = replace(batch, response_ids=ids, response_mask=torch.ones_like(ids, dtype=torch.bool))
    inputs = model.head_inputs(said, model.read(said, perception))[index]
    none: list[dict[str, np.ndarray]] = [{}] * len(batch)  # an embedding is of no map
    answers = model.experts[index].answer(AnswerInput(inputs=inputs, size_px=picture_sizes(batch), maps=none))
    read = (batch.prompt_mask.sum(1) + perception.prefix.mask.sum(1)).tolist()
    return [Embedding(vector=answers[place]["image_embedding"], tokens=count) for place, count in enumerate(read)]


@torch.no_grad()
def embed_texts(run: OpenRun, texts: Sequence[str]) -> list[Embedding]:
    """Embeddings of n texts, cut to the longest response of training.

    Raises:
        UserError: see `require_retrieval`; no list of texts, or a text without a word.
    """
    if isinstance(texts, str) or not texts:
        raise UserError(f"expected a list of texts, got {texts!r}")
    model = run.model
    index, ids = require_retrieval(model), [run.collate.caption(text) for text in texts]
    if [] in ids:
        raise UserError(f"text {ids.index([]) + 1} of {len(ids)} is empty: give at least one word")

    def read(texts: Sequence[str]) -> Tensor:
        return model.read_text(index, *pad(ids, run.codec.pad_id, model.to_lm.weight.device))

    none = np.zeros((1, 1, 3), np.uint8)  # a sample has a picture, which its references do not look at
    sample = Sample(
        id="texts", images=(none,), instruction="", responses=tuple(texts), task="retrieval", source="request"
    )
    vectors = model.experts[index].references(sample, read)["text_embeddings"]
    return [Embedding(vector=vector, tokens=len(own)) for vector, own in zip(vectors, ids, strict=True)]
