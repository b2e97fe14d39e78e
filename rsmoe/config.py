"""How ``conf/`` is composed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

import rsmoe.weights.as_trained  # noqa: F401  # a resolver
from rsmoe.checks.yaml_file import check_yaml
from rsmoe.config_folders import conf_dir as conf_dir
from rsmoe.errors import UserError, unknown_name
from rsmoe.launch import stamp
from rsmoe.settings import settings_of
from rsmoe.world import is_generated

MOST_FILES = 5000
"""Most files of a --config-dir."""

OmegaConf.register_new_resolver("stamp", stamp, replace=True, use_cache=True)


def compose(
    overrides: Sequence[str], *, name: str = "train", extra: str | None = None, with_hydra: bool = False
) -> DictConfig:
    """Composes ``conf/<name>.yaml`` with command-line overrides; a mistyped name lists the names that exist.

    Args:
        overrides: Hydra overrides, "experiment=rsicap_moe", "stage.dense.steps=10".
        name: primary config.
        extra: another config folder, searched beside ours.
        with_hydra: keeps the node ``hydra``, and the interpolations as they are.
    """
    search = [f"hydra.searchpath=[{quoted(f'file://{Path(extra).absolute()}')}]"] if extra else []
    groups = config_groups(extra)
    _check_choices(overrides, groups)  # Hydra passes over an optional group that does not exist
    GlobalHydra.instance().clear()
    try:
        cfg = _composed([*overrides, *search], name=name, with_hydra=with_hydra)
        if name == "train":
            generated = is_generated(_plain(cfg, "corpus", "data", "world"))
            if cfg.real and not generated:
                typed = {_key(word) for word in overrides}
                added = [word for word in cfg.real if _key(word) not in typed]
                cfg = _composed([*added, *overrides, *search], name=name, with_hydra=with_hydra)
            cfg.world = "generated" if generated else "real"
            _chosen(cfg, "stage", groups["stage"], overrides, mark="name")
            if not _chosen(cfg, "maps", groups["maps"], overrides, mark="_target_"):
                _without_maps(cfg, overrides)
        if not with_hydra:
            OmegaConf.resolve(cfg)
        return cfg
    except (HydraException, OmegaConfBaseException) as error:
        own = {group: names for group, names in groups.items() if group in settings_of(name).groups}
        raise _explain(error, overrides, search, own, name) from error


def quoted(value: str, *, interpolate: bool = False) -> str:
    """A word in Hydra's grammar that means these characters; ``${...}`` is none of OmegaConf's unless asked for."""
    if not interpolate:
        value = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", value)
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value) + "'"


def _composed(words: Sequence[str], *, name: str, with_hydra: bool) -> DictConfig:
    with hydra.initialize_config_dir(config_dir=str(conf_dir()), version_base="1.3", job_name=name):
        return hydra.compose(config_name=name, overrides=list(words), return_hydra_config=with_hydra)


def _plain(cfg: DictConfig, *keys: str) -> dict[str, Any]:
    nodes = {key: cfg.get(key) for key in keys}
    return {k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in nodes.items()}


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _chosen(cfg: DictConfig, group: str, known: Sequence[str], overrides: Sequence[str], *, mark: str) -> list[str]:
    """Takes out what an experiment says of stages, or maps, that are not chosen; the names of those that are.

    Args:
        known: names that the group has.
        mark: a key that only the yaml of a chosen one brings.
    """
    parts = cfg.get(group)
    if not isinstance(parts, DictConfig):  # none is chosen
        return []
    idle = [str(n) for n, part in parts.items() if isinstance(part, DictConfig) and mark not in part]
    chosen = [str(n) for n in parts if n not in idle]
    for name in idle:
        if name not in known:
            raise unknown_name(group, name, known)
        typed = next((word for word in overrides if _key(word).startswith(f"{group}.{name}.")), None)
        if typed:
            raise UserError(
                f"{typed}: the choice of this run is {group}=[{','.join(chosen)}]. Choose that one too, for example "
                f"{group}=[{','.join([name, *chosen])}], or leave the word out"
            )
    if idle:
        OmegaConf.resolve(parts)  # one may take values of another that is not chosen
        with read_write(cfg), open_dict(cfg):
            for name in idle:
                del cfg[group][name]
    return chosen


def _without_maps(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """A run without maps has no teacher forcing of them, unless it is typed: then the stage says what is wrong."""
    typed = {_key(word) for word in overrides}
    for name in map(str, cfg.stage if isinstance(cfg.stage, DictConfig) else ()):
        stage = cfg.stage[name]
        forced = isinstance(stage, DictConfig) and "teacher_forcing" in stage
        if forced and f"stage.{name}.teacher_forcing" not in typed:
            stage.teacher_forcing = [0.0, 0.0]


def config_groups(extra: str | None = None) -> dict[str, list[str]]:
    """Name of each config group -> the names in it, of our folder and another one."""
    found: dict[str, list[str]] = {}
    for root in (conf_dir(), *([Path(extra)] if extra else [])):
        for path in _yaml_files(root):
            if path.parent != root:
                found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path.stem)
    return found


def check_config_folder(folder: str, groups: Sequence[str], name: str) -> None:
    """Nothing, where Hydra can read a --config-dir in a moment.

    Args:
        folder: as typed.
        groups: whose files are read.
        name: of the command.

    Raises:
        UserError: no folder, or one that may not be read, one of too many files, or a yaml over the limits.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"--config-dir={folder}: {'is a file' if root.exists() else 'there is no such folder'}")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"--config-dir={folder}: no permission to read it")
    for path in _yaml_files(root):
        group = path.parent.relative_to(root).as_posix()
        if group in groups or (path.parent == root and path.stem == name):
            check_yaml(path)


def _yaml_files(root: Path) -> Iterator[Path]:
    seen = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        seen += len(files) + len(folders)
        if seen > MOST_FILES:
            raise UserError(f"{root} holds more than {MOST_FILES:,} files, so that it is no folder of configs")
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".yaml"))


def _check_choices(overrides: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        group = key.split("@")[0]
        if group in groups:
            for choice in (part.strip().strip("'\"") for part in value.strip("[]").split(",")):
                if choice and choice != "null" and choice not in groups[group]:
                    raise unknown_name(group.replace("/", " "), choice, groups[group])


def _explain(
    error: Exception, overrides: Sequence[str], search: Sequence[str], groups: Mapping[str, Sequence[str]], name: str
) -> UserError:
    """The first key that does not exist, with the names it could have had."""
    choices = [o for o in overrides if o.lstrip("+").partition("=")[0].split("@")[0] in groups]
    for override in overrides:
        if override in choices or override.startswith(("+", "hydra.", "hydra/")):
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
    return UserError(f"the configuration does not compose: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in f"{error} {error.__cause__ or ''}".splitlines() if line.strip()]
    return " ".join(lines[:3]) if lines else type(error).__name__
