"""Image-text retrieval in both directions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rsmoe.metrics.row_metric import gather_rows
from rsmoe.metrics.tally import Tally, ratio

RANKS = (1, 5, 10)

_BLOCK = 1024


class Retrieval(Metric):
    """R@1, R@5, R@10 from image to text (``i2t_r1`` ...) and from text to image (``t2i_r1`` ...), and their mean.

    By default every caption is a candidate, duplicates included ("all captions", as RemoteCLIP and RS5M rank). With
    ``unique`` equal captions are one candidate that is right for each of its images, and one query for which each of
    them is right ("unique captions", as SkyScript ranks); its embedding is that of one of them. The
    two are not comparable.

    A query is a hit at K when any of its own candidates is among the K most similar by cosine. **Ties are broken at
    random, in expectation**: a model that gives every pair the same score gets the chance level, not 100 % nor 0 %.

    Each image is known by its id, so one that several ranks have seen (a sampler that pads) counts once. Embeddings
    that are zero or not finite stand for "no answer": they hit nothing and are counted in ``parse_failures``.

    Args:
        unique: rank unique captions; `update` then needs them in words.
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    images: list[Tensor]
    image_ids: list[Tensor]
    texts: list[Tensor]
    text_ids: list[Tensor]

    def __init__(self, *, unique: bool = False, **kwargs: Any) -> None:
        super().__init__(dist_sync_fn=kwargs.pop("dist_sync_fn", gather_rows), **kwargs)
        self.unique = unique
        for name in ("images", "image_ids", "texts", "text_ids"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        images: Tensor,
        image_ids: Sequence[str],
        texts: Tensor,
        owners: Sequence[str],
        captions: Sequence[str] | None = None,
    ) -> None:
        """Adds images (n, D) float with their ids, and texts (m, D) float, each with the id of the image it describes.

        All texts of an image go into the same update as the image. ``captions`` are the m texts in words.
        """
        if len(images) != len(image_ids) or len(texts) != len(owners) or set(owners) != set(image_ids):
            raise ValueError(
                f"{len(images)} images for {len(image_ids)} ids, {len(texts)} texts for {len(owners)} owners; "
                "need one id each, and at least one text for every image"
            )
        if self.unique and (captions is None or len(captions) != len(texts)):
            raise ValueError("unique captions are told apart by their words: give one caption for every text")
        words = _hashes(captions) if self.unique and captions is not None else torch.zeros(len(texts), 1).long()
        self.images.append(images.detach().float())
        self.image_ids.append(_hashes(image_ids).to(images.device))
        self.texts.append(texts.detach().float())
        self.text_ids.append(torch.cat([_hashes(owners), _occurrence(owners), words], dim=1).to(texts.device))

    def compute(self) -> dict[str, float]:
        """The six recalls and ``mr`` on the scale 0 to 1, ``n`` images, ``n_texts``, ``parse_failures``."""
        return self.tally().values()

    def tally(self) -> Tally:
        """A row per image, with its captions (a shared one with the first of its images, in the order of ids).

        Raises:
            ValueError: no image was added.
        """
        if not len(self.images):  # a list, or one tensor after a sync
            raise ValueError("no image was added before compute()")
        images, image_ids = _distinct(dim_zero_cat(self.images), dim_zero_cat(self.image_ids))
        texts, text_ids = _distinct(dim_zero_cat(self.texts), dim_zero_cat(self.text_ids))
        image_of_text = torch.searchsorted(image_ids[:, 0].contiguous(), text_ids[:, 0].contiguous())
        if self.unique:
            texts, caption = _distinct(texts, text_ids[:, 2:])
            text_of_text = torch.searchsorted(caption[:, 0].contiguous(), text_ids[:, 2].contiguous())
        else:
            text_of_text = torch.arange(len(texts), device=texts.device)
        pairs = torch.stack([image_of_text, text_of_text])
        i2t, t2i = _hits(images, texts, pairs), _hits(texts, images, pairs.flip(0))
        owner = torch.full((len(texts),), len(images), device=texts.device)
        owner.scatter_reduce_(0, text_of_text, image_of_text, reduce="amin")
        table = np.zeros((len(images), 3 + 2 * len(RANKS)))  # images, texts, failed; hits from images, hits from texts
        table[:, 0] = 1
        table[:, 3 : 3 + len(RANKS)] = i2t
        columns = np.column_stack([np.ones(len(texts)), (~_valid(texts)).cpu().numpy(), t2i])
        np.add.at(table, (owner.cpu().numpy()[:, None], [1, 2, *range(3 + len(RANKS), table.shape[1])]), columns)
        table[:, 2] += (~_valid(images)).cpu().numpy()
        return Tally(rows=table, finish=_finish)


def _finish(sums: np.ndarray) -> dict[str, np.ndarray]:
    n, n_texts, failed = np.moveaxis(sums[..., :3], -1, 0)
    recalls = {f"i2t_r{k}": ratio(sums[..., 3 + i], n) for i, k in enumerate(RANKS)}
    recalls |= {f"t2i_r{k}": ratio(sums[..., 3 + len(RANKS) + i], n_texts) for i, k in enumerate(RANKS)}
    mean = np.mean(list(recalls.values()), axis=0)
    return {**recalls, "mr": mean, "n": n, "n_texts": n_texts, "parse_failures": failed}


def chance_recalls(texts_per_image: Sequence[int], images_per_text: Sequence[int] | None = None) -> dict[str, float]:
    """The same keys as `Retrieval.compute` for random embeddings: the level that a result must be compared with.

    Args:
        texts_per_image: number of captions of each image; of unique captions, how many of them are right for it.
        images_per_text: number of images that each unique caption is right for; None where every image has its own.
    """
    owners = [1] * sum(texts_per_image) if images_per_text is None else images_per_text
    n, m = len(texts_per_image), len(owners)
    result = {f"i2t_r{k}": sum(_expected_hit(k, 0, m, own) for own in texts_per_image) / n for k in RANKS}
    result |= {f"t2i_r{k}": sum(_expected_hit(k, 0, n, own) for own in owners) / m for k in RANKS}
    return {**result, "mr": sum(result.values()) / len(result)}


def _hits(queries: Tensor, items: Tensor, pairs: Tensor) -> np.ndarray:
    """(q, D) and (m, D), and the (2, p) pairs that belong together -> (q, 3) expected hits at each of `RANKS`."""
    queries, items = torch.nn.functional.normalize(queries, dim=1), torch.nn.functional.normalize(items, dim=1)
    dead = ~_valid(items)
    hits = np.zeros((len(queries), len(RANKS)))
    for start in range(0, len(queries), _BLOCK):
        query = queries[start : start + _BLOCK]
        scores = torch.nan_to_num(query @ items.T).masked_fill(dead, -torch.inf)  # (q, m)
        inside = (pairs[0] >= start) & (pairs[0] < start + len(query))
        own = torch.zeros_like(scores, dtype=torch.bool)
        own[pairs[0][inside] - start, pairs[1][inside]] = True
        best = scores.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
        above = (scores > best).sum(1).tolist()
        tied = (scores == best).sum(1).tolist()
        own_tied = ((scores == best) & own).sum(1).tolist()
        answered = (_valid(query) & torch.isfinite(best[:, 0])).tolist()
        for i, row in enumerate(zip(above, tied, own_tied, answered, strict=True), start=start):
            if row[3]:
                hits[i] = [_expected_hit(k, *row[:3]) for k in RANKS]
    return hits


def _expected_hit(k: int, above: int, tied: int, own: int) -> float:
    """Probability that one of ``own`` among ``tied`` equal items, behind ``above`` better ones, is in the first k."""
    places = min(k - above, tied)
    return 1.0 - comb(tied - own, places) / comb(tied, places) if places > 0 else 0.0


def _valid(embeddings: Tensor) -> Tensor:
    return torch.isfinite(embeddings).all(1) & (embeddings != 0).any(1)


def _hashes(ids: Sequence[str]) -> Tensor:
    """(n, 1) int64: ids of any length as numbers that are the same in every process."""
    digests = (hashlib.blake2b(i.encode(), digest_size=8).digest() for i in ids)
    return torch.tensor([int.from_bytes(d, "little", signed=True) for d in digests], dtype=torch.long)[:, None]


def _occurrence(ids: Sequence[str]) -> Tensor:
    """(n, 1) int64: 0 for the first text of an image, 1 for its second ..."""
    seen: dict[str, int] = {}
    places = []
    for i in ids:
        places.append(seen.get(i, 0))
        seen[i] = places[-1] + 1
    return torch.tensor(places, dtype=torch.long)[:, None]


def _distinct(rows: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each key (n, k), in the order of the keys."""
    unique, inverse = torch.unique(keys, dim=0, return_inverse=True)
    first = torch.full((len(unique),), len(keys), dtype=torch.long, device=keys.device)
    first.scatter_reduce_(0, inverse, torch.arange(len(keys), device=keys.device), reduce="amin")
    return rows[first], unique
