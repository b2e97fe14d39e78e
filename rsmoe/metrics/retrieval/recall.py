"""Image-text retrieval in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
import torch
from torch import Tensor

from rsmoe.errors import UserError
from rsmoe.metrics.metric import Metric, Pairs, Protocol
from rsmoe.metrics.tally import Tally, ratio

RANKS = (1, 5, 10)

_BLOCK = 1024


class Retrieval(Metric):
    """R@1, R@5, R@10 from image to text (``i2t_r1`` ...) and from text to image (``t2i_r1`` ...), and their mean.

    By default every caption is a candidate, duplicates included ("all captions", as RemoteCLIP and RS5M rank). With
    ``unique`` equal captions are one candidate that is right for each of its images, and one query for which each of
    them is right ("unique captions", as SkyScript ranks); its embedding is that of the first of them. The
    two are not comparable.

    A query is a hit at K when any of its own candidates is among the K most similar by cosine. **Ties are broken at
    random, in expectation**: a model that gives every pair the same score gets the chance level, not 100 % nor 0 %.
    Embeddings that are zero, not finite or not there stand for "no answer": they hit nothing and are counted in
    ``parse_failures``.

    Args:
        unique: rank unique captions.
    """

    hidden = frozenset(("n_texts",))

    def __init__(self, *, unique: bool = False) -> None:
        self.unique = unique
        self.chance = f"retrieval/chance{'-unique' if unique else ''}@1"
        self.protocol = Protocol(
            id=f"retrieval/{'unique' if unique else 'all'}-captions@1",
            title=f"Image-text retrieval, {'unique' if unique else 'all'} captions",
            tasks=("retrieval",),
            sentence="As retrieval/all-captions@1, but equal captions are one candidate and one query, right for each "
            "of their images."
            if unique
            else "R@1, R@5, R@10 from image to text and from text to image and their mean mr, x100. All captions are "
            "candidates, duplicates too; one own candidate among the K best is a hit; ties count in expectation.",
            source="SkyScript, arXiv 2312.12856, cross_modal_retrieval.ipynb"
            if unique
            else "RemoteCLIP, arXiv 2306.11029",
            fields=("image_embedding", "text_embeddings"),
        )

    def tally(self, pairs: Pairs) -> Tally:
        """One row an image, with its captions (a shared one with the first of its images)."""
        images, texts, owners = stacked(pairs)
        captions = [caption for sample, _ in pairs for caption in sample.responses]
        return recall_tally(images, texts, owners, captions=captions if self.unique else None)


def stacked(pairs: Pairs) -> tuple[Tensor, Tensor, list[int]]:
    """Embeddings (n, D) float of images, (m, D) of all their texts, and the place of the image of each text.

    Zeros stand where a prediction has none.

    Raises:
        UserError: another number of text embeddings than of references.
    """
    given = (e for _, p in pairs for e in (p.image_embedding, p.text_embeddings) if e is not None)
    width = next((e.shape[-1] for e in given), 1)
    images, texts, owners = [], [], []
    for place, (sample, prediction) in enumerate(pairs):
        image, own = prediction.image_embedding, prediction.text_embeddings
        images.append(np.zeros(width) if image is None else image)
        texts.append(np.zeros((len(sample.responses), width)) if own is None else own)
        if len(texts[-1]) != len(sample.responses):
            raise UserError(f"{len(texts[-1])} text embeddings for {len(sample.responses)} references of {sample.id!r}")
        owners += [place] * len(texts[-1])
    return torch.from_numpy(np.stack(images)).float(), torch.from_numpy(np.concatenate(texts)).float(), owners


def recall_tally(
    images: Tensor, texts: Tensor, owners: Sequence[int], *, captions: Sequence[str] | None = None
) -> Tally:
    """Recalls of images and of their texts.

    Args:
        images: (n, D) float.
        texts: (m, D) float.
        owners: the image of each text; every image has one at least.
        captions: m texts in words, of which equal ones are one; None ranks all texts.

    Returns:
        i2t_r1 ... t2i_r10, mr (0 to 1), n images, n_texts, parse_failures.

    Raises:
        ValueError: no image, another number of texts, or an image without a text.
    """
    if not len(images) or len(owners) != len(texts) or set(owners) != set(range(len(images))):
        raise ValueError(
            f"{len(images)} images, {len(texts)} texts for {len(owners)} owners; need one image or more, and at least "
            "one text for every image"
        )
    image_of_text = torch.tensor(owners)
    text_of_text = torch.arange(len(texts))
    if captions is not None:
        slots = {caption: slot for slot, caption in enumerate(dict.fromkeys(captions))}
        text_of_text = torch.tensor([slots[caption] for caption in captions])
        firsts = {slot: place for place, slot in reversed(list(enumerate(text_of_text.tolist())))}
        texts = texts[[firsts[slot] for slot in slots.values()]]
    pairs = torch.stack([image_of_text, text_of_text])
    i2t, t2i = _hits(images, texts, pairs), _hits(texts, images, pairs.flip(0))
    owner = torch.full((len(texts),), len(images))
    owner.scatter_reduce_(0, text_of_text, image_of_text, reduce="amin")
    table = np.zeros((len(images), 3 + 2 * len(RANKS)))  # images, texts, failed; hits from images, hits from texts
    table[:, 0] = 1
    table[:, 3 : 3 + len(RANKS)] = i2t
    columns = np.column_stack([np.ones(len(texts)), (~_valid(texts)).numpy(), t2i])
    np.add.at(table, (owner.numpy()[:, None], [1, 2, *range(3 + len(RANKS), table.shape[1])]), columns)
    table[:, 2] += (~_valid(images)).numpy()
    return Tally(rows=table, finish=_finish)


def _finish(sums: np.ndarray) -> dict[str, np.ndarray]:
    n, n_texts, failed = np.moveaxis(sums[..., :3], -1, 0)
    recalls = {f"i2t_r{k}": ratio(sums[..., 3 + i], n) for i, k in enumerate(RANKS)}
    recalls |= {f"t2i_r{k}": ratio(sums[..., 3 + len(RANKS) + i], n_texts) for i, k in enumerate(RANKS)}
    mean = np.mean(list(recalls.values()), axis=0)
    return {**recalls, "mr": mean, "n": n, "n_texts": n_texts, "parse_failures": failed}


def _hits(queries: Tensor, items: Tensor, pairs: Tensor) -> np.ndarray:
    """(q, D) and (m, D), and the (2, p) pairs that belong together -> (q, 3) expected hits at each of `RANKS`."""
    queries, items = (torch.nn.functional.normalize(part.double(), dim=1) for part in (queries, items))
    dead = ~_valid(items)
    hits = np.zeros((len(queries), len(RANKS)))
    for start in range(0, len(queries), _BLOCK):
        query = queries[start : start + _BLOCK]
        # equal items are tied whatever their place: a product of matrices rounds by place, in the 16th digit
        scores = torch.nan_to_num(query @ items.T).round(decimals=9).masked_fill(dead, -torch.inf)  # (q, m)
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
                hits[i] = [expected_hit(k, *row[:3]) for k in RANKS]
    return hits


def expected_hit(k: int, above: int, tied: int, own: int) -> float:
    """Probability that one of ``own`` among ``tied`` equal items, behind ``above`` better ones, is in the first k."""
    places = min(k - above, tied)
    return 1.0 - comb(tied - own, places) / comb(tied, places) if places > 0 else 0.0


def _valid(embeddings: Tensor) -> Tensor:
    return torch.isfinite(embeddings).all(1) & (embeddings != 0).any(1)
