"""How sure a model is of what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from rsmoe.data.batch import Batch
from rsmoe.data.text_codec import TextCodec
from rsmoe.evaluation.answer import pad
from rsmoe.model import RSMoE
from rsmoe.perception import Perception


@torch.no_grad()
def confidences(
    model: RSMoE, codec: TextCodec, batch: Batch, perception: Perception, texts: Sequence[str]
) -> list[float]:
    """Mean log-probability of the tokens of each of B answers, the end token among them, under the model's fusion.

    One teacher-forced pass of the language model over all answers. It ranks answers of one model; it is no probability
    of being right.
    """
    assert codec.eos_id is not None
    ids, mask = pad([[*codec.encode(text), codec.eos_id] for text in texts], codec.pad_id, batch.pixels.device)
    told = replace(batch, response_ids=ids, response_mask=mask)
    each, _ = model.fusion.log_probability(model, told, model.read(told, perception))
    each = each.float().masked_fill(~mask, 0.0)
    means: list[float] = (each.sum(1) / mask.sum(1)).tolist()
    return means
