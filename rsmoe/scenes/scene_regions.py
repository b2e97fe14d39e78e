"""Boxes that are asked for, and regions that are asked about, on generated scenes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rsmoe.checks.ranges import NonNegative, Positive, Share
from rsmoe.data.boxes import obb_from_corners, write
from rsmoe.data.boxes.region import REGION, Region
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError, require_known
from rsmoe.scenes.generator import OBJECT_CLASSES
from rsmoe.scenes.language import region_words as words
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.language.referring import refer, refer_to_one
from rsmoe.scenes.release import BLOCK
from rsmoe.scenes.rows import GeneratedRows
from rsmoe.scenes.scene import SceneObject

ASKS = ("one", "oriented", "every", "phrases", "caption", "category", "colour", "conversation")
"""The box of one thing, horizontal or oriented, the boxes of every thing of a kind, those of the phrases of a caption;
a description of a region, its category, its colour; a question about a region after another one."""
MOST = 3
"""Boxes of an answer."""
_ABSENT = 0.2
"""Share of the requests for every thing of a kind that are for one that is not there."""


class SceneRegions(GeneratedRows):
    """Requests for boxes in words, and requests about a region, on each picture of `SceneGenerator`.

    Requests on a scene take turns over ``asks``; see `rsmoe.scenes.language.referring` for how a thing is called. What
    is asked for covers ``least_share`` of the picture or more. A scene with nothing to ask about lends its row to the
    next that has something. Every sample has the ``class_map`` of the scene.

    - "one", "oriented": the box of the thing that an expression fits;
    - "every": up to `MOST` boxes, or "there is no house here";
    - "phrases": up to `MOST` expressions, each answered by ``<p>the white house</p>`` and its box;
      ``meta["phrases"]`` holds them in the order of the boxes;
    - "caption", "category", "colour": of the thing in the box `REGION`, which is the sample's ``region``;
    - "conversation": its category was asked before, and its colour or a description is asked for now.

    Args:
        scenes: number of scenes of each split.
        requests: on each scene.
        asks: any of `ASKS`.
        least_share: of the picture that a thing covers.
        convention: how horizontal boxes are written, see `rsmoe.data.boxes`; those of regions too.
        oriented: how oriented ones are.
        pointed: False asks about "the picture" in the place of a region, as a control: nothing tells which thing.

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
        least_share: Share = 0.04,
        convention: str = "skyeye",
        oriented: str = "geochat_clockwise",
        pointed: bool = True,
        seed: NonNegative = 0,
        size_px: Positive = 64,
        bands: Positive = 3,
        name: str = "scene_regions",
    ) -> None:
        require_known(f"split of {name}", split, known=scenes)
        if not asks:
            raise UserError(f"asks is empty: name at least one of {', '.join(ASKS)}.")
        require_known("request about regions", *asks, known=ASKS)
        options: dict[str, Any] = {"root": root, "split": split, "name": name, "seed": seed}
        places = scenes[split]
        super().__init__(scenes=places, size=places * requests, size_px=size_px, bands=bands, **options)
        self.asks, self.requests, self.pointed = tuple(asks), requests, pointed
        self.convention, self.oriented = convention, oriented
        self.protocols = {"ground": "ground/obb@1"} if self.asks == ("oriented",) else {}
        self.protocols |= {"ground": "ground/phrases@1"} if self.asks == ("phrases",) else {}
        self._least_px, self._size_px = least_share * size_px**2, (size_px, size_px)

    def _fill(self, index: int) -> None:
        """Every request on a block of scenes: row i is request ``i % requests`` on scene ``i // requests``."""
        block = index // self.requests // BLOCK
        numbers = range(block * BLOCK, (block + 1) * BLOCK)
        facts = [SceneFacts(self._generator.scene(self._first + number)) for number in numbers]
        write_ask = {"one": self._one, "oriented": self._one, "every": self._every, "phrases": self._phrases}
        for place, number in enumerate(numbers):
            for turn in range(self.requests):
                ask = self.asks[turn % len(self.asks)]
                rng = random.Random(f"{self._seed}/{self._first + number}/{ask}/{turn}")
                row = number * self.requests + turn
                self._rows[row] = write_ask.get(ask, self._about)(row, ask, [*facts[place:], *facts[:place]], rng)

    def _one(self, row: int, ask: str, scenes: Sequence[SceneFacts], rng: random.Random) -> Sample:
        facts, reference, target = refer_to_one(scenes, rng, least_px=self._least_px)
        asked = rng.choice(words.ORIENTED if ask == "oriented" else words.WHERE).format(reference.text)
        return self._ground(row, facts, asked, [target], oriented=ask == "oriented")

    def _every(self, row: int, ask: str, scenes: Sequence[SceneFacts], rng: random.Random) -> Sample:
        if rng.random() < _ABSENT:
            absent = rng.choice([name for name in OBJECT_CLASSES if not scenes[0].counts[name]])
            return self._ground(row, scenes[0], rng.choice(words.EVERY).format(absent), [], absent=absent)
        facts, groups = next((facts, found) for facts in scenes if (found := self._groups(facts)))
        group = rng.choice(groups)
        return self._ground(row, facts, rng.choice(words.EVERY).format(group[0].category), group)

    def _phrases(self, row: int, ask: str, scenes: Sequence[SceneFacts], rng: random.Random) -> Sample:
        facts, reference, target = refer_to_one(scenes, rng, least_px=self._least_px)
        found = {target.instance: (reference.text, target)}
        for _ in range(2 * MOST):
            if len(found) < MOST and (more := refer(facts, rng, least_px=self._least_px)):
                found.setdefault(more[1].instance, (more[0].text, more[1]))
        phrases, targets = zip(*found.values(), strict=True)
        caption = " and ".join(phrases)
        return self._ground(row, facts, rng.choice(words.PHRASES).format(caption), targets, phrases=phrases)

    def _ground(
        self,
        row: int,
        facts: SceneFacts,
        request: str,
        targets: Sequence[SceneObject],
        *,
        oriented: bool = False,
        phrases: Sequence[str] = (),
        absent: str = "",
    ) -> Sample:
        """A request for the boxes of these things, from left to right where they have no phrases."""
        targets = list(targets) if phrases else sorted(targets, key=lambda o: o.box_px)
        upright = np.array([o.box_px for o in targets], np.float32).reshape(-1, 4)
        turned = obb_from_corners(np.array([o.obb_px for o in targets]).reshape(-1, 4, 2))
        form: dict[str, Any] = {"convention": self.oriented if oriented else self.convention, "size_px": self._size_px}
        boxes = turned if oriented else upright
        answer = f"there is no {absent} here" if absent else write(boxes, **form)
        if phrases:
            said = [f"<p>{p}</p> {write(b[None], **form)}" for p, b in zip(phrases, boxes, strict=True)]
            answer = " and ".join(said)
        kind = absent or targets[0].category
        sample = self._on(
            facts, "boxes", row, request, (answer,), task="ground", kind=kind, boxes_px=upright,
            obb_px=turned if oriented else None, labels=tuple(o.category for o in targets),
        )  # fmt: skip
        told = {"box_convention": form["convention"], "size_px": self._size_px}
        return replace(sample, meta=sample.meta | told | ({"phrases": tuple(phrases)} if phrases else {}))

    def _about(self, row: int, ask: str, scenes: Sequence[SceneFacts], rng: random.Random) -> Sample:
        """A question about one thing by its box."""
        facts, things = next((facts, found) for facts in scenes if (found := self._things(facts, ask)))
        kinds = sorted({thing.category for thing in things})
        kind = rng.choice(kinds)
        thing = rng.choice([thing for thing in things if thing.category == kind])
        history: tuple[tuple[str, str], ...] = ()
        if ask == "conversation":
            history = ((rng.choice(words.WHAT), thing.category),)
            ask = rng.choice(["colour", "caption"] if thing.color else ["caption"])
        first, again = {
            "caption": (words.DESCRIBE, words.DESCRIBE_AGAIN), "colour": (words.COLOUR, words.COLOUR_AGAIN),
            "category": (words.WHAT, ()),
        }[ask]  # fmt: skip
        answers = words.descriptions(facts, thing, rng) if ask == "caption" else ()
        answers = answers or ((thing.color,) if ask == "colour" else (thing.category,))
        request = rng.choice(again if history else first)
        region: Region | None = Region.of(thing.box_px, size_px=self._size_px)
        task = "caption" if ask == "caption" else "vqa"
        if not self.pointed:
            request, region = request.replace(REGION, "the picture"), None
            history = tuple((question.replace(REGION, "the picture"), answer) for question, answer in history)
        sample = self._on(facts, ask, row, request, answers, task=task, kind=ask, history=history, region=region)
        return replace(sample, meta=sample.meta | {"box_convention": self.convention, "size_px": self._size_px})

    def _things(self, facts: SceneFacts, ask: str) -> list[SceneObject]:
        """What is large enough, and has a colour where that is asked for."""
        least_m2 = self._least_px * facts.scene.gsd_m**2
        return [o for o in facts.scene.objects if o.area_m2 >= least_m2 and (o.color or ask != "colour")]

    def _groups(self, facts: SceneFacts) -> list[tuple[SceneObject, ...]]:
        """All things of a category, `MOST` at most, all large enough."""
        large = {o.instance for o in self._things(facts, "every")}
        groups = [group.members for _, group in sorted(facts.groups.items())]
        return [group for group in groups if len(group) <= MOST and all(o.instance in large for o in group)]
