"""Requests for masks on generated scenes: for one thing, or for every thing of a kind."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.data.change.phrases import number_word, plural
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError, require_known
from rsmoe.scenes.generator import OBJECT_CLASSES
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.language.referring import ANSWERS, REQUESTS, SMALLEST_PX, Reference, refer_to_one
from rsmoe.scenes.release import BLOCK
from rsmoe.scenes.rows import GeneratedRows
from rsmoe.scenes.scene import SceneObject

ASKS = ("one", "every")
"""What a request asks for: the one thing that an expression fits, or every thing of a kind."""
MOST = 6
"""Things that a reply marks: where there are more, their kind is not asked for."""
_ABSENT = 0.15
"""Share of the requests for every thing of a kind that are for one that is not there."""

_EVERY = ("Segment every {0}.", "Please mark every {0}.", "Show the pixels of every {0}.")


class SceneMasks(GeneratedRows):
    """Several requests for masks on each picture of `SceneGenerator`, with exact masks.

    Requests on a scene take turns over ``asks``. "one" is a referring expression ("the leftmost white house"; see
    `rsmoe.scenes.language.referring`), answered by one [SEG]. "every" asks for all things of a kind, of a colour
    perhaps ("every white house"): up to `MOST` of them, each with a [SEG] and a mask of its own, in no order; some are
    for a kind that is not there, whose only [SEG] has an empty mask. A scene with nothing to ask for lends its row to
    the next that has something. Scenes are rendered at the first access to their block and kept. Every sample has the
    ``class_map`` of the scene, of the classes `MAP_CLASSES`; its ``kind`` is the category that is asked for.

    Args:
        scenes: number of scenes of each split.
        requests: on each scene; not all of them are different where a scene has little to ask for.
        asks: any of `ASKS`.

    Raises:
        UserError: a split without scenes, nothing or something unknown to ask for.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        scenes: dict[str, Positive],
        requests: Positive = 4,
        asks: Sequence[str] = ASKS,
        seed: NonNegative = 0,
        size_px: Positive = 64,
        bands: Positive = 3,
        name: str = "scene_masks",
    ) -> None:
        require_known(f"split of {name}", split, known=scenes)
        if not asks:
            raise UserError(f"asks is empty: name at least one of {', '.join(ASKS)}.")
        require_known("request for masks", *asks, known=ASKS)
        options: dict[str, Any] = {"root": root, "split": split, "name": name, "seed": seed}
        places = scenes[split]
        super().__init__(scenes=places, size=places * requests, size_px=size_px, bands=bands, **options)
        self.asks, self.requests = tuple(asks), requests

    def _fill(self, index: int) -> None:
        """Every request on a block of scenes: row i is request ``i % requests`` on scene ``i // requests``."""
        block = index // self.requests // BLOCK
        numbers = range(block * BLOCK, (block + 1) * BLOCK)
        facts = [SceneFacts(self._generator.scene(self._first + number)) for number in numbers]
        for place, number in enumerate(numbers):
            for turn in range(self.requests):
                rng = random.Random(f"{self._seed}/{self._first + number}/masks/{turn}")
                write = self._one if self.asks[turn % len(self.asks)] == "one" else self._every
                row = number * self.requests + turn
                self._rows[row] = write(row, [*facts[place:], *facts[:place]], rng)

    def _one(self, row: int, scenes: Sequence[SceneFacts], rng: random.Random) -> Sample:
        facts, reference, target = refer_to_one(scenes, rng)
        answer = rng.choice(ANSWERS).format(target.category)
        request = rng.choice(REQUESTS).format(reference.text)
        return self._sample(row, facts, request, answer, target.category, [target])

    def _every(self, row: int, scenes: Sequence[SceneFacts], rng: random.Random) -> Sample:
        if rng.random() < _ABSENT:
            category = rng.choice([name for name in OBJECT_CLASSES if not scenes[0].counts[name]])
            request = rng.choice(_EVERY).format(category)
            return self._sample(row, scenes[0], request, f"there is no {category} here [SEG]", category, [])
        facts, groups = next((facts, found) for facts in scenes if (found := _groups(facts)))
        group = rng.choices(groups, weights=[len(group) for group in groups])[0]
        category, colors = group[0].category, {o.color for o in group}
        others = len(group) < facts.counts[category]
        what = f"{colors.pop()} {category}" if others else category
        said = f"is one {category}" if len(group) == 1 else f"are {number_word(len(group))} {plural(category)}"
        answer = f"there {said} here{' [SEG]' * len(group)}"
        return self._sample(row, facts, rng.choice(_EVERY).format(what), answer, category, group)

    def _sample(
        self,
        row: int,
        facts: SceneFacts,
        request: str,
        answer: str,
        category: str,
        targets: Sequence[SceneObject],
    ) -> Sample:
        instances = facts.scene.instances
        masks = tuple(instances == target.instance for target in targets)
        several: dict[str, Any] = {"masks": masks} if len(masks) > 1 else {}
        mask = np.isin(instances, [target.instance for target in targets])
        return self._on(facts, "masks", row, request, (answer,), task="mask", kind=category, mask=mask, **several)


def _groups(facts: SceneFacts) -> list[tuple[SceneObject, ...]]:
    """All things of a category, or of a category and colour: `MOST` at most, each of `SMALLEST_PX` at least."""
    asked = {(o.category, color) for o in facts.scene.objects for color in {"", o.color}}
    found = {Reference(category=category, color=color).matches(facts) for category, color in sorted(asked)}
    least_m2 = SMALLEST_PX * facts.scene.gsd_m**2
    clear = [group for group in found if len(group) <= MOST and min(o.area_m2 for o in group) >= least_m2]
    return sorted(clear, key=lambda group: [o.instance for o in group])
