"""Generated scenes on disk, in the formats of RSICap and RSIEval (Lavender105/RSGPT on GitHub).

A release is written into a hidden folder beside its final place and renamed at the end, so the final name either
does not exist or holds a whole release. ``stamp.json`` beside the annotations says what it was made from; asking for
the same release again costs one small read. What neither format has lies in folders of its own: ``maps/*.png`` with
the class of every pixel, their names in ``maps/classes.txt``.
"""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from rsmoe.data.files.json_text import read_json
from rsmoe.errors import UserError
from rsmoe.files import CACHE_KEY, part_of
from rsmoe.scenes.class_map import MAP_CLASSES
from rsmoe.scenes.drawing import on_every_core
from rsmoe.scenes.generator import GENERATOR_VERSION, SCENE_CLASSES, SceneGenerator
from rsmoe.scenes.language.description import describe
from rsmoe.scenes.language.facts import SceneFacts
from rsmoe.scenes.language.questions import RSIEVAL_KINDS, ask

LANGUAGE_VERSION = 4
"""Raised whenever the same scene would be put into other words."""
RELEASE_VERSION = 2
"""Raised whenever a release of the same scenes and words would hold other files, or ask other questions."""

QUESTIONS = 9
"""On each scene of a release like RSIEval, on the mean."""

BLOCK = 2 * len(SCENE_CLASSES)
"""Scenes among which questions are balanced: every class twice."""

_ASKED = 10 * BLOCK
"""Scenes among which the questions of a release are balanced: a place is asked for where several scenes have the same
thing in different places, so that few scenes hold few such questions."""

_FIRST_SCENE = {"train": 0, "val": 10_000_000, "test": 20_000_000}
_PROMPTS = (
    "Describe this image in detail.",
    "Please provide a detailed description of the picture.",
    "Could you describe the contents of this image for me?",
    "Take a look at this image and describe what you notice.",
)


def split_range(split: str, size: int) -> range:
    """Indices of the first ``size`` scenes of a split; splits never share a scene.

    Raises:
        UserError: unknown split, or a size below one or beyond ten million.
    """
    if split not in _FIRST_SCENE:
        raise UserError(f"unknown split {split!r} of the generated scenes. Known: {', '.join(_FIRST_SCENE)}.")
    if not 1 <= size <= 10_000_000:
        raise UserError(f"size={size} of the generated {split} split: give a number of scenes from 1 to 10000000.")
    return range(_FIRST_SCENE[split], _FIRST_SCENE[split] + size)


def write_rsicap(root: str | Path, *, generator: SceneGenerator, scenes: range) -> Path:
    """Writes ``root/captions.json`` and ``root/images/*.png``, one detailed description a scene, as RSICap has them.

    Args:
        root: folder to write; used as it is if it already holds this very release.
        generator: source of the scenes; RSICap is RGB, so it must have three bands.
        scenes: indices, for example ``split_range("train", 2000)``.

    Raises:
        UserError: ``root`` holds something else, the disk is full, or the generator has not three bands.
    """

    def write(folder: Path) -> None:
        rows = chain.from_iterable(on_every_core(partial(_describe, generator, folder), _blocks(scenes)))
        numbered = [{"image_id": str(number), **row} for number, row in enumerate(rows)]
        _save_json(folder / "captions.json", {"annotations": numbered})

    return _release(Path(root), "rsicap", generator, scenes, write)


def write_rsieval(root: str | Path, *, generator: SceneGenerator, scenes: range) -> Path:
    """Writes ``root/annotations.json`` and ``root/images/*.png``: a caption and question-answer pairs a scene.

    RSIEval is a test set; a second release of the same format from training scenes is what VQA is trained on. RSIEval
    has 9.4 questions an image; here the mean is `QUESTIONS` and the number varies from image to image.

    Args and errors as `write_rsicap`.
    """

    def write(folder: Path) -> None:
        rows = on_every_core(partial(_ask, generator, folder), _blocks(scenes, _ASKED))
        _save_json(folder / "annotations.json", {"annotations": list(chain.from_iterable(rows))})

    return _release(Path(root), "rsieval", generator, scenes, write)


def _blocks(scenes: range, size: int = BLOCK) -> list[range]:
    return [scenes[start : start + size] for start in range(0, len(scenes), size)]


def _describe(generator: SceneGenerator, folder: Path, scenes: range) -> list[dict[str, str]]:
    rows = []
    for index in scenes:
        facts = SceneFacts(generator.scene(index))
        rng = random.Random(f"{generator.seed}/{index}/rsicap")
        name = _save_pictures(facts, folder, index)
        rows.append({"filename": name, "text_input": rng.choice(_PROMPTS), "text_output": describe(facts, rng).text})
    return rows


def _ask(generator: SceneGenerator, folder: Path, scenes: range) -> list[dict[str, Any]]:
    block = [SceneFacts(generator.scene(index)) for index in scenes]
    rng = random.Random(f"{generator.seed}/{scenes[0]}/rsieval")
    pairs: list[list[dict[str, str]]] = [[] for _ in block]
    for q in ask(block, count=QUESTIONS * len(block), rng=rng, kinds=RSIEVAL_KINDS):
        pairs[q.scene].append({"question": q.text, "answer": q.answer, "type": q.kind})
    rows = []
    for index, facts, qa_pairs in zip(scenes, block, pairs, strict=True):
        name = _save_pictures(facts, folder, index)
        rows.append({"filename": name, "caption": describe(facts, rng).text, "qa_pairs": qa_pairs})
    return rows


def _release(root: Path, form: str, generator: SceneGenerator, scenes: range, write: Callable[[Path], None]) -> Path:
    if generator.bands != 3:
        raise UserError(f"releases in {form}'s format are RGB, the generator has {generator.bands} bands: use bands=3.")
    stamp = {
        "format": form, "generator": GENERATOR_VERSION, "language": LANGUAGE_VERSION, "seed": generator.seed,
        "release": RELEASE_VERSION, "size_px": generator.size_px, "first_scene": scenes.start,
        "scenes": len(scenes),
    }  # fmt: skip
    if root.exists():
        _check_stamp(root, stamp)
        return root
    part = part_of(root)
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / "images").mkdir(parents=True)
        (part / "maps").mkdir()
        (part / "maps" / "classes.txt").write_text("".join(f"{name}\n" for name in MAP_CLASSES))
        write(part)
        _save_json(part / "stamp.json", stamp)
        part.rename(root)
    except BaseException as error:  # Ctrl-C included: nothing half-written stays behind
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError):
            if root.exists():  # another process finished the same release first
                _check_stamp(root, stamp)
                return root
            raise UserError(_disk_message(root, error)) from error
        raise
    return root


def _check_stamp(root: Path, stamp: dict[str, Any]) -> None:
    path = root / "stamp.json"
    if not path.is_file():
        raise UserError(
            f"{root} exists and is not a generated release (it has no stamp.json), so it is left alone. "
            "Name another folder, or give it as data.root if it holds real data."
        )
    found = read_json(path)
    differ = [f"{k}={found.get(k)!r} instead of {v!r}" for k, v in stamp.items() if found.get(k) != v]
    if differ:
        raise UserError(f"{root} holds other generated scenes ({', '.join(differ)}). Delete it or name another folder.")


def _disk_message(root: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {root} was not written. Free some space, or name another disk: {CACHE_KEY}"
    return f"cannot write {root}: {error.strerror or error}. Name a folder that can be written: {CACHE_KEY}"


def _save_pictures(facts: SceneFacts, folder: Path, index: int) -> str:
    name = f"S{index:08d}.png"
    Image.fromarray(facts.scene.image).save(folder / "images" / name)
    Image.fromarray(facts.class_map).save(folder / "maps" / name)
    return name


def _save_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
