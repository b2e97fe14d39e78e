"""A control in the place of the router of a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from rsmoe.build import build_router
from rsmoe.errors import UserError
from rsmoe.model import RSMoE


def with_control(
    model: RSMoE, config: Mapping[str, Any], router: Mapping[str, Any], *, vocab_size: int
) -> dict[str, Any]:
    """Puts a router that needs no training (uniform, hash, oracle) into the model; experts and perception stay.

    Args:
        model: changed in place.

    Returns:
        the config with the control in it.

    Raises:
        UserError: the model has one expert, or the router has weights, which would be random here.
    """
    if model.dense:
        raise UserError(f"router={_name(router)}: this checkpoint has one expert, so that there is nothing to route")
    changed = {**config, "router": dict(router)}
    sizes = {"width": model.qformer.width, "memory_width": model.vision.width, "experts": model.bank.size}
    control = build_router(changed, vocab_size=vocab_size, **sizes)
    assert isinstance(control, nn.Module)
    if control.state_dict():
        raise UserError(
            f"router={_name(router)} has weights, which this checkpoint does not hold: expected one of uniform, hash, "
            f"oracle. To train it: python -m rsmoe.train experiment=<name> router={_name(router)}"
        )
    model.router = control
    return changed


def _name(router: Mapping[str, Any]) -> str:
    return str(router["_target_"]).split(".")[-2]
