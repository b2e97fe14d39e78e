"""Where ``conf/`` is, how it is composed, and how a command reads its words."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import rsmoe.as_trained  # noqa: F401  # the resolver of conf/train.yaml
from rsmoe.errors import UserError, unknown_name


def conf_dir() -> Path:
    """The folder of configs: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError(f"no conf/ beside {package}; reinstall with: pip install --force-reinstall rsmoe")


def compose(overrides: Sequence[str], *, name: str = "train", extra: str | None = None) -> DictConfig:
    """Composes ``conf/<name>.yaml`` with command-line overrides; a mistyped name lists the names that exist.

    Args:
        overrides: Hydra overrides, "experiment=rsicap_moe", "schedule.stages.0.steps=10".
        name: primary config.
        extra: another config folder, searched beside ours.
    """
    search = [f"hydra.searchpath=[file://{Path(extra).absolute()}]"] if extra else []
    groups = _groups(conf_dir(), *([Path(extra)] if extra else []))
    _check_choices(overrides, groups)  # Hydra passes over an optional group that does not exist
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3", job_name=name):
            cfg = hydra.compose(config_name=name, overrides=[*overrides, *search])
        OmegaConf.resolve(cfg)
        return cfg
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error, overrides, search, groups, name) from error


def main(name: str, *, literal: Sequence[str] = ()) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Decorator of an entry point: ``hydra.main`` (multirun, launchers), with errors that a user can act on.

    Args:
        name: primary config.
        literal: keys whose values are taken word for word, with commas and quotes, not as Hydra's grammar.
    """

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def guarded(cfg: DictConfig) -> None:
            try:
                if missing := OmegaConf.missing_keys(cfg):
                    raise UserError(f"give {', '.join(f'{key}=...' for key in sorted(missing))}")
                task(cfg)
            except UserError as error:  # out of a loader's worker it comes with that worker's traceback
                sys.exit(f"error: {str(error).rpartition('UserError: ')[2].strip()}")

        def entry() -> None:
            sys.argv[1:] = [_quoted(word, literal) for word in sys.argv[1:]]
            options, overrides = _command_line(sys.argv[1:])
            if not options & {"-m", "--multirun", "--help", "-h", "--hydra-help", "--info", "-i"}:
                try:
                    own = [w for w in overrides if not w.startswith(("hydra.", "hydra/"))]
                    compose(own, name=name, extra=_config_folder(sys.argv[1:]))
                except UserError as error:
                    sys.exit(f"error: {error}")
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(guarded)()

        return entry

    return decorate


def _quoted(word: str, literal: Sequence[str]) -> str:
    key, equals, value = word.partition("=")
    if not equals or key not in literal or not value or value[0] in "['\"" or value == "null":
        return word
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value)
    return f"{key}='{escaped}'"


def _command_line(words: Sequence[str]) -> tuple[set[str], list[str]]:
    """Options and overrides."""
    options = {w.partition("=")[0] for w in words if w.startswith("-")}
    return options, [w for w in words if "=" in w and not w.startswith(("-", "/", "."))]


def _config_folder(words: Sequence[str]) -> str | None:
    """What follows --config-dir."""
    for place, word in enumerate(words):
        option, _, value = word.partition("=")
        if option in ("--config-dir", "-cd"):
            return value or next(iter(words[place + 1 :]), None)
    return None


def _groups(*roots: Path) -> dict[str, list[str]]:
    """Name of each config group -> the names in it, over all folders."""
    found: dict[str, list[str]] = {}
    for root in roots:
        for path in root.rglob("*.yaml"):
            if path.parent != root:
                found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path.stem)
    return found


def _check_choices(overrides: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        group = key.split("@")[0]
        if group in groups:
            for choice in (part.strip() for part in value.strip("[]").split(",")):
                if choice and choice != "null" and choice not in groups[group]:
                    raise unknown_name(group.replace("/", " "), choice, groups[group])


def _explain(
    error: Exception, overrides: Sequence[str], search: Sequence[str], groups: Mapping[str, Sequence[str]], name: str
) -> UserError:
    """The first key that does not exist, with the names it could have had."""
    choices = [o for o in overrides if o.lstrip("+").partition("=")[0].split("@")[0] in groups]
    for override in overrides:
        if override in choices or override.startswith("+"):
            continue
        with hydra.initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3"):
            try:
                node: Any = hydra.compose(config_name=name, overrides=[*choices, *search])
            except (HydraException, OmegaConfBaseException):
                continue
        path = override.lstrip("~").partition("=")[0].split(".")
        for depth, part in enumerate(path):
            if OmegaConf.is_list(node):
                known = [str(i) for i in range(len(node))]
            else:
                known = [str(k) for k in node] if isinstance(node, DictConfig) else []
            if part not in known:
                kind = f"key under {'.'.join(path[:depth])!r}" if depth else "key"
                hint = f" To add one that is not listed: +{override}" if depth and isinstance(node, DictConfig) else ""
                return UserError(f"{unknown_name(kind, part, [*known, *([] if depth else groups)])}{hint}")
            if depth < len(path) - 1:
                node = node[int(part)] if OmegaConf.is_list(node) else node[part]
    return UserError(f"the configuration does not compose: {str(error).splitlines()[0]}")
