"""A stage held against the model that it is to train, before the first step."""

from __future__ import annotations

from typing import Any

from torch import nn

from rsmoe.errors import UserError, unknown_name
from rsmoe.experts.expert import Expert
from rsmoe.experts.mask import MaskExpert
from rsmoe.experts.retrieval import RetrievalExpert
from rsmoe.generation import Fusion
from rsmoe.maps import MapModule
from rsmoe.maps.change import Change
from rsmoe.maps.land_cover import LandCover
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.freeze import matching

LOSSES = (
    "text", "aspect", "label", "balance", "z", "prompt", "words",
    *LandCover.terms, *Change.terms, *MaskExpert.terms, *RetrievalExpert.terms,
)  # fmt: skip
"""Losses of the parts of this library: a stage may name those of a part that a model lacks."""


def losses_of(model: RSMoE) -> set[str]:
    """Names of the losses that a model can have."""
    parts: list[Fusion | MapModule | Expert] = [model.fusion, *model.maps.values(), *model.experts]
    return {"words", "label", "balance", "z", "prompt"}.union(*(part.terms for part in parts))


def loss_weights(model: RSMoE, stage: Stage) -> dict[str, float]:
    """Weight of every loss of a stage: those that it names, and the default of each loss of a map or an expert that
    trains in it and that it does not name."""
    parts: list[MapModule | Expert] = [*model.maps.values(), *model.experts]
    training = [part for part in parts if any(p.requires_grad for p in part.parameters())]
    named = {name: weight for name, weight in stage.losses.items() if name in losses_of(model)}
    return {name: weight for part in training for name, weight in part.terms.items()} | named


def of_perception(model: RSMoE) -> set[str]:
    """Losses of perception alone: in a stage that has no other, no language model runs."""
    return {"words"}.union(*(part.terms for part in model.maps.values()))


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
    has = losses_of(model)
    known = [*LOSSES, *sorted(has - set(LOSSES))]
    for key, names in (("loss", stage.losses), ("loss in losses_until", stage.losses_until)):
        for name in names:
            if name not in known:
                raise unknown_name(key, name, known)
    if not {name for name, weight in stage.losses.items() if weight} & has:
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
