"""Pairs for a stress study: tiles, unchanged pairs where a data set has none, and disturbed second dates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from rsmoe.data.change.facts import PairFacts, facts_of_masks, facts_of_sample
from rsmoe.data.change.pairs import ChangePairs
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.sample import Sample
from rsmoe.data.sampling.spread import spread
from rsmoe.data.transforms.perturb import Perturbation
from rsmoe.errors import UserError

STILL_SEEN = 0.5
"""A changed pair is asked about while this share of its changed pixels is in the disturbed second date."""


def stress_pairs(dataset: Dataset[Sample], *, count: int, tile: int | None = None) -> list[PairFacts]:
    """Up to ``count`` pairs with decoded pictures and maps, evenly spread; more where unchanged ones are added.

    Unchanged pairs of a data set are what false alarms are counted on. Where there are none, each first date beside
    itself is one: whatever is done to the copy, nothing has changed.

    Args:
        dataset: pairs with masks: `ChangePairs`, or a reader of two images and a mask or class map a sample.
        count: at least 1.
        tile: side in pixels of the tiles that pairs are cut into, without overlap; None keeps them whole.

    Raises:
        UserError: no pair with a mask, a pair whose dates differ in size, or one that is smaller than a tile.
    """
    if count < 1 or (tile is not None and tile < 8):
        raise UserError(f"pairs={count}, tile={tile}: expected one pair or more, and tiles of 8 px or more")
    whole = len(dataset) // (dataset.per_pair if isinstance(dataset, ChangePairs) else 1)  # type: ignore[arg-type]
    if not whole:
        raise UserError("no pair in this split: give another split=")
    found: list[PairFacts] = []
    for number in range(whole) if tile else spread(whole, count):
        facts = dataset.facts(number) if isinstance(dataset, ChangePairs) else _facts(dataset[number])
        found += _cut(_decoded(facts), tile) if tile else [_decoded(facts)]
    pairs = [found[i] for i in spread(len(found), count)]
    if all(pair.changed for pair in pairs):
        pairs += [_beside_itself(pair) for pair in pairs]
    return pairs


def disturbed(facts: PairFacts, perturbation: Perturbation, strength: float) -> PairFacts | None:
    """The pair with its second date disturbed; None for a changed pair whose change is no longer in the picture.

    What the moved second date does not show is unknown in the class map: it is not scored.
    """
    before, after = facts.images
    assert isinstance(after, np.ndarray) and isinstance(facts.class_map, np.ndarray)
    picture, known = perturbation(after, strength=strength, seed=facts.id)
    changed = facts.class_map > 0
    if changed.any() and (changed & known).sum() < STILL_SEEN * changed.sum():
        return None
    return replace(facts, images=(before, picture), class_map=np.where(known, facts.class_map, np.uint8(UNKNOWN)))


def _facts(sample: Sample) -> PairFacts:
    return facts_of_sample(sample, nouns=sample.classes[1:] or ("change",))


def _decoded(facts: PairFacts) -> PairFacts:
    before, after = (load_image(image) for image in facts.images)
    if facts.class_map is None and facts.mask is None:
        raise UserError(f"{facts.source}, pair {facts.id!r} has no mask of what changed")
    class_map = read_array(facts.class_map if facts.class_map is not None else facts.mask).astype(np.uint8)  # type: ignore[arg-type]
    if before.shape != after.shape or class_map.shape != before.shape[:2]:
        shapes = f"{before.shape}, {after.shape}, map {class_map.shape}"
        raise UserError(f"{facts.source}, pair {facts.id!r}: dates and map of different sizes, {shapes}")
    classes = facts.classes or ("no change", "change")
    return replace(facts, images=(before, after), class_map=class_map, classes=classes, mask=None)


def _cut(facts: PairFacts, tile: int) -> list[PairFacts]:
    """Tiles of a pair, row by row, without captions, which are about the whole; what is less than a tile is left."""
    before, after, class_map = (np.asarray(x) for x in (*facts.images, facts.class_map))
    height, width = class_map.shape
    if min(height, width) < tile:
        raise UserError(f"{facts.source}, pair {facts.id!r}: {width} x {height} px is smaller than tile={tile}")
    corners = [(y, x) for y in range(0, height - tile + 1, tile) for x in range(0, width - tile + 1, tile)]
    found = []
    for y, x in corners:
        part = np.s_[y : y + tile, x : x + tile]
        own: Any = class_map[part]
        made = facts_of_masks(
            {noun: own == value for value, noun in enumerate(facts.classes) if value},
            id=f"{facts.id}@{y},{x}",
            images=(before[part], after[part]),
            source=facts.source,
            class_map=own,
            classes=facts.classes,
            meta=facts.meta,
        )
        found.append(replace(made, mask=None))
    return found


def _beside_itself(facts: PairFacts) -> PairFacts:
    return replace(
        facts,
        id=f"{facts.id}:itself",
        images=(facts.images[0], facts.images[0]),
        counts=dict.fromkeys(facts.counts, 0),
        cells={noun: () for noun in facts.cells},
        shares=(0.0,) * 9,
        fraction=0.0,
        captions=(),
        class_map=np.zeros_like(facts.class_map),
    )
