"""Checks of a stage against the model that it trains, before the first step."""

from __future__ import annotations

from typing import Any

from torch import nn

from rsmoe.errors import UserError
from rsmoe.model import RSMoE
from rsmoe.settings.stage import Stage
from rsmoe.training.freeze import matching, set_trainable
from rsmoe.training.stage_losses import with_losses


def fitted(model: RSMoE, stage: Stage) -> Stage:
    """The stage with all its losses, see `with_losses`, checked against the model.

    Raises:
        UserError: a pattern that matches no parameter, or a learning rate for parameters that do not train; see also
            `with_losses`.
    """
    trained = trainable(model, stage)
    for pattern in stage.lr_groups:
        if has_part(model, pattern) and not set(matching(model, pattern)) & set(trained):
            raise UserError(
                f"stage.{stage.name}.lr_groups: nothing that {pattern!r} names trains in this stage "
                f"(train: {', '.join(stage.train)}). Take it out, or let it train"
            )
    return with_losses(model, stage, trained)


def trainable(model: RSMoE, stage: Stage) -> list[str]:
    """Freezes all parameters but those that the stage trains; the names of these."""
    try:
        return set_trainable(model, [pattern for pattern in stage.train if has_part(model, pattern)])
    except UserError as error:
        raise UserError(f"stage.{stage.name}.train: {error}") from error


def learning_rates(model: RSMoE, stage: Stage) -> dict[str, float]:
    """Parameter -> learning rate, for those that a pattern of ``lr_groups`` matches; the first pattern decides.

    Raises:
        UserError: a pattern that matches nothing, see `rsmoe.training.freeze.matching`.
    """
    rates: dict[str, float] = {}
    for pattern, rate in stage.lr_groups.items():
        if has_part(model, pattern):
            rates = dict.fromkeys(matching(model, pattern), rate) | rates
    return rates


def has_part(model: nn.Module, pattern: str) -> bool:
    """False for a pattern that begins with a part which this model lacks (``maps``, with ``maps=[]``) or which has no
    parameters: one yaml of a stage serves all models, so that such a pattern is no mistake."""
    part: Any = model
    for name in pattern.removeprefix("-").split("[")[0].split("."):
        if not hasattr(part, name):
            break  # a glob, or a mistake that `matching` explains
        part = getattr(part, name)
    return part is not None and (not isinstance(part, nn.Module) or any(True for _ in part.parameters()))
