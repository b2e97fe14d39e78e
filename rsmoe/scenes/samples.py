"""Samples of every task, straight from the generator."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.data.readers.annotations import is_directional
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError, require_known
from rsmoe.scenes.language.captions import short_captions
from rsmoe.scenes.language.description import describe
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.language.questions import ask
from rsmoe.scenes.language.referring import ANSWERS, REQUESTS, refer_to_one
from rsmoe.scenes.pair_store import PairStore
from rsmoe.scenes.release import BLOCK
from rsmoe.scenes.rows import GeneratedRows

CAPTION_STYLES = ("short", "detailed", "theme", "objects", "relations")
"""What a "caption" sample asks for: five short captions, the whole description, or one aspect of it."""

_CAPTION = {
    "short": (
        "Describe this image in one sentence.",
        "Write a short caption for this image.",
        "What is in this image?",
    ),
    "detailed": ("Describe this image in detail.", "Please provide a detailed description of the picture."),
    "theme": ("What is the theme of this image? Describe it.",),
    "objects": ("Describe the objects in this image.",),
    "relations": ("Describe the relations between the objects in this image.",),
}
_CHANGE = (
    "Please briefly describe the changes in these two images.",
    "What has changed between the two images?",
    "Describe the difference between the two dates.",
)
_RETRIEVE = ("Embed this image for retrieval.", "Represent this image to search for its caption.")


SCENE_TASKS = ("caption", "vqa", "change_caption", "mask", "retrieval")
"""Tasks that the generated world can set."""


class SceneDataset(GeneratedRows):
    """Generated scenes as a dataset: rows take turns over ``tasks``.

    Row i has task ``tasks[i % len(tasks)]``; the n-th rows of the tasks on one image are about the same scene, except
    that "vqa" rows are drawn within blocks of scenes in which `ask` balances the questions. Scenes are rendered at
    the first access to their block and kept as finished samples (size_px ** 2 * (bands + 1) bytes a scene, and the
    masks): with several loader workers each renders its own, so that ``num_workers=0`` is usually the fastest. Pairs
    are kept on disk, see `PairStore`. Every sample has a ``class_map``: of a picture the classes `MAP_CLASSES`, of a
    pair what changed.

    Args:
        tasks: any of `SCENE_TASKS`.
        caption_style: one of `CAPTION_STYLES`.
        cache: folder of the rendered pairs; None means ``$RSMOE_CACHE``, else ``~/.cache/rsmoe``.

    Raises:
        UserError: no task, an unknown or repeated one, an unknown style.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        size: Positive,
        seed: NonNegative = 0,
        size_px: Positive = 64,
        bands: Positive = 3,
        tasks: Sequence[str] = SCENE_TASKS,
        name: str = "scenes",
        caption_style: str = "short",
        cache: str | None = None,
    ) -> None:
        if not tasks:
            raise UserError(f"tasks is empty: name at least one of {', '.join(SCENE_TASKS)}.")
        if len(set(tasks)) < len(tasks):
            raise UserError(f"name each task once, not {', '.join(tasks)}.")
        require_known("task", *tasks, known=SCENE_TASKS)
        require_known("caption style", caption_style, known=CAPTION_STYLES)
        options: dict[str, Any] = {"root": root, "split": split, "name": name, "seed": seed}
        super().__init__(scenes=size, size=size, size_px=size_px, bands=bands, **options)
        self.tasks, self.caption_style = tuple(tasks), caption_style
        self._pairs = PairStore(split=split, size_px=size_px, bands=bands, seed=seed, cache=cache)

    def _fill(self, index: int) -> None:
        """A pair by itself; of a single image, every row of the block of scenes that it is in."""
        number, turn = divmod(index, len(self.tasks))
        if self.tasks[turn] == "change_caption":
            self._rows[index] = self._change(number)
            return
        block = number // BLOCK
        numbers = range(block * BLOCK, (block + 1) * BLOCK)
        facts = [SceneFacts(self._generator.scene(self._first + n)) for n in numbers]
        if "vqa" in self.tasks:
            rng = self._random("vqa", block)
            for number, q in zip(numbers, ask(facts, count=BLOCK, rng=rng), strict=True):
                self._add("vqa", number, facts[q.scene], q.text, (q.answer,), kind=q.kind)
        for number, of in zip(numbers, facts, strict=True):
            for task in self.tasks:
                if task == "caption":
                    self._caption(number, of)
                elif task == "mask":
                    self._mask(number, of, facts)
                elif task == "retrieval":
                    rng = self._random(task, number)
                    captions = short_captions(of, rng)
                    self._add(task, number, of, rng.choice(_RETRIEVE), captions, kind=of.scene.scene_class)

    def _caption(self, number: int, facts: SceneFacts) -> None:
        rng = self._random("caption", number)
        captions = short_captions(facts, rng)
        description = describe(facts, rng)
        texts = {
            "short": captions,
            "detailed": (description.text,),
            "theme": (description.theme,),
            "objects": (description.objects,),
            "relations": (description.relations or description.theme,),
        }
        request = rng.choice(_CAPTION[self.caption_style])
        self._add("caption", number, facts, request, texts[self.caption_style], kind=self.caption_style)

    def _mask(self, number: int, facts: SceneFacts, block: Sequence[SceneFacts]) -> None:
        """A referring expression on this scene or, where nothing in it can be referred to, on the next that has one."""
        rng = self._random("mask", number)
        start = next(i for i, other in enumerate(block) if other is facts)
        other, reference, target = refer_to_one((*block[start:], *block[:start]), rng)
        mask = other.scene.instances == target.instance
        box = np.asarray([target.box_px], dtype=np.float32)
        request = rng.choice(REQUESTS).format(reference.text)
        response = rng.choice(ANSWERS).format(target.category)
        self._add("mask", number, other, request, (response,), kind=target.category, mask=mask, boxes_px=box)

    def _add(
        self, task: str, number: int, facts: SceneFacts, request: str, texts: tuple[str, ...], *, kind: str, **more: Any
    ) -> None:
        row = number * len(self.tasks) + self.tasks.index(task)
        self._rows[row] = self._on(facts, task, number, request, texts, task=task, kind=kind, **more)

    def _change(self, number: int) -> Sample:
        facts = self._pairs.facts(number, source=self.name)
        request = self._random("change_caption", number).choice(_CHANGE)
        return Sample(
            id=f"{self.split}-change_caption-{number:06d}", images=facts.images, instruction=request,
            responses=facts.captions, task="change_caption", source=self.name,
            kind="changed" if facts.changed else "unchanged", directional=is_directional(request, *facts.captions),
            meta=dict(facts.meta), class_map=facts.class_map, classes=facts.classes,
        )  # fmt: skip

    def _random(self, task: str, number: int) -> random.Random:
        return random.Random(f"{self._seed}/{self._first + number}/{task}")
