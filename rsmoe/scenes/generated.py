"""Generated scenes in the formats of RSICap and RSIEval, written once into a cache and read by the real readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.checks.ranges import NonNegative, Positive
from rsmoe.data.readers.rsicap import RSICap
from rsmoe.data.readers.rsieval import RSIEval
from rsmoe.errors import require_known
from rsmoe.files import CACHE_KEY, cache_folder, require_writable
from rsmoe.scenes.generator import GENERATOR_VERSION, SceneGenerator
from rsmoe.scenes.release import LANGUAGE_VERSION, RELEASE_VERSION, split_range, write_rsicap, write_rsieval

_GENERATED: dict[str, Any] = {"class_maps": "maps", "protocol": "generated/"}


def rsicap(
    *,
    split: str,
    scenes: Mapping[str, Positive],
    size_px: Positive = 96,
    seed: NonNegative = 0,
    root: str | None = None,
) -> RSICap:
    """`RSICap` over generated scenes of one split.

    Args:
        scenes: number of scenes of each split.
        root: the cache; None means ``$RSMOE_CACHE``, else ``~/.cache/rsmoe``.

    Raises:
        UserError: a split that ``scenes`` does not name, a full disk, another release under the same name.
    """
    folder = _folder("rsicap", split, scenes, size_px, seed, root)
    generator = SceneGenerator(size_px=size_px, seed=seed)
    write_rsicap(folder, generator=generator, scenes=split_range(split, scenes[split]))
    return RSICap(root=str(folder), split="train", name="generated_rsicap", val_fraction=0.0, **_GENERATED)


def rsieval(
    *,
    split: str,
    scenes: Mapping[str, Positive],
    tasks: Sequence[str] = ("caption", "vqa"),
    size_px: Positive = 96,
    seed: NonNegative = 0,
    root: str | None = None,
) -> RSIEval:
    """`RSIEval` over generated scenes of one split; arguments and errors as `rsicap`, ``tasks`` as the reader."""
    folder = _folder("rsieval", split, scenes, size_px, seed, root)
    generator = SceneGenerator(size_px=size_px, seed=seed)
    write_rsieval(folder, generator=generator, scenes=split_range(split, scenes[split]))
    return RSIEval(root=str(folder), split=split, holds=split, name="generated_rsieval", tasks=tasks, **_GENERATED)


def _folder(form: str, split: str, scenes: Mapping[str, int], size_px: int, seed: int, root: str | None) -> Path:
    require_known("split of generated scenes", split, known=scenes)
    version = f"v{GENERATOR_VERSION}.{LANGUAGE_VERSION}.{RELEASE_VERSION}"
    folder = cache_folder(root) / f"{form}-{split}-{scenes[split]}x{size_px}px-seed{seed}-{version}"
    if not folder.exists():  # a cache that holds everything may be read-only
        require_writable(folder, CACHE_KEY)
    return folder
