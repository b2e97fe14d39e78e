"""The training sample that looks most like a test sample, and does not show the test picture itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

import torch
from torch import Tensor

from rsmoe.data.collate import Collate
from rsmoe.data.overlap.fingerprint import hash_of_pixels
from rsmoe.data.rasters.images import images_key, load_image
from rsmoe.data.sample import Sample
from rsmoe.model import RSMoE
from rsmoe.training.ranks import gathered, my_share

_BATCH = 64
"""Pictures, or pairs, that are encoded at once."""


def nearest_others(
    test: Sequence[Sample],
    train: Sequence[Sample],
    groups: Mapping[Hashable, Sequence[int]],
    keys: Callable[[Sample], Sequence[Hashable]],
    *,
    test_features: Tensor,
    train_features: Tensor,
) -> list[int | None]:
    """For each test sample the training sample of highest cosine, as its place; None where there is none.

    A training sample that shows a picture of the test sample, pixel for pixel, is passed over, whatever its id, file or
    question is: else a test picture that is also in the base would be answered with its own references. Near copies
    are not recognised here; `rsmoe.commands.overlap` finds them.

    Args:
        test, train: samples with pictures that can be read; of ``train`` only those are that are about to be chosen.
        groups: key -> places in ``train``.
        keys: the groups in which a test sample looks, one after the other until one has an answer.
        test_features, train_features: (n, D) of each sample.

    Raises:
        ValueError: another number of features than of samples.
    """
    if len(train_features) != len(train) or len(test_features) != len(test):
        raise ValueError(
            f"{len(train_features)} and {len(test_features)} feature rows for {len(train)} training samples "
            f"and {len(test)} test samples"
        )
    known = torch.nn.functional.normalize(train_features.float(), dim=1)
    asked = torch.nn.functional.normalize(test_features.float(), dim=1)
    shown = _Shown()
    found: list[int | None] = [None] * len(test)
    for level in range(max((len(keys(sample)) for sample in test), default=0)):
        rows_of: dict[Hashable, list[int]] = defaultdict(list)
        for row, sample in enumerate(test):
            if found[row] is None and len(own := keys(sample)) > level:
                rows_of[own[level]].append(row)
        for key, rows in rows_of.items():
            if places := groups.get(key):
                base = [train[place] for place in places]
                for row, cosine in zip(rows, asked[rows] @ known[list(places)].T, strict=True):
                    best = _first_other(test[row], base, cosine, shown)
                    found[row] = None if best is None else places[best]
    return found


def _first_other(sample: Sample, base: Sequence[Sample], cosine: Tensor, shown: _Shown) -> int | None:
    """The place of the highest cosine among samples that share no picture with this one."""
    while cosine[best := int(cosine.argmax())] > -torch.inf:
        if not shown(sample) & shown(base[best]):
            return best
        same = images_key(base[best])
        cosine[[i for i, other in enumerate(base) if images_key(other) == same]] = -torch.inf
    return None


class _Shown:
    """Sample -> hashes of the pixels of its pictures; each picture is read once."""

    def __init__(self) -> None:
        self._hashes: dict[Hashable, str] = {}

    def __call__(self, sample: Sample) -> frozenset[str]:
        names = images_key(sample)
        for name, image in zip(names, sample.images, strict=True):
            if name not in self._hashes:
                self._hashes[name] = hash_of_pixels(load_image(image))
        return frozenset(self._hashes[name] for name in names)


@torch.no_grad()
def image_features(model: RSMoE, collate: Collate, samples: Sequence[Sample], *, shared: bool = False) -> Tensor:
    """(n, D) mean of the visual memory; every distinct image, or pair, is encoded once.

    Args:
        collate: of evaluation, without augmentation.
        shared: True where every rank calls this with the same samples: each then encodes its part of the images.
    """
    model.eval()
    keys = [images_key(sample) for sample in samples]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    order = {key: n for n, key in enumerate(first)}
    pooled = []
    chosen = [samples[i] for i in first.values()]
    rank, world = my_share() if shared else (0, 1)
    for start in range(rank * _BATCH, len(chosen), world * _BATCH):
        batch = collate([(s, 0) for s in chosen[start : start + _BATCH]]).to(model.to_lm.weight.device)
        pooled.append(model.see(batch).memory.mean().float().cpu())
    return torch.cat(gathered(pooled) if shared else pooled)[[order[key] for key in keys]]
