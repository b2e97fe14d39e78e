"""A stage held against the model that it is to train, before the first step."""

from __future__ import annotations

from typing import Any

from torch import nn

from rsmoe.errors import UserError, unknown_name
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.freeze import matching

LOSSES = (
    "text", "aspect", "label", "balance", "z", "prompt", "words", "mask_bce", "mask_dice", "retrieval",
    "change", "change_dice", "cover", "cover_dice",
)  # fmt: skip
"""Losses of the parts that there are; some exist only in some models or batches. Experts and fusions of your own add
theirs with ``terms``."""

SEEN = {"words", "change", "change_dice", "cover", "cover_dice"}
"""Losses of perception alone: in a stage that has no other, no language model runs."""


def check_stage(model: RSMoE, stage: Stage) -> None:
    """Nothing, where the model has all that the stage names: parameters that train, their rates, losses.

    Raises:
        UserError: a pattern that matches nothing, a loss that there is not or of a part that this model lacks, or no
            loss at all.
    """
    for pattern in stage.train:
        if has_part(model, pattern):
            matching(model, pattern.removeprefix("-"))
    learning_rates(model, stage)
    _check_losses(model, stage)


def _check_losses(model: RSMoE, stage: Stage) -> None:
    known = [*LOSSES, *getattr(model.fusion, "terms", ()), *(term for e in model.experts for term in e.terms)]
    for key, names in (("loss", stage.losses), ("loss in losses_until", stage.losses_until)):
        for name in names:
            if name not in known:
                raise unknown_name(key, name, known)
    weighed = {name for name, weight in stage.losses.items() if weight}
    if "words" in weighed and model.words is None:
        raise UserError(
            f"stage {stage.name!r} has the loss 'words', but the model is built without the head for it: give "
            f"words=true, or a schedule without that loss"
        )
    absent = {f"{part}{end}" for part in ("change", "cover") if getattr(model, part) is None for end in ("", "_dice")}
    if not weighed - absent:
        raise UserError(
            f"stage {stage.name!r} has no loss that this model knows (losses: {dict(stage.losses)}): give one a "
            f"weight, or leave the stage out with 0 steps"
        )


def learning_rates(model: RSMoE, stage: Stage) -> dict[str, float]:
    """Learning rate of every parameter that a pattern of ``lr_groups`` names; the first pattern that does decides.

    Raises:
        UserError: a pattern that matches nothing, see `rsmoe.training.freeze.matching`.
    """
    rates: dict[str, float] = {}
    for pattern, rate in stage.lr_groups.items():
        if has_part(model, pattern):
            rates = dict.fromkeys(matching(model, pattern), rate) | rates
    return rates


def has_part(model: nn.Module, pattern: str) -> bool:
    """False for a pattern of a part that this model has none of, or that learns nothing: a schedule serves all."""
    part: Any = model
    for name in pattern.removeprefix("-").split("[")[0].split("."):
        if not hasattr(part, name):
            break  # a glob, or a mistake that `matching` explains
        part = getattr(part, name)
    return part is not None and (not isinstance(part, nn.Module) or any(True for _ in part.parameters()))
