"""Features of a frozen encoder for a stage: computed before it begins, where they are not on disk already."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn

from rsmoe.data.datamodule import RSDataModule
from rsmoe.data.feature_store import FeatureStore, Picture, feature_key
from rsmoe.data.rasters.images import load_image
from rsmoe.data.transforms.directions import turn_sample
from rsmoe.data.transforms.symmetries import IDENTITY, SYMMETRIES, turn_image
from rsmoe.data.transforms.transforms import Transform, resize
from rsmoe.errors import UserError
from rsmoe.files import cache_folder, require_writable
from rsmoe.settings.stage import Stage
from rsmoe.vision.frozen import FrozenPart
from rsmoe.weights.bases import Base, megabytes

_FILE, _BATCH = 128, 8
"""Views in a file, and in a forward pass."""
_STORE = re.compile("[0-9a-f]{32}")
"""Name of a store."""
_IDLE_S = 86_400
"""Seconds after which a store that nobody opened may go."""


def stage_features(
    model: nn.Module,
    data: RSDataModule,
    stage: Stage,
    *,
    folder: str | None = None,
    dtype: str = "float32",
    max_gb: float = 20.0,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world: int = 1,
) -> FeatureStore | None:
    """The features of every training view that the stage can draw; None for a stage that trains the encoder.

    Ranks, and other runs on the same folder, share the work by looking at what is there already: none waits for
    another, and what an interrupted run has computed is there for the next.

    Args:
        model: with the encoder as its ``vision``.
        folder: where stores of all encoders are; None: ``$RSMOE_CACHE/features``.
        dtype: in which features are kept. float32 changes no number; float16 and bfloat16 round them to 11 and 8 bits,
            for half the size.
        max_gb: most gigabytes (10^9 bytes) in ``folder``, other encoders' stores included: of those that no run has
            opened for a day, the oldest make room.
        device: where the encoder runs.

    Raises:
        UserError: pictures are changed at random by more than a symmetry; data that is read as a stream; more than
            ``max_gb``; a folder that cannot be written, or is full.
    """
    encoder = model.get_submodule("vision")
    part = FrozenPart(encoder)
    if not part.rests:
        return None
    transform = data.train_collate.transform
    _check(data, transform)
    root = Path(folder) if folder else cache_folder() / "features"
    require_writable(root, "features.folder=")
    by_key = _views(data, stage)
    keys, views = list(by_key), list(by_key.values())
    encoder.eval()
    before = next(part.module.parameters()).device
    encoder.to(device)
    one = _encoded(part, views[:1], transform, device)
    size = sum(level.numel() for level in one) * getattr(torch, dtype).itemsize
    store = FeatureStore(root / _fingerprint(part, transform, dtype, str(torch.device(device).type)))
    absent = sum(key not in store for key in keys)
    used = _make_room(root, keep=store.folder, needed=absent * size, most=max_gb * 1e9)
    if used + absent * size > max_gb * 1e9:
        raise UserError(
            f"features of {absent} pictures and turns take {megabytes(absent * size)}, and {root} holds "
            f"{megabytes(used)}: more than features.max_gb={max_gb:g}. Raise it, remove folders there, keep half the "
            "bits (features.dtype=float16), fewer levels (vision.finest=32) or no turns (loader.augment=false)"
        )
    if not rank:
        print(
            f"features of {len(views)} pictures and turns: {megabytes(len(views) * size)} as {dtype} in "
            f"{store.folder}, {len(views) - absent} of them there already"
        )
    starts = list(range(0, len(views), _FILE))
    starts = [*starts[rank::world], *(s for s in reversed(starts) if s // _FILE % world != rank)]
    for start in track(starts, description="features", transient=True, disable=bool(rank) or not absent):
        chosen = [i for i in range(start, min(start + _FILE, len(views))) if keys[i] not in store]
        if chosen:
            store.refresh()
            chosen = [i for i in chosen if keys[i] not in store]
        if chosen:
            levels = _encoded(part, [views[i] for i in chosen], transform, device)
            store.add([keys[i] for i in chosen], [level.to(getattr(torch, dtype)) for level in levels])
    encoder.to(before)
    return store


def _make_room(root: Path, *, keep: Path, needed: int, most: float) -> int:
    """Removes stores of other encoders where more bytes are needed than ``most`` leaves; the bytes that are there.

    Of a folder that is named as `_fingerprint` names a store its safetensors go, and nothing else: ``root`` is the
    user's.
    """
    if keep.is_dir():
        os.utime(keep)  # in use
    sizes = {f: sum(p.stat().st_size for p in f.glob("*.safetensors")) for f in root.glob("*") if f.is_dir()}
    stores = [f for f in sizes if f != keep and _STORE.fullmatch(f.name) and not f.is_symlink()]
    idle = [f for f in stores if time.time() - f.stat().st_mtime > _IDLE_S]
    for folder in sorted(idle, key=lambda f: f.stat().st_mtime):
        if sum(sizes.values()) + needed <= most:
            break
        for file in folder.glob("*.safetensors"):
            file.unlink(missing_ok=True)  # another process may do the same
        del sizes[folder]
    return sum(sizes.values())


def _check(data: RSDataModule, transform: Transform) -> None:
    if data.stream is not None:
        raise UserError("features={} needs data that is read by index; leave loader.stream out, or features=null")
    if data.train_collate.window is not None:
        raise UserError("features={} keeps what the encoder sees of whole pictures: leave loader.collate.window_px out")
    still = {"align_px": 0, "match_levels": False}
    turned = {"crop_area": 1.0, "jitter": 0.0}
    asked = still | (turned if transform.augment else {})
    if wrong := {key: value for key, value in asked.items() if getattr(transform, key) != value}:
        words = " ".join(f"loader.collate.{key}={str(value).lower()}" for key, value in wrong.items())
        raise UserError(
            f"features={{}} keeps what the encoder sees of a picture and its turns, and pictures are changed in other "
            f"ways: give {words}" + (", or loader.augment=false" if wrong.keys() & turned.keys() else "")
        )


def _views(data: RSDataModule, stage: Stage) -> dict[str, tuple[Picture, int]]:
    """Every picture of the stage's data sets in every symmetry that a sample's words can follow, by `feature_key`."""
    views: dict[str, tuple[Picture, int]] = {}
    augment = data.train_collate.transform.augment
    for name in stage.mix or data.datasets["train"]:
        dataset = data.datasets["train"][name]
        for index in range(len(dataset)):  # type: ignore[arg-type]
            sample = dataset[index]
            turns = [s for s in SYMMETRIES if turn_sample(sample, s) is not None] if augment else []
            for symmetry in (IDENTITY, *turns):
                views |= {feature_key(image, symmetry): (image, symmetry) for image in sample.images}
    return views


@torch.no_grad()
def _encoded(
    part: FrozenPart, views: Sequence[tuple[Picture, int]], transform: Transform, device: torch.device | str
) -> tuple[Tensor, ...]:
    parts = []
    for start in range(0, len(views), _BATCH):
        turned = [turn_image(resize(load_image(p), transform.size), s) for p, s in views[start : start + _BATCH]]
        pixels = transform.normalised(torch.stack(turned).float())
        parts.append(part.features(pixels.to(device).contiguous(memory_format=torch.channels_last)))
    return tuple(torch.cat(levels).cpu() for levels in zip(*parts, strict=True))


def _fingerprint(part: FrozenPart, transform: Transform, dtype: str, device: str) -> str:
    """Hash of all that features depend on, but the pictures."""
    config: Any = getattr(part.module, "config", None)
    known = {
        "weights": Base.of("", part.module.state_dict()).sha256,
        "module": str(part.module),
        "config": config.to_json_string() if hasattr(config, "to_json_string") else "",
        "levels": getattr(part.encoder, "levels", None),
        "pixels": [transform.size, transform.mean, transform.std, "bicubic, antialiased"],
        "dtype": dtype,
        "versions": [version("rsmoe"), torch.__version__, device],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
