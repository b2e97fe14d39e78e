"""A trained dual encoder, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsmoe.contrast import Embedder
from rsmoe.contrast.build import load_dual, text_tokens
from rsmoe.contrast.hugging_face import HuggingFaceDual, is_dual_folder
from rsmoe.contrast.text_tokens import TextTokens
from rsmoe.data.collate import Collate
from rsmoe.data.text_codec import TextCodec
from rsmoe.device import pick_device
from rsmoe.errors import UserError
from rsmoe.training.checkpoints import find_checkpoint, is_dual, load_checkpoint


@dataclass(frozen=True, kw_only=True)
class OpenDual:
    """What asking a dual encoder needs; made by `open_dual`."""

    model: Embedder
    """In eval mode."""
    tokens: TextTokens
    collate: Collate
    """Samples to pixels, at inference."""
    device: Any
    path: Path
    """Of the weights."""
    facts: dict[str, Any]
    """Name, seed and config of the run, or of the folder; plain."""


def is_dual_path(path: Path) -> bool:
    """Whether a checkpoint or a folder holds a dual encoder, for commands that open other models too."""
    if is_dual_folder(path):
        return True
    return is_dual(load_checkpoint(find_checkpoint(path), weights=False))


def open_dual(path: Path, *, device: str = "auto") -> OpenDual:
    """A run of `rsmoe.commands.contrast` or a checkpoint of it, or a CLIP or SigLIP folder of transformers.

    Raises:
        UserError: it is neither, or cannot be read.
    """
    place = pick_device(device)
    if is_dual_folder(path):
        model = HuggingFaceDual(path)
        tokens = model.tokens()
        collate = _collate(tokens.codec, image_size=model.image_size, mean=model.mean, std=model.std)
        facts = {"name": path.absolute().name, "seed": 0, "config": model.config()}
        return OpenDual(
            model=model.to(place), tokens=tokens, collate=collate, device=place, path=model.weights, facts=facts
        )
    checkpoint = find_checkpoint(path)
    loaded = load_checkpoint(checkpoint)
    if not is_dual(loaded):
        raise UserError(f"{path} is no dual encoder: give a run of rsmoe.commands.contrast, or a CLIP folder")
    dual, codec, config = load_dual(loaded)
    collate = _collate(codec, **{key: config[key] for key in ("image_size", "mean", "std")})
    facts = {"name": config["name"], "seed": config["seed"], "config": config}
    return OpenDual(
        model=dual.to(place),
        tokens=text_tokens(dual, codec),
        collate=collate,
        device=place,
        path=checkpoint,
        facts=facts,
    )


def _collate(codec: TextCodec, **pixels: Any) -> Collate:
    return Collate(codec=codec, instruction_codec=codec, inference=True, **pixels)
