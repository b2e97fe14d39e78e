"""Image-text retrieval in both directions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import comb
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rsmoe.metrics.rows import gather_rows

RANKS = (1, 5, 10)

_BLOCK = 1024


class Retrieval(Metric):
    """R@1, R@5, R@10 from image to text (``i2t_r1`` ...) and from text to image (``t2i_r1`` ...), and their mean.

    Every caption is a candidate, duplicates included ("all captions", as RemoteCLIP and RS5M rank). A query is a hit at
    K when any of its own candidates is among the K most similar by cosine. **Ties are broken at random, in
    expectation**: a model that gives every pair the same score gets the chance level, not 100 % nor 0 %.

    Each image is known by its id, so one that several ranks have seen (a sampler that pads) counts once. Embeddings
    that are zero or not finite stand for "no answer": they hit nothing and are counted in ``parse_failures``.

    Args:
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    images: list[Tensor]
    image_ids: list[Tensor]
    texts: list[Tensor]
    text_ids: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dist_sync_fn=kwargs.pop("dist_sync_fn", gather_rows), **kwargs)
        for name in ("images", "image_ids", "texts", "text_ids"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, images: Tensor, image_ids: Sequence[str], texts: Tensor, owners: Sequence[str]) -> None:
        """Adds images (n, D) float with their ids, and texts (m, D) float, each with the id of the image it describes.

        All texts of an image go into the same update as the image.
        """
        if len(images) != len(image_ids) or len(texts) != len(owners) or set(owners) != set(image_ids):
            raise ValueError(
                f"{len(images)} images for {len(image_ids)} ids, {len(texts)} texts for {len(owners)} owners; "
                "need one id each, and at least one text for every image"
            )
        self.images.append(images.detach().float())
        self.image_ids.append(_hashes(image_ids).to(images.device))
        self.texts.append(texts.detach().float())
        self.text_ids.append(torch.cat([_hashes(owners), _occurrence(owners)], dim=1).to(texts.device))

    def compute(self) -> dict[str, float]:
        """The six recalls and ``mr`` on the scale 0 to 1, ``n`` images, ``n_texts``, ``parse_failures``."""
        if not len(self.images):  # a list, or one tensor after a sync
            raise ValueError("no image was added before compute()")
        images, image_ids = _distinct(dim_zero_cat(self.images), dim_zero_cat(self.image_ids))
        texts, text_ids = _distinct(dim_zero_cat(self.texts), dim_zero_cat(self.text_ids))
        owners = text_ids[:, 0]
        failed = [~_valid(e) for e in (images, texts)]
        recalls = {
            **_recalls("i2t", images, image_ids[:, 0], texts, owners),
            **_recalls("t2i", texts, owners, images, image_ids[:, 0]),
        }
        return {
            **recalls,
            "mr": sum(recalls.values()) / len(recalls),
            "n": float(len(images)),
            "n_texts": float(len(texts)),
            "parse_failures": float(sum(int(f.sum()) for f in failed)),
        }


def chance_recalls(texts_per_image: Sequence[int]) -> dict[str, float]:
    """The same keys as `Retrieval.compute` for random embeddings: the level that a result must be compared with.

    Args:
        texts_per_image: number of captions of each image.
    """
    n, m = len(texts_per_image), sum(texts_per_image)
    result = {f"i2t_r{k}": sum(_expected_hit(k, 0, m, own) for own in texts_per_image) / n for k in RANKS}
    result |= {f"t2i_r{k}": _expected_hit(k, 0, n, 1) for k in RANKS}
    return {**result, "mr": sum(result.values()) / len(result)}


def _recalls(name: str, queries: Tensor, query_ids: Tensor, items: Tensor, item_ids: Tensor) -> dict[str, float]:
    """Expected share of queries with an own item among the first K."""
    queries, items = torch.nn.functional.normalize(queries, dim=1), torch.nn.functional.normalize(items, dim=1)
    dead = ~_valid(items)
    totals = dict.fromkeys(RANKS, 0.0)
    for start in range(0, len(queries), _BLOCK):
        query = queries[start : start + _BLOCK]
        scores = torch.nan_to_num(query @ items.T).masked_fill(dead, -torch.inf)  # (q, m)
        own = query_ids[start : start + _BLOCK, None] == item_ids  # (q, m)
        best = scores.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
        above = (scores > best).sum(1).tolist()
        tied = (scores == best).sum(1).tolist()
        own_tied = ((scores == best) & own).sum(1).tolist()
        answered = (_valid(query) & torch.isfinite(best[:, 0])).tolist()
        for row in zip(above, tied, own_tied, answered, strict=True):
            if row[3]:
                for k in RANKS:
                    totals[k] += _expected_hit(k, *row[:3])
    return {f"{name}_r{k}": total / len(queries) for k, total in totals.items()}


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
