"""A batch of requests -> predictions: text, what the heads make of [SEG] and [RET], and maps of changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rsmoe.data.batch import Batch
from rsmoe.data.rasters.images import load_image, picture_size
from rsmoe.data.text_codec import TextCodec
from rsmoe.experts.mask import MaskExpert
from rsmoe.experts.retrieval import RetrievalExpert
from rsmoe.maps.change_map import likeliest
from rsmoe.metrics.prediction import Prediction
from rsmoe.model import RSMoE
from rsmoe.perception import Sight
from rsmoe.router.prompts import PromptRequest


@torch.no_grad()
def answer_batch(model: RSMoE, codec: TextCodec, batch: Batch, *, beams: int, max_new: int) -> list[Prediction]:
    """Predictions for B requests, from their images and instructions only.

    A head reads the state that emitted its token in the generated text, by the same pass as in training. A text that
    holds no such token has no mask or embedding. The mask of a pair is its map of changes, in a model that has one.
    """
    assert codec.eos_id is not None
    written, perception = model.generate(batch, end_id=codec.eos_id, beams=beams, max_new=max_new)
    extra: list[dict[str, Any]] = [{} for _ in written]
    tokens = set(model.special.values())
    places = [i for i, ids in enumerate(written) if tokens & set(ids)]
    if places:
        ids, mask = pad([written[i] for i in places], codec.pad_id, batch.pixels.device)
        again = replace(batch.take(places), response_ids=ids, response_mask=mask)
        for index, inputs in model.head_inputs(again, model.read(again)).items():
            expert = model.experts[index]
            for row, output in zip(inputs.sample.tolist(), expert.head(inputs), strict=True):
                if isinstance(expert, MaskExpert):
                    extra[places[row]]["mask"] = _resized(output, load_image(again.samples[row].images[0]))
                elif isinstance(expert, RetrievalExpert):
                    extra[places[row]]["image_embedding"] = output.cpu().numpy()
    for index, expert in enumerate(model.experts):
        if isinstance(expert, RetrievalExpert):
            for i, sample in enumerate(batch.samples):
                if sample.task == "retrieval":
                    extra[i]["text_embeddings"] = embed_texts(model, codec, index, sample.responses).cpu().numpy()
    for row, found in change_maps(perception.sight, batch).items():
        extra[row]["change_map"] = found
        if model.special.get(str(MaskExpert.token)) in written[row]:
            extra[row]["mask"] = found > 0
    weights = perception.routing.weights.tolist()
    return [
        Prediction(
            id=s.id, task=s.task, kind=s.kind, text=codec.decode(ids), weights=tuple(w), experts=model.names, **more
        )
        for s, ids, w, more in zip(batch.samples, written, weights, extra, strict=True)
    ]


def change_maps(sight: Sight, batch: Batch) -> dict[int, np.ndarray]:
    """Place of each request on a pair -> (H, W) uint8 kind of change of each pixel of its first image.

    Requests on the same pair share one array; none in a model without a change map.
    """
    if sight.change is None:
        return {}
    evidence = dict(zip(sight.pairs.tolist(), sight.change.logits, strict=True))
    views: dict[int, np.ndarray] = {}
    found = {}
    for row, view in enumerate(batch.view.tolist()):
        if view in evidence:
            if view not in views:
                width, height = picture_size(batch.samples[row].images[0])
                scores = _at_size(evidence[view][None], (height, width))[0]  # (1 + K, H, W)
                views[view] = likeliest(scores.softmax(0)).cpu().numpy()
            found[row] = views[view]
    return found


@torch.no_grad()
def embed_texts(model: RSMoE, codec: TextCodec, expert: int, texts: tuple[str, ...]) -> Tensor:
    """n texts -> (n, dim) unit embeddings of a retrieval expert; an empty text is an error of the caller."""
    ids, mask = pad([codec.encode(t) for t in texts], codec.pad_id, model.to_lm.weight.device)
    head = model.experts[expert]
    assert isinstance(head, RetrievalExpert)
    return head.embed_text(model.read_text(expert, ids, mask))


@torch.no_grad()
def prompt_words(model: RSMoE, codec: TextCodec, batch: Batch) -> dict[str, str]:
    """What the router tells each chosen expert of the first request, in words.

    Soft prompts have no words of their own: the nearest word of the vocabulary (cosine) stands for each token.
    """
    perception = model.perceive(batch.take([0]))
    rows = perception.routing.rows()
    prompts = model.prompts(
        PromptRequest(
            queries=perception.shown.tokens[rows.sample],
            prompt_ids=batch.prompt_ids[rows.sample],
            prompt_mask=batch.prompt_mask[rows.sample],
            expert=rows.expert,
        )
    )
    if prompts.ids is not None:
        texts = [codec.decode(ids[mask].tolist()) for ids, mask in zip(prompts.ids, prompts.mask, strict=True)]
    else:
        every = torch.arange(codec.vocab_size, device=batch.frames.device)
        table = torch.nn.functional.normalize(model.bank.embed(every[None], rows.expert[:1])[0].float(), dim=-1)
        nearest = (torch.nn.functional.normalize(prompts.embeds.float(), dim=-1) @ table.T).argmax(-1)  # (R, P)
        texts = [" ".join(f"~{codec.decode([i]) or '[]'}" for i in row) for row in nearest.tolist()]
    return {model.names[e]: text for e, text in zip(rows.expert.tolist(), texts, strict=True)}


def pad(rows: list[list[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Lists of ids -> (n, longest) long, right-padded, and its bool mask."""
    ids = pad_sequence([torch.tensor(r, dtype=torch.long) for r in rows], batch_first=True, padding_value=pad_id)
    mask = pad_sequence([torch.ones(len(r), dtype=torch.bool) for r in rows], batch_first=True)
    return ids.to(device), mask.to(device)


def _resized(logits: Tensor, image: np.ndarray) -> np.ndarray:
    """(h, w) logits -> bool mask of the size of the original image, as the true masks are."""
    mask: np.ndarray = (_at_size(logits[None, None], image.shape[:2])[0, 0] > 0).cpu().numpy()
    return mask


def _at_size(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """(n, c, h, w) -> (n, c, *size) float."""
    return torch.nn.functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
