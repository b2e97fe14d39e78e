"""Facts of generated pairs by number, drawn once and cached on disk."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from rsmoe.data.change.facts import CHANGE_CLASSES, PairFacts, facts_of_masks
from rsmoe.errors import UserError
from rsmoe.files import CACHE_KEY, cache_folder, part_of, require_writable
from rsmoe.scenes.drawing import on_every_core
from rsmoe.scenes.generator import GENERATOR_VERSION, SceneGenerator
from rsmoe.scenes.language.change_language import CHANGE_KINDS, CLASSES, change_captions
from rsmoe.scenes.release import LANGUAGE_VERSION, split_range
from rsmoe.scenes.scene import ScenePair

BLOCK = 16
"""Pairs in one file."""

_TOLD = ("counts", "cells", "shares", "fraction", "captions", "meta")
"""Fields of `PairFacts` that are words and numbers."""


class PairStore:
    """Pairs of one split: a block of `BLOCK` pairs is rendered when one of them is first asked for, or by `draw`.

    A pair takes far longer to render than to read, and every run of a study asks for the same ones, so a block is
    written to ``<cache>/pairs-<split>-.../<block>.npz``, whole or not at all, under a name that holds everything it was
    made from.

    Args:
        split: "train", "val" or "test"; splits share no pair.
        size_px, bands, seed: of `SceneGenerator`.
        cache: folder; None means ``$RSMOE_CACHE``, else ``~/.cache/rsmoe``.

    Raises:
        UserError: for a size, band count or split that there is not, or a folder that cannot be written.
    """

    def __init__(self, *, split: str, size_px: int, bands: int = 3, seed: int = 0, cache: str | None = None) -> None:
        self._generator = SceneGenerator(size_px=size_px, bands=bands, seed=seed)
        self._first = split_range(split, 1).start
        version = f"v{GENERATOR_VERSION}.{LANGUAGE_VERSION}"
        home = cache_folder(cache)
        self._folder = home / f"pairs-{split}-{size_px}px-{bands}bands-seed{seed}-{version}"
        if not self._folder.exists():  # a cache that holds everything may be read-only
            require_writable(self._folder, CACHE_KEY)
        self._blocks: dict[int, list[PairFacts]] = {}

    def facts(self, number: int, *, source: str) -> PairFacts:
        """Of pair ``number`` of the split, from 0; five captions, roads and buildings counted and placed."""
        block, place = divmod(number, BLOCK)
        if block not in self._blocks:
            if not self._path(block).is_file():
                self._write(block)
            self._blocks[block] = self._read(block)
        return replace(self._blocks[block][place], source=source)

    def draw(self, pairs: int) -> None:
        """Draws those of the first ``pairs`` pairs that are missing, on every core."""
        blocks = range((pairs + BLOCK - 1) // BLOCK)
        on_every_core(self._write, [block for block in blocks if not self._path(block).is_file()])

    def _path(self, block: int) -> Path:
        return self._folder / f"{block:06d}.npz"

    def _write(self, block: int) -> None:
        path, found = self._path(block), []
        for number in range(block * BLOCK, (block + 1) * BLOCK):
            pair = self._generator.pair(self._first + number)
            rng = random.Random(f"{self._generator.seed}/{self._first + number}/change_caption")
            captions = change_captions(pair, rng)
            found.append(facts_of_scenes(pair, id=f"{number:06d}", source="", captions=captions))
        part = part_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                part,
                images=np.stack([np.stack([np.asarray(image) for image in facts.images]) for facts in found]),
                changes=np.stack([np.asarray(facts.class_map) for facts in found]),
                told=json.dumps([[facts.id, {k: getattr(facts, k) for k in _TOLD}] for facts in found]),
                classes=found[0].classes,
            )
            part.replace(path)
        except OSError as error:
            raise UserError(
                f"cannot keep generated pairs in {path.parent}: {error.strerror or error}. "
                f"Free some space, or name another folder: {CACHE_KEY}"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _read(self, block: int) -> list[PairFacts]:
        path = self._path(block)
        try:
            with np.load(path, allow_pickle=False) as file:
                images, changes, told = file["images"], file["changes"], json.loads(str(file["told"]))
                classes = tuple(map(str, file["classes"]))
            if len(told) != BLOCK:
                raise ValueError(f"{len(told)} pairs instead of {BLOCK}")
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise UserError(f"{path} is damaged ({error}). Delete it: it is made again") from error
        return [
            PairFacts(
                id=id_,
                images=(images[i, 0], images[i, 1]),
                source="",
                counts=words["counts"],
                cells={noun: tuple(cells) for noun, cells in words["cells"].items()},
                shares=tuple(words["shares"]),
                fraction=words["fraction"],
                captions=tuple(words["captions"]),
                mask=changes[i] > 0,
                class_map=changes[i],
                classes=classes,
                meta=words["meta"],
            )
            for i, (id_, words) in enumerate(told)
        ]


def facts_of_scenes(pair: ScenePair, *, id: str, source: str, captions: Sequence[str] = ()) -> PairFacts:
    """Facts of a generated pair; counts are of the things themselves, which masks that touch do not show."""
    values = {noun: value for value, noun in CLASSES.items() if noun in CHANGE_CLASSES}
    return facts_of_masks(
        {noun: pair.change_mask == values[noun] for noun in CHANGE_CLASSES},
        id=id,
        images=(pair.before.image, pair.after.image),
        source=source,
        anything=pair.change_mask > 0,
        counts={noun: sum(change.mask_value == values[noun] for change in pair.changes) for noun in CHANGE_CLASSES},
        captions=tuple(captions),
        mask=pair.change_mask > 0,
        class_map=pair.change_mask + len(CLASSES) * pair.vanished.astype(np.uint8),
        classes=CHANGE_KINDS,
        meta=pair.before.meta,
    )
