"""Where ``conf/`` is, how it is composed, and how a config becomes an object."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rsmoe.errors import UserError, unknown_name

TRUSTED = ("rsmoe.", "torch.optim.", "lightning.pytorch.")
"""Prefixes that a ``_target_`` may have: a checkpoint carries its config, and must not be able to run anything else."""


def conf_dir() -> Path:
    """The folder of configs: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError(f"no conf/ beside {package}; reinstall with: pip install --force-reinstall rsmoe")


def instantiate(node: Any, **kwargs: Any) -> Any:
    """Builds the object that ``_target_`` names, with plain Python containers as arguments.

    A target outside `TRUSTED` is refused, unless its top package is listed in the environment variable RSMOE_TRUST
    (comma-separated): that is how code of your own is admitted.
    """
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    if not isinstance(plain, dict) or "_target_" not in plain:
        raise UserError(f"expected a mapping with _target_, got {plain!r}")
    own = tuple(f"{name.strip()}." for name in os.environ.get("RSMOE_TRUST", "").split(",") if name.strip())
    for target in _targets(plain):
        if not target.startswith(TRUSTED + own):
            raise UserError(
                f"_target_ {target!r} is not trusted. Allowed: {', '.join(TRUSTED + own)}; "
                f"to admit your own package: export RSMOE_TRUST={target.split('.')[0]}"
            )
    try:
        return hydra.utils.instantiate(plain, _convert_="all", **kwargs)
    except InstantiationException as error:  # what a constructor says to the user must reach the user
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def compose(overrides: Sequence[str], *, name: str = "train", extra: str | None = None) -> DictConfig:
    """Composes ``conf/<name>.yaml`` with command-line overrides; a mistyped name lists the names that exist.

    Args:
        overrides: Hydra overrides, "experiment=rsicap_moe", "schedule.stages.0.steps=10".
        name: primary config.
        extra: another config folder, searched beside ours.
    """
    search = [f"hydra.searchpath=[file://{extra}]"] if extra else []
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3", job_name=name):
            cfg = hydra.compose(config_name=name, overrides=[*overrides, *search])
        OmegaConf.resolve(cfg)
        return cfg
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error, overrides, name) from error


def main(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Decorator of an entry point: ``hydra.main`` (multirun, launchers), with errors that a user can act on."""

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def guarded(cfg: DictConfig) -> None:
            try:
                task(cfg)
            except UserError as error:  # out of a loader's worker it comes with that worker's traceback
                sys.exit(f"error: {str(error).rpartition('UserError: ')[2].strip()}")

        def entry() -> None:
            words = [a for a in sys.argv[1:] if "=" in a and not a.startswith("-")]
            if not any(a in sys.argv for a in ("-m", "--multirun", "--help", "-h", "--info", "--config-dir")):
                try:
                    compose([w for w in words if not w.startswith(("hydra.", "hydra/"))], name=name)
                except UserError as error:
                    sys.exit(f"error: {error}")
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(guarded)()

        return entry

    return decorate


def _targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["_target_"])] if "_target_" in node else []
        return own + [t for value in node.values() for t in _targets(value)]
    if isinstance(node, list):
        return [t for value in node for t in _targets(value)]
    return []


def _explain(error: Exception, overrides: Sequence[str], name: str) -> UserError:
    """The first override that is wrong, with the names it could have had."""
    root = conf_dir()
    groups = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_dir()}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        group = key.split("@")[0]
        if group in groups:
            known = sorted(p.stem for p in (root / group).glob("*.yaml"))
            for choice in value.strip("[]").split(","):
                if choice and choice not in known:
                    return unknown_name(group.replace("/", " "), choice, known)
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].split("@")[0]
        if key in groups or override.startswith("+"):
            continue
        fitting = [o for o in overrides if o != override and o.partition("=")[0] in groups]
        with hydra.initialize_config_dir(config_dir=str(root), version_base="1.3"):
            try:
                node: Any = hydra.compose(config_name=name, overrides=fitting)
            except (HydraException, OmegaConfBaseException):
                continue
        path = key.split(".")
        for depth, part in enumerate(path):
            names = [str(k) for k in node] if isinstance(node, DictConfig) else []
            if isinstance(node, DictConfig) and part not in node:
                known = names + (sorted(groups) if depth == 0 else [])
                kind = f"key under {'.'.join(path[:depth])!r}" if depth else "key"
                return unknown_name(kind, part, known)
            node = node[int(part)] if part.isdigit() and not isinstance(node, DictConfig) else node[part]

    return UserError(f"the configuration does not compose: {str(error).splitlines()[0]}")
