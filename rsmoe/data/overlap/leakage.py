"""What test sets share with training sets: pictures and captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from rsmoe.data.overlap.fingerprint import Fingerprint, fingerprint
from rsmoe.data.overlap.near_duplicates import CANDIDATES, THRESHOLD, NearDuplicates, require_threshold
from rsmoe.data.rasters.images import images_key
from rsmoe.data.sample import Lazy, Sample
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError

KINDS = ("file", "pixels", "near")
"""The same bytes; other bytes that decode to the same pixels; a copy that was changed. From strong to weak."""

Datasets = Mapping[str, Dataset[Sample]]
Track = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture of a data set, however many samples are about it."""

    data: str
    """Name of the data set."""
    id: str
    """Of the first sample that shows it, with "[t]" where that has several dates."""
    source: Path | np.ndarray | Lazy
    fingerprint: Fingerprint


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A test picture and a training picture that gives it away."""

    test: Picture
    train: Picture
    kind: str
    """The strongest of `KINDS` that holds."""
    score: float = 1.0
    """Correlation of texture of a "near" pair."""
    symmetry: str = "same"
    """How the test picture is turned to lie on the training picture."""


@dataclass(frozen=True, kw_only=True)
class SharedCaptions:
    """Captions of one test set that are also written for some training picture, compared without case and full stop."""

    captions: int
    shared: int
    samples: int
    samples_all_shared: int
    """Samples without a caption of their own."""
    most_frequent: tuple[tuple[str, int], ...]
    """Up to 20 shared captions, with the number of times the test set has them."""


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """What test sets share with training sets."""

    pairs: tuple[Pair, ...]
    """By test picture, at most `CANDIDATES` of each kind; the strongest first."""
    pictures: dict[str, int]
    """Data set -> distinct files or arrays that were compared."""
    unreadable: dict[str, list[str]]
    """Data set -> "id: reason" of what could not be compared."""
    captions: dict[str, SharedCaptions]
    """By test set; only of those with captions."""

    def leaked(self, name: str) -> dict[str, list[str]]:
        """Kind -> ids of the pictures of one test set, each under its strongest kind."""
        strongest: dict[str, str] = {}
        for pair in self.pairs:
            if pair.test.data == name:
                strongest[pair.test.id] = min(strongest.get(pair.test.id, pair.kind), pair.kind, key=KINDS.index)
        return {kind: [i for i, k in strongest.items() if k == kind] for kind in KINDS}


def find_leakage(
    train: Datasets, test: Datasets, *, threshold: float = THRESHOLD, track: Track = lambda items, _: items
) -> Leakage:
    """Compares every picture and caption of ``test`` with all of ``train``.

    Args:
        train, test: data sets by the name that the report shall use.
        threshold: of `NearDuplicates`.
        track: wraps the loops over ``(items, what is done)``, for a progress bar.

    Raises:
        UserError: a name on both sides, nothing to compare, or a threshold out of range.
    """
    require_threshold(threshold)  # not after hours of reading
    if both := sorted(set(train) & set(test)):
        raise UserError(f"{', '.join(both)} is train and test at once: all of it would be shared. Name another split")
    unreadable: dict[str, list[str]] = {}
    theirs, ours = (
        [p for name, data in side.items() for p in _pictures(name, data, unreadable, track)] for side in (train, test)
    )
    if not theirs or not ours:
        raise UserError(f"nothing to compare: {len(theirs)} readable pictures in train, {len(ours)} in test")
    pairs = _exact(theirs, ours)
    known = {(id(pair.test), id(pair.train)) for pair in pairs}
    finder = NearDuplicates([p.fingerprint.thumbnail for p in theirs], threshold=threshold)
    for match in finder.find([p.fingerprint.thumbnail for p in ours], track=lambda blocks: track(blocks, "comparing")):
        mine, other = ours[match.test], theirs[match.train]
        if (id(mine), id(other)) not in known:
            pairs.append(Pair(test=mine, train=other, kind="near", score=match.score, symmetry=match.symmetry))
    order = {id(picture): place for place, picture in enumerate(ours)}
    written = {text for data in train.values() for sample in _samples(data) for text in _captions(sample)}
    return Leakage(
        pairs=tuple(sorted(pairs, key=lambda p: (order[id(p.test)], KINDS.index(p.kind), -p.score))),
        pictures=dict(Counter(p.data for p in [*theirs, *ours])),
        unreadable=unreadable,
        captions={name: shared for name, data in test.items() if (shared := _shared(data, written)).captions},
    )


def _samples(data: Dataset[Sample]) -> Iterable[Sample]:
    return (data[i] for i in range(len(data)))  # type: ignore[arg-type]


def _pictures(name: str, data: Dataset[Sample], unreadable: dict[str, list[str]], track: Track) -> list[Picture]:
    """Every picture of a data set once; one that cannot be read is noted, for it must not hide the others."""
    sources: dict[Hashable, tuple[str, Path | np.ndarray | Lazy]] = {}
    for sample in _samples(data):
        for date, (key, source) in enumerate(zip(images_key(sample), sample.images, strict=True)):
            sources.setdefault(key, (sample.id if len(sample.images) == 1 else f"{sample.id}[{date}]", source))
    found = []
    for place, source in track(list(sources.values()), f"reading {name}"):
        try:
            found.append(Picture(data=name, id=place, source=source, fingerprint=fingerprint(source)))
        except UserError as error:
            unreadable.setdefault(name, []).append(f"{place}: {error}")
    return found


def _exact(train: list[Picture], test: list[Picture]) -> list[Pair]:
    by_pixels: dict[str, list[Picture]] = {}
    for picture in train:
        by_pixels.setdefault(picture.fingerprint.pixels, []).append(picture)
    pairs = []
    for mine in test:
        for other in by_pixels.get(mine.fingerprint.pixels, [])[:CANDIDATES]:
            same_file = mine.fingerprint.file != "" and mine.fingerprint.file == other.fingerprint.file
            pairs.append(Pair(test=mine, train=other, kind="file" if same_file else "pixels"))
    return pairs


def _captions(sample: Sample) -> list[str]:
    task = find_task(sample.task)
    if task.closed or task.answer != "text":  # such answers are the same words by nature: "yes", "2"
        return []
    return [" ".join(text.lower().split()).rstrip(" .") for text in sample.responses]


def _shared(data: Dataset[Sample], written: set[str]) -> SharedCaptions:
    texts = [captions for sample in _samples(data) if (captions := _captions(sample))]
    shared = Counter(text for captions in texts for text in captions if text in written)
    return SharedCaptions(
        captions=sum(map(len, texts)),
        shared=shared.total(),
        samples=len(texts),
        samples_all_shared=sum(written.issuperset(captions) for captions in texts),
        most_frequent=tuple(shared.most_common(20)),
    )
