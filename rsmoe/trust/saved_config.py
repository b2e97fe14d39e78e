"""A config out of a file: data about known parts, and nothing else. Nothing else in it is ever built."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsmoe.checks.arguments import explained
from rsmoe.checks.ranges import Depth, Positive, PositiveReal
from rsmoe.errors import UserError, shown
from rsmoe.parts import FUNCTIONS, admitted, check_node, check_options, known_parts, locate, named_in_full
from rsmoe.trust.plain import check_architecture_words, nodes, require_names, require_plain

_BUILT = ("vision", "temporal", "qformer", "router", "choice", "balance", "prompts", "lm", "bank", "fusion")
"""Keys of a config whose parts are built from a checkpoint; ``expert.*``, ``maps.*``, ``bypass`` and ``regions``
beside them."""
NAMED = ("trainer", "logger", "callback", "optimizer", "corpus", "data", "evaluation")
"""Keys whose parts are named in a checkpoint, for the record, and never built from it."""

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class _Moe(BaseModel, **_STRICT):
    adapters: Depth | None


class _Text(BaseModel, **_STRICT):
    lm: str | None
    instruction: str | None


class _Seen(BaseModel, **_STRICT):
    """What a model and its pictures take from a config beside its parts."""

    bands: Positive
    image_size: Annotated[int, Field(ge=1, le=2**15)]
    mean: list[float]
    std: list[PositiveReal]
    noun_grounding: bool
    maps: dict[str, dict[str, Any]]
    moe: _Moe
    text: _Text
    loader: dict[str, Any]
    expert: dict[str, dict[str, Any]]


def check_saved_config(config: Any) -> None:
    """Refuses a config out of a file, a checkpoint's or a run folder's, that is more than data about known parts.

    Of the parts that are built from it, each must be one that a yaml of rsmoe's own ``conf/`` names for that key, or be
    named in full in the environment variable RSMOE_TRUST, and its arguments those that it takes. Trainer, logger, data
    and metrics are named for the record: they must be parts too, and are not built. There are no interpolations, no
    ``_args_`` or ``_partial_``, no other containers than lists and mappings, no address in place of a name or a folder.

    Raises:
        UserError: the key, and what was found there.
    """
    try:
        require_plain(config, "config")
        if not isinstance(config, dict):
            raise UserError(f"config={shown(config)}: expected a mapping")
        _check_seen(config)
        slots = _slots(config)
        own = [node["_target_"] for path, node in nodes(config, "") if path in slots and _is_own(node.get("_target_"))]
        for path, node in nodes(config, ""):
            _check_words(path, node, inside=path.split(".")[0])
            if "_target_" not in node:
                continue
            if path in slots:
                _check_part(path, node, group=slots[path], own=own)
            elif path.split(".")[0] in NAMED:
                _check_named(path, node["_target_"])
            else:
                raise UserError(f"{path}._target_={shown(node['_target_'])}: no part belongs there")
        for path in slots:
            if "_target_" not in _at(config, path):
                raise UserError(f"{path} has no _target_")
    except UserError as error:
        raise UserError(f"the config in this file cannot be used: {error}") from None


def _slots(config: Mapping[str, Any]) -> dict[str, str]:
    """Key of each part that is built -> the group of ``conf/`` that it must be of."""
    slots = {key: key for key in _BUILT}
    slots |= {key: key for key in ("bypass", "regions") if config.get(key)}
    slots |= {f"maps.{name}": "maps" for name, node in config["maps"].items() if "_target_" in node}
    slots |= {f"expert.{name}": "expert" for name in config["expert"]}
    if isinstance(config.get("prompts"), dict) and config["prompts"].get("lm"):
        slots["prompts.lm"] = "lm"
    for path in slots:
        if not isinstance(_at(config, path), dict):
            raise UserError(f"{path}={shown(_at(config, path))}: expected a part, a mapping with _target_")
    return slots


def _at(config: Mapping[str, Any], path: str) -> Any:
    first, _, rest = path.partition(".")
    return config.get(first, {}).get(rest) if rest else config.get(first)


def _check_seen(config: Mapping[str, Any]) -> None:
    try:
        _Seen.model_validate(config)
    except ValidationError as error:
        raise explained("", config, error) from None
    if not len(config["mean"]) == len(config["std"]) == config["bands"]:
        raise UserError(f"mean, std and bands={config['bands']}: expected one value for each band")
    if not config["expert"]:
        raise UserError("expert={}: expected one or more")
    check_options("loader.collate", config["loader"].get("collate"))


def _check_named(path: str, target: Any) -> None:
    """A part that is not built: one that a user could have typed."""
    listed = isinstance(target, str) and any(target in names for names in (FUNCTIONS, *known_parts().values()))
    try:
        if not listed and not (isinstance(target, str) and admitted(target)):
            locate(target)
    except UserError:
        raise _untrusted(path, target, "no part of rsmoe or Lightning") from None


def _check_part(path: str, node: Mapping[str, Any], *, group: str, own: Sequence[str]) -> None:
    target = node["_target_"]
    if not isinstance(target, str) or target not in known_parts()[group] and not named_in_full(target):
        raise _untrusted(path, target, f"no part of rsmoe that goes there, as those of conf/{group} do", own)
    check_node(path, node, whole=False)
    require_names(path, node)
    if isinstance(node.get("config"), dict):
        check_architecture_words(f"{path}.config", node["config"])


def _untrusted(path: str, target: Any, reason: str, own: Sequence[str] = ()) -> UserError:
    names = ",".join(dict.fromkeys(own or [str(target)]))
    advice = f". Only if you wrote it yourself: export RSMOE_TRUST={names}" if _is_own(target) else ""
    return UserError(f"{path}._target_={shown(target)} is not trusted: {reason}{advice}")


def _is_own(target: Any) -> bool:
    """Whether a target may be code of the user's own: nobody is advised to trust the rest of Python."""
    top = str(target).split(".")[0]
    return isinstance(target, str) and top not in sys.stdlib_module_names and top not in ("rsmoe", "lightning", "torch")


def _check_words(path: str, node: Mapping[Any, Any], *, inside: str) -> None:
    """Of the keys that begin with an underscore, only those that mean nothing here or are for the record."""
    for key in node:
        if isinstance(key, str) and key.startswith("_"):
            recorded = key == "_partial_" and inside in NAMED
            if key not in ("_target_", "_convert_") and not recorded:
                raise UserError(f"{path + '.' if path else ''}{key}: a saved config has no such key")
