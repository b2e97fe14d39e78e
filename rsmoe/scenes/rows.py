"""Rows on generated scenes, made when they are first asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch.utils.data import Dataset

from rsmoe.data.readers.annotations import is_directional
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError
from rsmoe.scenes.class_map import MAP_CLASSES
from rsmoe.scenes.generator import SceneGenerator
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.release import split_range


def refuse_root(root: str | None) -> None:
    """Refuses a folder: every data set has ``root``, and generated ones are read from none."""
    if root is not None:
        raise UserError(f"generated scenes are read from no folder: leave data.root out (it is {root!r}).")


class GeneratedRows(Dataset[Sample], ABC):
    """What the data sets of generated scenes share: a row is written with its block, and kept.

    Args:
        root: must be None; accepted because every data set has it.
        split: "train", "val" or "test"; splits share no scene.
        scenes: number of scenes of the split.
        size: number of rows.
        seed: of the generator and of every choice of words.
        size_px: side of the pictures.
        bands: 3, or 4 with near infrared.

    Raises:
        UserError: a root, an unknown split, a number of scenes or a size of pictures that there is not.
    """

    protocol = "generated/"

    def __init__(
        self,
        *,
        root: str | None,
        split: str,
        name: str,
        scenes: int,
        size: int,
        seed: int,
        size_px: int,
        bands: int = 3,
    ) -> None:
        refuse_root(root)
        self.name, self.split = name, split
        self._scenes, self._size, self._seed = split_range(split, scenes), size, seed
        self._first = self._scenes.start
        self._generator = SceneGenerator(size_px=size_px, bands=bands, seed=seed)
        self._rows: dict[int, Sample] = {}

    @abstractmethod
    def _fill(self, index: int) -> None:
        """Writes row ``index``, with the block that it is in."""

    def _on(
        self, facts: SceneFacts, word: str, number: int, request: str, answers: tuple[str, ...], **more: Any
    ) -> Sample:
        """A sample on one picture, called by the split, ``word`` and ``number``; with the class map of the scene."""
        return Sample(
            id=f"{self.split}-{word}-{number:06d}", images=(facts.scene.image,), instruction=request,
            responses=answers, source=self.name, directional=is_directional(request, *answers),
            meta=facts.scene.meta, class_map=facts.class_map, classes=MAP_CLASSES, **more,
        )  # fmt: skip

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Sample:
        """Row ``index``; `IndexError` outside of the data set."""
        index = range(self._size)[index]
        if index not in self._rows:
            self._fill(index)
        return self._rows[index]
