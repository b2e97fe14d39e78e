"""How a config becomes an object, and which objects a config may name."""

from __future__ import annotations

import os
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from rsmoe.errors import UserError

TRUSTED = ("rsmoe.", "torch.optim.", "lightning.pytorch.")
"""Prefixes that a ``_target_`` may have: a checkpoint carries its config, and must not be able to run anything else."""


def instantiate(node: Any, **kwargs: Any) -> Any:
    """Builds the object that ``_target_`` names, with plain Python containers as arguments.

    A target outside `TRUSTED` is refused, unless its top package is listed in the environment variable RSMOE_TRUST
    (comma-separated): that is how code of your own is admitted.
    """
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    if not isinstance(plain, dict) or "_target_" not in plain:
        raise UserError(f"expected a mapping with _target_, got {plain!r}")
    for target in _targets(plain):
        locate(target)
    try:
        return hydra.utils.instantiate(plain, _convert_="all", **kwargs)
    except InstantiationException as error:  # what a constructor says to the user must reach the user
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError) and "argument" in str(error.__cause__):
            raise UserError(f"{plain['_target_']} does not take these arguments: {error.__cause__}") from error
        raise


def locate(target: str) -> Any:
    """The class or function that a ``_target_`` names.

    Raises:
        UserError: it is outside of what is trusted, see `instantiate`, or does not exist.
    """
    own = tuple(f"{name.strip()}." for name in os.environ.get("RSMOE_TRUST", "").split(",") if name.strip())
    trusted = TRUSTED + own
    if not target.startswith(trusted):
        raise UserError(
            f"_target_ {target!r} is not trusted. Allowed: {', '.join(trusted)}; "
            f"to admit your own package: export RSMOE_TRUST={target.split('.')[0]}"
        )
    try:
        found = hydra.utils.get_object(target)
    except Exception as error:
        raise UserError(f"_target_ {target!r} cannot be imported: {error.__cause__ or error}") from error
    home = f"{getattr(found, '__module__', '')}."
    if not callable(found) or not home.startswith(trusted):  # what a trusted module imports: rsmoe.config.os.system
        raise UserError(f"_target_ {target!r} is not trusted: it is no class or function of {', '.join(trusted)}")
    return found


def _targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["_target_"])] if "_target_" in node else []
        return own + [t for value in node.values() for t in _targets(value)]
    if isinstance(node, list):
        return [t for value in node for t in _targets(value)]
    return []
