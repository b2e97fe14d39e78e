"""A trained run, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rsmoe
from rsmoe.build import load_run
from rsmoe.data.collate import Collate
from rsmoe.data.text_codec import TextCodec
from rsmoe.device import pick_device
from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.training.checkpoints import load_checkpoint


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """What asking a model needs; made by `open_run`."""

    model: RSMoE
    """In eval mode."""
    codec: TextCodec
    """Of its language model."""
    collate: Collate
    """Of the model, at inference."""
    config: Mapping[str, Any]
    """The run's resolved config."""
    checkpoint: Mapping[str, Any]
    """What was loaded (`rsmoe.training.checkpoints.load_checkpoint`), with the names of its weights alone."""
    change_classes: tuple[str, ...] = ()
    """Names of the values of its maps of changes, where its training data named them."""
    box_convention: str | None = None
    """How its training data wrote boxes, a name of `rsmoe.data.boxes.CONVENTIONS`; None where that is not known."""
    dialogues: bool = True
    """Whether it can read earlier turns: a language model from random weights has to have been trained with some."""


def open_run(path: Path, *, device: str = "auto") -> OpenRun:
    """The newest checkpoint of a run folder, or a checkpoint file.

    Args:
        device: where the model is asked, see `rsmoe.device.pick_device`; batches have to be brought there.

    Raises:
        UserError: there is no checkpoint that can be read, or no such device; or its router has to be told the task.
    """
    place = pick_device(device)
    loaded = load_checkpoint(path)
    try:
        model, codec, words = load_run(loaded)
    except UserError as error:
        raise UserError(f"{error}{_other_version(loaded)}") from error
    if model.router.reads_label and not model.dense:
        raise UserError(
            f"{path} was trained with router=oracle, which is told the task of a request: there is nobody to tell it "
            "here. rsmoe.evaluate can measure it, on samples with labels"
        )
    model.to(place)
    config = loaded["hyper_parameters"]["config"]
    collate = Collate(codec=codec, instruction_codec=words, **collate_options(config), inference=True)
    classes = tuple(loaded["hyper_parameters"].get("change_classes", ()))
    known = {"hyper_parameters": loaded["hyper_parameters"], "bases": loaded.get("bases", [])}
    known["state_dict"] = dict.fromkeys(loaded["state_dict"])
    return OpenRun(
        model=model, codec=codec, collate=collate, config=config, checkpoint=known, change_classes=classes,
        box_convention=_box_convention(config), dialogues=loaded["hyper_parameters"].get("dialogues", True),
    )  # fmt: skip


def _other_version(checkpoint: Any) -> str:
    """What helps with a saved folder of another rsmoe; "" of one of this."""
    written = checkpoint.get("rsmoe_version") if isinstance(checkpoint, Mapping) else None
    if not isinstance(written, str) or written in ("", rsmoe.__version__):
        return ""
    return f" rsmoe {written} wrote it, and this is {rsmoe.__version__}: ask it with that version"


def collate_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a run sees pictures and cuts texts, as options of `Collate`."""
    return {key: config[key] for key in ("image_size", "mean", "std")} | dict(config["loader"]["collate"])


def _box_convention(config: Mapping[str, Any]) -> str | None:
    """How the readers of a corpus write boxes in answers, where all of them write the same; without a word of their own
    they leave them as the release has them."""
    world = "generated" if config.get("world") == "generated" else "reader"
    readers = [dict(entry.get(world) or {}) for entry in config.get("corpus", {}).values()]
    keys = ("convention", "box_convention", "boxes")
    known = {next((reader[key] for key in keys if reader.get(key)), None) for reader in readers} - {None}
    return known.pop() if len(known) == 1 else None
