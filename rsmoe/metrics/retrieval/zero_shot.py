"""Scenes told by their class names: the nearest class in the space of embeddings (zero-shot classification)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.retrieval.recall import stacked
from rsmoe.metrics.tally import Tally, ratio, whole


class ZeroShot(Metric):
    """Top-1 accuracy over images, and its mean over classes.

    The classes are those of the scored samples: the references of a sample are the prompts of its class, and samples of
    one class have the same ones. Classes of equal score share the hit: a model that gives every class the same score
    gets the chance level, not 100 % nor 0 %. A score that is not finite, or an image or a class without an embedding,
    hits nothing; such an image is a parse failure.
    """

    protocol = Protocol(
        id="zero-shot/top1@1",
        title="Zero-shot classification",
        tasks=("retrieval",),
        sentence="Share of images whose class has the highest score (cosine with the mean over its prompts), "
        "over images and as mean over the classes of the scored samples, x100; ties share the hit.",
        source="RS5M / GeoRSCLIP, arXiv 2306.11300, inference_tool.py",
        fields=("image_embedding", "text_embeddings"),
    )
    chance = "zero-shot/chance@1"

    def tally(self, pairs: Pairs) -> Tally:
        """One row an image."""
        # of each class the texts of its first sample: a hundred prompts for every picture would not fit into memory
        classes = {sample.responses: (sample, prediction) for sample, prediction in reversed(pairs)}
        _, texts, owners = stacked(list(classes.values()))
        of_class = torch.tensor(owners)
        table = torch.stack([class_embeddings(texts[of_class == place][None])[0] for place in range(len(classes))])
        given = [p.image_embedding for _, p in pairs]
        width = next((e.shape[-1] for e in given if e is not None), table.shape[1])
        images = torch.from_numpy(np.stack([np.zeros(width) if e is None else e for e in given])).float()
        if width != table.shape[1]:  # no class has an embedding
            table = torch.zeros(len(classes), width)
        known = torch.isfinite(images).all(1) & (images != 0).any(1)
        scores = torch.nn.functional.normalize(images, dim=1) @ table.T
        scores[:, ~(torch.isfinite(table).all(1) & (table != 0).any(1))] = -2.0  # below every cosine
        scores[~known] = torch.nan
        return zero_shot_tally(zero_shot_rows(scores, [s.responses for s, _ in pairs], classes=list(classes)))


class ZeroShotChance(Metric):
    """The accuracy of a class at random; predictions are not read."""

    protocol = Protocol(
        id="zero-shot/chance@1",
        title="Chance level of zero-shot/top1@1",
        tasks=("retrieval",),
        sentence="What random embeddings reach under zero-shot/top1@1, one over the number of classes, x100.",
        fields=(),
    )

    def tally(self, pairs: Pairs) -> Tally:
        """One row an image; the numbers are of the whole, so that they have no interval."""
        share = 1 / len({sample.responses for sample, _ in pairs})
        return whole({"top1": share, "class_top1": share}, n=len(pairs))


def class_embeddings(texts: Tensor) -> Tensor:
    """Embeddings (C, P, D) of P prompts for each of C classes -> (C, D) unit vectors.

    The mean over prompts is taken first and made a unit vector then, as GeoRSCLIP does it (RS5M's inference_tool.py);
    open_clip's recipe makes every prompt a unit vector before.
    """
    return torch.nn.functional.normalize(texts.mean(dim=1), dim=-1)


def zero_shot_rows(scores: Tensor, labels: Sequence[Any], *, classes: Sequence[Any]) -> list[list[Any]]:
    """[class, hit, failed] of each image, from its scores (n, C) of the classes.

    Raises:
        ValueError: another number of classes or labels, or a label that is no class.
    """
    if scores.shape != (len(labels), len(classes)) or not set(labels) <= set(classes):
        raise ValueError(f"scores {tuple(scores.shape)} for {len(labels)} labels of {len(classes)} classes")
    rows = []
    for row, label in zip(scores.double(), labels, strict=True):
        valid = bool(torch.isfinite(row).all())
        best = row == row.max()
        hit = float(best[classes.index(label)]) / int(best.sum()) if valid else 0.0
        rows.append([label, hit, int(not valid)])
    return rows


def zero_shot_tally(rows: Sequence[list[Any]]) -> Tally:
    """Numbers of `ZeroShot` from rows of `zero_shot_rows`."""
    classes = sorted({row[0] for row in rows})
    table = np.zeros((len(rows), 3 + 2 * len(classes)))
    for i, (label, hit, failed) in enumerate(rows):
        place = 3 + 2 * classes.index(label)
        table[i, :3], table[i, place : place + 2] = (1, hit, failed), (1, hit)

    def finish(sums: np.ndarray) -> dict[str, np.ndarray]:
        own = ratio(sums[..., 4::2], sums[..., 3::2])
        return {
            "top1": ratio(sums[..., 1], sums[..., 0]),
            "class_top1": np.nanmean(own, axis=-1),
            "n": sums[..., 0],
            "parse_failures": sums[..., 2],
        }

    return Tally(rows=table, finish=finish)
