"""Facts of a bi-temporal pair, whatever they come from: counts and cells of change, masks, captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rsmoe.data.change.answers import CHANGE_CLASSES
from rsmoe.data.change.cells import CELLS, cell_shares, cells_of
from rsmoe.data.rasters.class_map_sources import ClassMask
from rsmoe.data.rasters.components import label_components, without_specks
from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PairFacts:
    """Ground truth of one pair of dates; made by `facts_of_masks`, `facts_of_sample` or `rsmoe.scenes.pair_store`."""

    id: str
    images: tuple[Path | np.ndarray | Lazy, ...]
    """Before and after."""
    source: str
    """Name of the dataset."""
    counts: Mapping[str, int]
    """How many things of each class have changed: singular noun -> number, in the order of the answers."""
    cells: Mapping[str, tuple[str, ...]]
    """Where: the same nouns -> names of `CELLS`."""
    shares: tuple[float, ...]
    """(9,) share of everything that changed in each of `CELLS`, classes that are not counted included."""
    fraction: float
    """Share of the picture that has changed; 0 for an unchanged pair."""
    captions: tuple[str, ...] = ()
    """What people, or a generator, wrote; empty lets templates write."""
    mask: np.ndarray | Lazy | None = None
    """(H, W) bool of everything that changed."""
    class_map: np.ndarray | Lazy | None = None
    """(H, W) uint8 index into ``classes``."""
    classes: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Goes to every sample."""

    def __post_init__(self) -> None:
        if len(self.images) != 2 or len(self.shares) != len(CELLS) or not self.counts:
            raise ValueError(f"facts of {self.id!r} need two images, nine shares and a class")
        if list(self.counts) != list(self.cells):
            raise ValueError(f"facts of {self.id!r}: counts of {list(self.counts)}, but cells of {list(self.cells)}")

    @property
    def changed(self) -> bool:
        """Whether anything has."""
        return self.fraction > 0


def class_values(classes: Sequence[str], noun: str) -> tuple[int, ...]:
    """Values of a class map of changes that are of ``noun``: "building", or "new building" and "lost building"."""
    return tuple(i for i, name in enumerate(classes) if i and name in (noun, f"new {noun}", f"lost {noun}"))


def facts_of_masks(
    masks: Mapping[str, np.ndarray],
    *,
    id: str,
    images: Sequence[Path | np.ndarray | Lazy],
    source: str,
    anything: np.ndarray | None = None,
    counts: Mapping[str, int] | None = None,
    mask: np.ndarray | Lazy | None = None,
    min_pixels: int = 1,
    **more: Any,
) -> PairFacts:
    """Facts of a pair whose changes are known pixel by pixel.

    A class counts its connected components (8 neighbours), which is ChangeChat's rule (contours of LEVIR-MCI's masks):
    two houses that touch are one, a road that a mask interrupts is two.

    Args:
        masks: singular noun -> (H, W) mask of what changed of it, all of one size.
        anything: (H, W) mask of all changes, for classes that are not among ``masks``; None means their union.
        counts: the true counts, where they are known otherwise.
        mask: all changes, for `PairFacts.mask`; None means those that are found here.
        min_pixels: smaller components are specks: they are no change at all, neither counted nor placed.
        more: further fields of `PairFacts`.

    Raises:
        UserError: for no mask, or masks that are not of one size.
    """
    whole = anything if anything is not None else np.zeros(np.shape(next(iter(masks.values()), ())), dtype=bool)
    sizes = {np.shape(mask) for mask in (*masks.values(), whole)}
    if not masks or len(sizes) != 1 or len(sizes.pop()) != 2 or not whole.size:
        shown = {noun: np.shape(mask) for noun, mask in masks.items()}
        raise UserError(f"{source}, pair {id!r}: expected (H, W) masks of one size, found {shown or 'none'}")
    found = {noun: label_components(mask, min_pixels=min_pixels) for noun, mask in masks.items()}
    kept = {noun: labels > 0 for noun, (labels, _) in found.items()}
    union = np.logical_or.reduce([without_specks(whole, min_pixels), *kept.values()])
    if counts is None:
        counts = {noun: number for noun, (_, number) in found.items()}
    return PairFacts(
        id=id,
        images=tuple(images),
        source=source,
        counts={noun: counts.get(noun, 0) for noun in masks},
        cells={noun: cells_of(mask) for noun, mask in kept.items()},
        shares=tuple(cell_shares(union).tolist()),
        fraction=float(union.mean()),
        mask=union if mask is None else mask,
        **more,
    )


def facts_of_sample(sample: Sample, *, nouns: Sequence[str] = CHANGE_CLASSES, min_pixels: int = 1) -> PairFacts:
    """Facts of a sample that a reader of pairs with masks gave (LEVIR-MCI, LEVIR-CD ...); its mask is read now.

    Args:
        sample: of two images. A ``class_map`` gives the classes of ``nouns``, see `class_values`; where its classes are
            transitions ("ground to building"), a noun stands for every one from it or to it. Its first class is "no
            change", any other one is a change too. Without a class map ``mask`` is the change of ``nouns[0]``, the only
            one that there may be then.
        nouns: what is counted and placed, in the order of the answers.

    Captions are taken from a "change_caption" sample.

    Raises:
        UserError: for a sample of another number of images, without masks, or without a class that ``nouns`` names.
    """
    place = f"{sample.source}, {sample.id!r}"
    if len(sample.images) != 2:
        raise UserError(f"{place}: change instructions are about two images, this sample has {len(sample.images)}")
    lazy: Lazy | None = sample.mask if not isinstance(sample.mask, np.ndarray) else None
    if sample.class_map is not None:
        parts = [name.split(" to ") for name in sample.classes]
        if any(len(part) > 1 for part in parts):
            values_of = {noun: tuple(i for i, part in enumerate(parts) if noun in part) for noun in nouns}
        else:
            values_of = {noun: class_values(sample.classes, noun) for noun in nouns}
        if absent := [noun for noun, found in values_of.items() if not found]:
            known = dict.fromkeys(word for part in parts for word in part)
            raise UserError(f"{place}: no class {', '.join(absent)} among {', '.join(known)}. Give other nouns")
        values = read_array(sample.class_map)
        masks = {noun: np.isin(values, found) for noun, found in values_of.items()}
        changes = tuple(range(1, len(sample.classes)))
        anything = np.isin(values, changes)
        if not isinstance(sample.class_map, np.ndarray):
            lazy = ClassMask(sample.class_map, changes)
    elif sample.mask is not None and len(nouns) == 1:
        anything = read_array(sample.mask).astype(bool)
        masks = {nouns[0]: anything}
    else:
        found = "no mask" if sample.mask is None else "one mask"
        raise UserError(f"{place} has {found}, which cannot tell {' from '.join(nouns)}. Give one noun and a mask")
    return facts_of_masks(
        masks,
        id=sample.id,
        images=sample.images,
        source=sample.source,
        anything=anything,
        min_pixels=min_pixels,
        captions=sample.responses if sample.task == "change_caption" else (),
        mask=lazy if min_pixels <= 1 else None,  # what stays on disk costs no memory
        class_map=sample.class_map,
        classes=sample.classes,
        meta=sample.meta,
    )
