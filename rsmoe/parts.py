"""How a config becomes an object: which parts it may name, with which arguments, and how they are built."""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import partial
from pickle import UnpicklingError
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rsmoe.checks.arguments import check_arguments
from rsmoe.config_folders import conf_dir
from rsmoe.errors import UserError, shown

TRUSTED = ("rsmoe.", "lightning.pytorch.", "torch.optim.")
"""Prefixes that a ``_target_`` may have without further trust."""
FUNCTIONS = (
    "rsmoe.data.readers.own.own_data",
    "rsmoe.experts.language_model.causal_lm",
    "rsmoe.scenes.generated.rsicap",
    "rsmoe.scenes.generated.rsieval",
)
"""The functions that build parts; any other part is a class."""
_ASKED = (
    {
        "trainer": "lightning.pytorch.Trainer",
        "logger": "lightning.pytorch.loggers.Logger",
        "callback.*": "lightning.pytorch.Callback",
        "optimizer": "torch.optim.Optimizer",
        "expert.*": "rsmoe.experts.expert.Expert",
        "lm": "rsmoe.experts.language_model.causal_lm",
        "prompts.lm": "rsmoe.experts.language_model.causal_lm",
        "maps.*": "torch.nn.Module",
    }
    | dict.fromkeys(("vision", "temporal", "qformer", "bypass", "regions"), "torch.nn.Module")
    | dict.fromkeys(("router", "choice", "balance", "prompts", "bank", "fusion"), "torch.nn.Module")
    | dict.fromkeys(("image_head", "text_tower", "pair_loss"), "torch.nn.Module")
)
"""Key of a config -> what the part there has to be: this, or a class of this kind."""
_TAKEN_BY = {"collate": "rsmoe.data.collate.Collate", "raster": "rsmoe.geo.raster.RasterSource"}
"""Last word of a key whose value is a mapping of arguments -> the class that takes them."""
_LIGHTNING = (
    "lightning.pytorch.Trainer", "lightning.pytorch.Callback", "lightning.pytorch.loggers.Logger",
    "lightning.pytorch.strategies.Strategy", "lightning.pytorch.profilers.Profiler",
    "lightning.pytorch.plugins.Precision", "lightning.pytorch.accelerators.Accelerator",
    "torch.optim.Optimizer", "torch.optim.lr_scheduler.LRScheduler",
)  # fmt: skip
"""What classes from outside may be: what a training is made of, and nothing that loads, saves or reads."""
_REFUSALS = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AssertionError, UnpicklingError)
WORDS = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")
"""Keys of a node that are no arguments. The last two change nothing: arguments are plain, and inner nodes are built."""


def instantiate(node: Any, /, **kwargs: Any) -> Any:
    """Builds the object that ``_target_`` names, and first those of the nodes inside; arguments are plain containers.

    Every target is located and every argument checked before anything is built. Strings are taken as they are: the
    interpolations of a plain mapping are not resolved.

    Args:
        node: a mapping with ``_target_``; ``_partial_: true`` gives a ``functools.partial``.
        kwargs: further arguments, which win over those of the node.

    Raises:
        UserError: a target that is not trusted (see `locate`), arguments that it does not take (see `check_arguments`),
            or that it refuses.
    """
    plain = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    if not isinstance(plain, dict) or "_target_" not in plain:
        raise UserError(f"expected a mapping with _target_, got {shown(plain)}")
    whole = {**plain, **kwargs}
    for path, inner, outer in _nodes(whole, ""):
        check_node(path or key_of(inner), inner, outer=outer, whole=True)
    return _build(whole)


def locate(target: Any, *, outer: str | None = None) -> Any:
    """The class or function that a ``_target_`` names.

    Trusted are the classes of rsmoe and `FUNCTIONS`; of Lightning and torch.optim trainers, loggers, callbacks,
    strategies, optimisers and their like, but not inside a part of rsmoe; and what the environment variable RSMOE_TRUST
    (comma-separated) names: a package, a module or one class.

    Args:
        outer: target of the node around this one.

    Raises:
        UserError: it is none of these, or does not exist.
    """
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target, re.ASCII):
        raise UserError(f"_target_ {shown(target)} is not trusted: it is no full name of a class, package.module.Class")
    own = admitted(target)
    if not own and not target.startswith(TRUSTED):
        names = ", ".join([*TRUSTED, *_own()])
        raise UserError(
            f"_target_ {target!r} is not trusted. Allowed: {names}; "
            f"to admit your own package: export RSMOE_TRUST={target.split('.')[0]}"
        )
    try:
        found = pkgutil.resolve_name(target)
    except Exception as error:
        raise UserError(f"_target_ {target!r} cannot be imported: {shown(str(error))}") from error
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if own:  # what one's own module imports is not one's own, unless it is named in full
        good = callable(found) and (admitted(home) or target in _own())
    elif target.startswith("rsmoe."):
        good = target in FUNCTIONS or inspect.isclass(found) and home.startswith("rsmoe.")
    else:
        good = inspect.isclass(found) and issubclass(found, tuple(map(pkgutil.resolve_name, _LIGHTNING)))
        good &= outer is None or outer.startswith(TRUSTED[1:]) or admitted(outer)
    if not good:
        raise UserError(f"_target_ {target!r} is not trusted: it is no part that a config may name here")
    return found


def admitted(target: str) -> bool:
    """Whether RSMOE_TRUST names this target, its module or its package."""
    return any(target == name or target.startswith(f"{name}.") for name in _own())


def check_parts(config: Mapping[str, Any]) -> None:
    """Holds every part that a composed config names against its constructor, and builds nothing.

    Args:
        config: of a command, resolved or not, or a piece of it. Arguments that come later may be missing: widths,
            bands, splits.

    Raises:
        UserError: the first target that is not trusted or is no part of the kind asked for there, or argument that is
            unknown, of another type, out of range or not finite; it names the key of the command line.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    for path, node, outer in _nodes(plain, ""):
        check_node(path, node, outer=outer, whole=False)
    for key in _ASKED:
        value = plain.get(key)
        if (
            key in plain
            and not (isinstance(value, Mapping) and "_target_" in value)
            and (value or key not in _OPTIONAL)
        ):
            raise UserError(f"{key}={shown(value)}: expected a part, {key}=<name>, one of conf/{key}")
    _check_splits(plain.get("corpus"))
    if isinstance(loader := plain.get("loader"), Mapping):
        check_options("loader.collate", loader.get("collate"))
    check_options("raster", plain.get("raster"))


_OPTIONAL = ("bypass", "regions")


def _check_splits(corpus: Any) -> None:
    """What an entry of a corpus changes of its reader for one split, ``corpus.<name>.train``."""
    for name, entry in corpus.items() if isinstance(corpus, Mapping) else ():
        for split, change in entry.items() if isinstance(entry, Mapping) else ():
            if split in ("train", "val", "test") and isinstance(change, Mapping):
                for reader in (entry.get("reader"), entry.get("generated")):
                    if isinstance(reader, Mapping) and "_target_" in reader and change.keys() <= reader.keys():
                        check_node(f"corpus.{name}.{split}", {"_target_": reader["_target_"], **change}, whole=False)


def check_node(key: str, node: Mapping[str, Any], *, outer: str | None = None, whole: bool) -> None:
    """Holds one node of a config, without those inside it, against the constructor of its part."""
    part = locate(node["_target_"], outer=outer)
    for slot, asked in _ASKED.items():
        if fnmatch(key, slot) and key.count(".") == slot.count("."):
            base = pkgutil.resolve_name(asked)
            good = part is base or inspect.isclass(part) and inspect.isclass(base) and issubclass(part, base)
            if not good and not admitted(node["_target_"]):
                raise UserError(f"{key}._target_={node['_target_']}: expected a {asked}")
    given = {name: value for name, value in node.items() if name not in WORDS}
    ours = str(node["_target_"]).startswith("rsmoe.")
    if not ours and not whole:  # a null in the yaml of a trainer or a logger is filled in before it is built
        given = {name: value for name, value in given.items() if value is not None}
    if node.get("_args_"):
        if ours:
            raise UserError(f"{key}._args_: {node['_target_']} takes its arguments by name")
        return
    nested = [name for name, value in given.items() if any(_nodes(value, ""))]
    check_arguments(part, given, key=key, whole=whole and not node.get("_partial_"), named=nested)
    if ours:
        check_options(f"{key}.raster", given.get("raster"))
        if isinstance(given.get("config"), Mapping):
            from rsmoe.checks.architecture import check_architecture  # here: it imports transformers

            check_architecture(given["config"], key=f"{key}.config")


def check_options(key: str, options: Any) -> None:
    """Holds a mapping without ``_target_`` against the class that takes it, `_TAKEN_BY` its last word; None passes.

    Raises:
        UserError: an argument that is unknown, of another type or out of range; something else than a mapping.
    """
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise UserError(f"{key}={shown(options)}: expected a mapping")
    given = {str(name): value for name, value in options.items() if value is not None}
    check_arguments(pkgutil.resolve_name(_TAKEN_BY[key.rpartition(".")[2]]), given, key=key, whole=False)


def named_in_full(target: str) -> bool:
    """Whether RSMOE_TRUST names this very target: for targets out of a file, a package is not enough."""
    return target in _own()


def key_of(node: Mapping[str, Any]) -> str:
    """Where a config has such a part, for messages: the group of ``conf/`` whose yamls name it."""
    target = str(node.get("_target_"))
    group = next((group for group, targets in known_parts().items() if target in targets), "")
    return f"expert.{node['name']}" if group == "expert" and node.get("name") else group


def known_parts() -> Mapping[str, frozenset[str]]:
    """Group of ``conf/`` -> the targets that its yamls name."""
    root = conf_dir()
    if root not in _KNOWN:
        named: dict[str, set[str]] = {}
        for path in sorted(root.glob("*/*.yaml")):
            found = re.findall(r"^_target_: *(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            named.setdefault(path.parent.name, set()).update(found)
        _KNOWN[root] = {group: frozenset(targets) for group, targets in named.items() if targets}
    return _KNOWN[root]


_KNOWN: dict[Any, Mapping[str, frozenset[str]]] = {}


def _own() -> list[str]:
    return [name.strip() for name in os.environ.get("RSMOE_TRUST", "").split(",") if name.strip()]


def _nodes(value: Any, path: str, outer: str | None = None) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Every node in mappings and lists: its key, itself, the target of the node around it. The outer ones come first.

    A tuple holds none: nothing in it is ever built.
    """
    if isinstance(value, dict):
        if "_target_" in value:
            yield path, value, outer
            outer = value["_target_"]
    elif not isinstance(value, list):
        return
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _nodes(inner, f"{path}.{step}" if path else str(step), outer)


def _build(value: Any) -> Any:
    if isinstance(value, list):
        return [_build(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    built = {name: _build(inner) for name, inner in value.items()}
    if "_target_" not in value:
        return built
    part, args = locate(value["_target_"]), built.get("_args_") or []
    given = {name: inner for name, inner in built.items() if name not in WORDS}
    if value.get("_partial_"):
        return partial(part, *args, **given)
    try:
        return part(*args, **given)
    except UserError:
        raise
    except Exception as error:  # what torch, transformers and Lightning say of a number or a name
        if not isinstance(error, _REFUSALS) and type(error).__name__ != "MisconfigurationException":
            raise
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        key = key_of(value)
        raise UserError(f"{key and key + ': '}{value['_target_']} refuses its arguments: {first}") from error
