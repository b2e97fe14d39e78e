"""A stage held against the model that it is to train, before the first step."""

from __future__ import annotations

from typing import Any

from torch import nn

from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.freeze import matching, set_trainable
from rsmoe.training.stage_losses import weighed


def fitted(model: RSMoE, stage: Stage) -> Stage:
    """The stage with all its losses, see `weighed`, where the model has what it names: parameters that train, rates.

    Raises:
        UserError: a pattern that matches nothing, or a rate of nothing that trains; see also `weighed`.
    """
    trained = trainable(model, stage)
    for pattern in stage.lr_groups:
        if has_part(model, pattern) and not set(matching(model, pattern)) & set(trained):
            raise UserError(
                f"stage.{stage.name}.lr_groups: nothing that {pattern!r} names trains in this stage "
                f"(train: {', '.join(stage.train)}). Take it out, or let it train"
            )
    return weighed(model, stage, trained)


def trainable(model: RSMoE, stage: Stage) -> list[str]:
    """Freezes all but what the stage trains; names of that."""
    try:
        return set_trainable(model, [pattern for pattern in stage.train if has_part(model, pattern)])
    except UserError as error:
        raise UserError(f"stage.{stage.name}.train: {error}") from error


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
    """False for a pattern of a part that this model has none of (``maps``, with ``maps=[]``), or that learns nothing: a
    stage serves all models."""
    part: Any = model
    for name in pattern.removeprefix("-").split("[")[0].split("."):
        if not hasattr(part, name):
            break  # a glob, or a mistake that `matching` explains
        part = getattr(part, name)
    return part is not None and (not isinstance(part, nn.Module) or any(True for _ in part.parameters()))
