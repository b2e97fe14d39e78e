"""Everything that can be known before the work: of one job, or of every job of a sweep."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from rsmoe.cli.words import option_words, spelled, split_words
from rsmoe.config import check_config_folder, compose, config_groups
from rsmoe.errors import UserError, unknown_name
from rsmoe.files import require_writable
from rsmoe.parts import check_parts, locate
from rsmoe.settings import Settings, check, settings_of

MOST_JOBS = 16
"""Jobs of a sweep that are checked in every combination; of more, each value is checked once."""
MOST_VALUES = 1000
"""Values of one key in a sweep that are looked at."""
_UNCHECKED = ("hydra_help", "shell_completion", "experimental_rerun", "config_name", "config_path")
"""Options that are Hydra's own business."""


def checked(name: str, words: Sequence[str], *, before: Sequence[str] = ()) -> list[str]:
    """The words of a command line as Hydra reads them, where all jobs that they ask for can begin.

    Args:
        name: of the command.
        words: as typed.
        before: words that come first and are in Hydra's grammar already, none of them an option.

    Raises:
        UserError: the first thing that cannot be, in one line.
    """
    settings = settings_of(name)
    options, given = split_words(words)
    own = option_words(options)
    if any(getattr(options, option) for option in _UNCHECKED):
        return [*own, *given]
    overrides = [*before, *(spelled(word, settings) for word in given)]
    folder = options.config_dir
    if folder:
        typed = [override.lstrip("+").partition("=")[0].split("@")[0] for override in overrides]
        check_config_folder(folder, [*settings.groups, *typed], name)
    _check_groups(settings, overrides, config_groups(folder))
    parsed = [_parsed(override) for override in overrides]
    cfg = compose(_first(parsed), name=name, extra=folder, with_hydra=True)
    swept = options.multirun or cfg.hydra.mode == RunMode.MULTIRUN
    jobs = [_first(parsed)]
    if swept:
        params = cfg.hydra.sweeper.get("params") or {}
        jobs = _jobs([*(_parsed(f"{key}={value}") for key, value in params.items()), *parsed])
    else:
        for override, asked in zip(overrides, parsed, strict=True):
            if asked.is_sweep_override():
                raise UserError(f"{override}: several values are a sweep, which takes -m; a list is written key=[a,b]")
    for place, job in enumerate(jobs):
        if place or swept:
            cfg = compose(job, name=name, extra=folder, with_hydra=True)
        if options.info is None and options.cfg is None:
            _check_job(settings, cfg, given)
    if options.info is None and options.cfg is None:
        _check_folder(cfg, "sweep" if swept else "run")
    return [*own, *overrides]


def check_config(settings: type[Settings], cfg: DictConfig) -> dict[str, Any]:
    """A job's config in plain containers, where it is as its settings say.

    Raises:
        UserError: keys that have to be given, or a value that is wrong.
    """
    try:
        missing = OmegaConf.missing_keys(cfg)
    except InterpolationToMissingValueError as error:  # another key repeats it
        missing = {str(error).splitlines()[0].rpartition(": ")[2]}
    if missing:
        raise UserError(f"give {', '.join(f'{key}=...' for key in sorted(missing))}")
    try:
        config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration does not resolve: {str(error).splitlines()[0]}") from error
    check(settings, config)
    check_parts(config)
    return config


def _check_job(settings: type[Settings], cfg: DictConfig, given: Sequence[str]) -> None:
    """As in the job, where ``${hydra:...}`` is known."""
    before = HydraConfig.instance().cfg
    with read_write(cfg), open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(Path(cfg.hydra.run.dir).absolute())
        HydraConfig.instance().set_config(cfg.copy())
        cfg = cfg.copy()
        del cfg["hydra"]
    try:
        _check_templates(check_config(settings, cfg), given)
    finally:
        HydraConfig.instance().cfg = before


def _check_templates(config: Mapping[str, Any], given: Sequence[str]) -> None:
    """A template of an expert that is typed, where the prompts have no words."""
    typed = next((w for w in given if re.match(r"\+*expert\.[^.=]+\.template=", w)), None)
    if typed and not getattr(locate(config["prompts"]["_target_"]), "reads_templates", True):
        raise UserError(
            f"{typed} has no effect: the prompts of this run are learned vectors, without words. "
            f"Add prompts=template, or prompts=text, which learns to write it"
        )


def _check_folder(cfg: DictConfig, mode: str) -> None:
    """Hydra's folder of a run or a sweep, which it makes before the job begins."""
    folder = Path(str(cfg.hydra[mode].dir))
    if not folder.is_dir() or cfg.hydra.output_subdir is not None:
        try:
            require_writable(folder, "")
        except UserError as error:
            raise UserError(f"hydra.{mode}.dir={folder}: {error}") from None


def _check_groups(settings: type[Settings], overrides: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    """A group that another command has."""
    keys = {f.alias or n for n, f in settings.model_fields.items()}
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "data" and key in keys and key not in settings.groups:
            more = f"; a training takes corpus=<name>: {', '.join(groups['corpus'])}" if "corpus" in keys else ""
            raise UserError(f"data={value}: this command takes the folder of data sets, data.root=/path{more}")
        if key in groups and key not in settings.groups and key not in keys and "/" not in key:
            raise unknown_name("key", key, [*keys, *settings.groups])


def _parsed(override: str) -> Override:
    try:
        return OverridesParser.create().parse_override(override)
    except (HydraException, ValueError, RecursionError) as error:  # a number of more digits than Python reads
        key, _, value = override.partition("=")
        shown = value if len(value) < 80 else f"{value[:60]} ..."
        why = (
            "the value is too long, or too deep"
            if not isinstance(error, HydraException)
            else "its signs have a meaning to Hydra"
        )
        raise UserError(
            f"cannot read {key}={shown}: {why}. A text goes in two pairs of quotes: \"{key}='...'\""
        ) from None


def _first(parsed: Sequence[Override]) -> list[str]:
    return [_values(override)[0] for override in parsed]


def _values(override: Override) -> list[str]:
    """Each value of a sweep as an override of its own; of a range or an interval, its two ends."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    key = override.get_key_element()
    if override.is_discrete_sweep():
        found = [f"{key}={value}" for value in itertools.islice(override.sweep_string_iterator(), MOST_VALUES)]
        if not found:
            raise UserError(f"{override.input_line}: no value to sweep over")
        return list(dict.fromkeys((found[0], found[-1]))) if override.is_range_sweep() else found
    interval: Any = override.value()
    return [f"{key}={end}" for end in (interval.start, interval.end)]


def _jobs(parsed: Sequence[Override]) -> list[list[str]]:
    """The overrides of each job, a later one of the same key in place of an earlier one, as Hydra's sweeper does."""
    values = {override.get_key_element(): _values(override) for override in parsed}
    total = 1
    for own in values.values():
        total *= len(own)
    if total <= MOST_JOBS:
        return [list(job) for job in itertools.product(*values.values())]
    first = {key: own[0] for key, own in values.items()}
    return [list((first | {key: value}).values()) for key, own in values.items() for value in own]
