"""A batch of requests -> predictions: text, what the heads make of [SEG] and [RET], and the maps of the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rsmoe.data.batch import Batch
from rsmoe.data.text_codec import TextCodec
from rsmoe.evaluation.class_maps import class_maps, picture_sizes
from rsmoe.experts.expert import AnswerInput
from rsmoe.generation.decoding import Decoding, OnToken
from rsmoe.metrics.prediction import Prediction
from rsmoe.model import RSMoE
from rsmoe.perception import Perception
from rsmoe.router.prompts import PromptRequest

_NAMES = {"change": "change_map"}
"""Fields of a prediction that are called otherwise than the output."""
_FIELDS = {field.name for field in fields(Prediction)}


@torch.no_grad()
def answer_batch(
    model: RSMoE,
    codec: TextCodec,
    batch: Batch,
    *,
    beams: int,
    max_new: int = 64,
    perception: Perception | None = None,
    each: Sequence[Decoding] | None = None,
    on_token: OnToken | None = None,
) -> list[Prediction]:
    """Predictions for B requests, from their images and instructions only; every picture is encoded once.

    A head reads the state that emitted its token in the generated text, by the same pass as in training. A text that
    holds no such token has no output of that head. Of two experts with one output the one of the higher weight has it.

    Args:
        each: settings of every request; None: greedy or beams, of ``max_new`` tokens at most, for all.
    """
    assert codec.eos_id is not None
    perception = model.perceive(batch) if perception is None else perception
    each = [Decoding(max_new=max_new)] * len(batch) if each is None else each
    longest = max((one.max_new for one in each), default=max_new)
    decoded = model.generate(
        batch, perception, end_id=codec.eos_id, beams=beams, max_new=longest, each=each, on_token=on_token
    )
    stops = [one.stop for one in each]
    cut = [(ids, codec.decode(ids)) if s is None else s.cut(ids) for s, ids in zip(stops, decoded, strict=True)]
    written = [ids for ids, _ in cut]
    weights = perception.routing.weights
    sizes, maps = picture_sizes(batch), class_maps(model, perception.sight, batch)
    first = weights.argmax(1).tolist()
    outputs: list[dict[str, Any]] = [
        {"expert": model.names[best], **{_NAMES.get(name, name): value for name, value in of.items()}}
        for best, of in zip(first, maps, strict=True)
    ]
    found: list[tuple[float, int, dict[str, Any]]] = []
    tokens = torch.tensor(sorted(model.special.values()), device=weights.device)
    ids, mask = pad(written, codec.pad_id, batch.pixels.device)
    with_token = torch.isin(ids, tokens).any(1)
    if bool(with_token.any()):
        rows = model.fusion.rows(perception.routing)
        rows = rows[with_token[rows.sample]]
        again = replace(batch, response_ids=ids, response_mask=mask)
        for index, inputs in model.head_inputs(again, model.read(again, perception, rows=rows)).items():
            weight = weights[:, 0 if model.dense else index].tolist()
            answers = model.experts[index].answer(AnswerInput(inputs=inputs, size_px=sizes, maps=maps))
            by = {"expert": model.experts[index].name}
            found += [(weight[place], place, by | dict(answer)) for place, answer in answers.items()]
    for _, place, answer in sorted(found, key=lambda item: item[0]):
        outputs[place] |= answer
    for index, expert in enumerate(model.experts):
        for place, sample in enumerate(batch.samples):
            outputs[place] |= expert.references(sample, partial(read_texts, model, codec, index))
    return [
        Prediction(
            id=s.id,
            task=s.task,
            kind=s.kind,
            text=text,
            tokens=len(ids),
            ended=len(ids) < one.max_new or (one.stop is not None and one.stop.found(ids)),
            weights=tuple(w),
            experts=model.names,
            outputs={name: value for name, value in more.items() if name not in _FIELDS},
            **{name: value for name, value in more.items() if name in _FIELDS},
        )
        for s, one, ids, (_, text), w, more in zip(
            batch.samples, each, decoded, cut, weights.tolist(), outputs, strict=True
        )
    ]


@torch.no_grad()
def read_texts(model: RSMoE, codec: TextCodec, expert: int, texts: Sequence[str]) -> Tensor:
    """n texts -> (n, D) states of an expert after each text alone; an empty text is an error of the caller."""
    ids, mask = pad([codec.encode(t) for t in texts], codec.pad_id, model.to_lm.weight.device)
    return model.read_text(expert, ids, mask)


@torch.no_grad()
def prompt_words(
    model: RSMoE, codec: TextCodec, batch: Batch, perception: Perception, place: int = 0
) -> dict[str, str]:
    """Prompts of the experts that are chosen for one request, in words.

    Soft prompts have no words of their own: the nearest word of the vocabulary (cosine) stands for each token.
    """
    rows = perception.routing.rows()
    rows = rows[rows.sample == place]
    prefix = perception.prefix[rows.sample]
    prompts = model.prompts(
        PromptRequest(
            queries=prefix.tokens,
            queries_mask=prefix.mask,
            prompt_ids=batch.prompt_ids[rows.sample],
            prompt_mask=batch.prompt_mask[rows.sample],
            expert=rows.expert,
        )
    )
    if prompts.ids is not None:
        texts = [codec.decode(ids[mask].tolist()) for ids, mask in zip(prompts.ids, prompts.mask, strict=True)]
    else:
        assert prompts.embeds is not None
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
