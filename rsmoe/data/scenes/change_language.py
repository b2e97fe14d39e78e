"""Change captions in LEVIR-CC's register, and ChangeChat's questions, for a pair of generated scenes.

LEVIR-CC: https://github.com/Chen-Yang-Liu/RSICC ; ChangeChat-105k: DeltaVLM, arXiv 2507.22346.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from rsmoe.data.scenes.phrases import (
    CELLS,
    COVER_NAMES,
    PLACES,
    be,
    cell_at,
    counted,
    loosely_counted,
    plural,
)
from rsmoe.data.scenes.scene import LAND_COVER, Change, ScenePair

NO_CHANGE = (
    "the scene is the same as before",
    "there is no difference",
    "the two scenes seem identical",
    "no change has occurred",
    "almost nothing has changed",
)
"""The five captions that LEVIR-CC gives to every unchanged pair."""

_MORE_NO_CHANGE = (
    "nothing new is built and nothing is removed",
    "there is no change between the two images",
    "the place looks the same in both images",
    "no building has appeared or disappeared",
    "the ground is the same on both dates",
)
"""Our own wordings; cars and ships may come and go, so none says that every object stays."""

CLASSES = {1: "building", 2: "road", 3: "water", 4: "vegetation", 5: "object"}
"""Values of `ScenePair.change_mask`."""

PRESENCE = "Please judge whether these two images have changed. Please answer yes or no."
COUNT = "Please determine how many roads and buildings have changed?"
LOCATION = "Please indicate where the {noun} changes are, using a 3x3 grid."

_NATURE = {
    "flooded": ("the water has risen", "the land is flooded", "a flood covers the ground", "water spreads out"),
    "cleared": (
        "some trees are cut down",
        "some trees are removed",
        "trees disappear",
        "a part of the forest is cleared",
    ),
    "planted": ("some trees are planted", "new trees appear", "more trees grow"),
}
_BUILT = ("built", "constructed")
_GONE = ("removed", "demolished")


@dataclass(frozen=True, kw_only=True)
class ChangeQuestion:
    """A question on a pair of images."""

    text: str
    answer: str
    kind: str
    """ "change_presence" | "change_count" | "change_location"."""


def change_captions(pair: ScenePair, rng: random.Random) -> tuple[str, ...]:
    """Five different captions, lower case, with a separate full stop."""
    if not pair.changes:
        plain = rng.sample(NO_CHANGE, 3) + rng.sample(_MORE_NO_CHANGE, 2)
        return tuple(f"{text} ." for text in plain)
    written: list[str] = []
    for attempt in range(60):
        text = _caption(pair, rng)
        if text not in written or attempt > 50:
            written.append(text)
        if len(written) == 5:
            break
    return tuple(f"{text} ." for text in written)


def change_counts(pair: ScenePair) -> dict[str, int]:
    """Number of changes of each of `CLASSES` that occurs."""
    counts: dict[str, int] = defaultdict(int)
    for change in pair.changes:
        counts[CLASSES[change.mask_value]] += 1
    return dict(counts)


def change_cells(pair: ScenePair, value: int) -> tuple[str, ...]:
    """Names of the cells of the 3 x 3 grid with at least 5 % of the changed pixels of one class, row by row."""
    rows, columns = np.nonzero(pair.change_mask == value)
    height, width = pair.change_mask.shape
    cells = np.minimum(2, 3 * rows // height) * 3 + np.minimum(2, 3 * columns // width)
    counts = np.bincount(cells, minlength=9)
    return tuple(name for name, n in zip(CELLS, counts, strict=True) if n and n >= 0.05 * counts.sum())


def change_questions(pair: ScenePair) -> tuple[ChangeQuestion, ...]:
    """Whether, how many and where; the wording is the same for every pair, so it tells nothing."""
    counts = change_counts(pair)
    roads, buildings = counts.get("road", 0), counts.get("building", 0)
    found = [
        ChangeQuestion(text=PRESENCE, answer="yes" if pair.changes else "no", kind="change_presence"),
        ChangeQuestion(
            text=COUNT, answer=f"{_number(roads, 'road')} and {_number(buildings, 'building')}", kind="change_count"
        ),
    ]
    for value in (1, 2):
        cells = change_cells(pair, value)
        text = LOCATION.format(noun=CLASSES[value])
        found.append(ChangeQuestion(text=text, answer=" ".join(cells) or "nowhere", kind="change_location"))
    return tuple(found)


def _number(count: int, noun: str) -> str:
    return f"no {plural(noun)}" if count == 0 else counted(count, noun).replace("a ", "one ", 1)


def _caption(pair: ScenePair, rng: random.Random) -> str:
    groups: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in pair.changes:
        groups[change.action, change.category].append(change)
    chosen = list(groups.values())
    rng.shuffle(chosen)
    parts = [_clause(pair, changes, rng) for changes in chosen[: rng.choice((1, 2, 2))]]
    return " and ".join(parts)


def _clause(pair: ScenePair, changes: list[Change], rng: random.Random) -> str:
    """One action on one category, with the place or the ground that it happened on where there is one word for it."""
    action, category, count = changes[0].action, changes[0].category, len(changes)
    where = rng.choice((_where(pair, changes, rng), ""))
    ground = _ground(pair, changes, rng) if not where else ""
    if action in _NATURE:
        if action == "cleared" and ground:
            return rng.choice((f"some trees are replaced by {ground}", f"some trees give way to {ground}"))
        return f"{rng.choice(_NATURE[action])} {where}".rstrip()
    things = loosely_counted(count, category, rng)
    if action == "built":
        if ground and rng.random() < 0.4:
            return f"{things} {'replaces' if count == 1 else 'replace'} the {ground}"
        where = f"on the {ground}" if ground else where
        seen = "appears" if count == 1 else "appear"
    else:
        if ground:
            return f"{things} {be(count)} replaced by {ground}"
        seen = "disappears" if count == 1 else "disappear"
    verb = rng.choice(_BUILT if action == "built" else _GONE)
    said = rng.choice((f"{be(count)} {verb}", f"{'has' if count == 1 else 'have'} been {verb}", seen))
    return f"{things} {said} {where}".rstrip()


def _where(pair: ScenePair, changes: list[Change], rng: random.Random) -> str:
    """ "in the top left corner of the scene", or "" for changes in several cells."""
    height, width = pair.change_mask.shape
    middles = [((c.box_px[0] + c.box_px[2]) / 2, (c.box_px[1] + c.box_px[3]) / 2) for c in changes]
    cells = {cell_at(x, y, width, height) for x, y in middles}
    large = any((c.box_px[2] - c.box_px[0]) * (c.box_px[3] - c.box_px[1]) > 0.3 * height * width for c in changes)
    return f"{rng.choice(PLACES[cells.pop()])} of the scene" if len(cells) == 1 and not large else ""


def _ground(pair: ScenePair, changes: list[Change], rng: random.Random) -> str:
    """Most of what lay under the built, or now lies under the vanished; "" where no natural cover is most of it."""
    scene = pair.before if changes[0].action == "built" else pair.after
    under = np.concatenate([_inside(pair, scene.semantic, change) for change in changes])
    counts = np.bincount(under, minlength=len(LAND_COVER))
    name = LAND_COVER[int(counts.argmax())]
    if under.size == 0 or counts.max() < 0.7 * under.size or name not in COVER_NAMES:
        return ""
    return rng.choice(COVER_NAMES[name])


def _inside(pair: ScenePair, semantic: np.ndarray, change: Change) -> np.ndarray:
    x1, y1, x2, y2 = (round(v) for v in change.box_px)
    return semantic[y1:y2, x1:x2][pair.change_mask[y1:y2, x1:x2] == change.mask_value]
