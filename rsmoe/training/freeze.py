"""Which parameters train, by pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from torch import nn

from rsmoe.errors import UserError

_SLICE = re.compile(r"^(.*?)\[(-?\d*)(:?)(-?\d*)\](.*)$")


def set_trainable(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Freezes everything, then applies patterns in order; the last one that matches a parameter decides.

    A pattern names a parameter, or a module with all below it. ``*`` stands for any characters, dots too, ``?`` for
    one; a leading ``-`` freezes; brackets pick items of a list of modules, as Python does::

        vision.*                                everything in vision
        vision                                  the same
        -vision.tower                           all of the tower frozen again
        vision.tower.encoder.layers[-2:]        its last two blocks ("all but the last two frozen")
        vision.*layers[-1]                      the last block, wherever the list is
        *lora_*                                 every adapter

    Parameters that are not floating point (quantised weights) stay frozen.

    Returns:
        names of the trainable parameters, in the module's order.

    Raises:
        UserError: a pattern matches nothing; the closest names are given.
    """
    parameters = dict(module.named_parameters())
    trainable = dict.fromkeys(parameters, False)
    for pattern in patterns:
        hits = matching(module, pattern.removeprefix("-"))
        trainable |= dict.fromkeys(hits, not pattern.startswith("-"))
    for name, parameter in parameters.items():
        parameter.requires_grad_(trainable[name] and parameter.is_floating_point())
    return [name for name, parameter in parameters.items() if parameter.requires_grad]


def matching(module: nn.Module, pattern: str) -> list[str]:
    """Names of the parameters that a pattern names, see `set_trainable`.

    Raises:
        UserError: it names none; the closest names are given.
    """
    names = [name for name, _ in module.named_parameters()]
    globs = [_glob(plain) for plain in _expand(module, pattern)]
    found = [name for name in names if any(g.fullmatch(name) for g in globs)]
    if not found:
        raise _nothing(module, pattern, names)
    return found


def _expand(module: nn.Module, pattern: str) -> list[str]:
    """The pattern with its brackets replaced by the indices that they pick."""
    found = _SLICE.match(pattern)
    if found is None:
        return [pattern]
    path, start, colon, stop, rest = found.groups()
    plain: list[str] = []
    for name, items in module.named_modules():
        if isinstance(items, nn.ModuleList | nn.Sequential) and re.fullmatch(_escape(path), name):
            indices = list(range(len(items)))
            if colon:
                picked = indices[slice(int(start) if start else None, int(stop) if stop else None)]
            else:
                picked = [i for i in indices if int(start) in (i, i - len(items))]
            for index in picked:
                plain += _expand(module, f"{name}.{index}{rest}")
    return plain


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(_escape(pattern) + r"(\..+)?")


def _escape(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


def _nothing(module: nn.Module, pattern: str, names: list[str]) -> UserError:
    modules = [name for name, _ in module.named_modules() if name]
    close = get_close_matches(pattern.removeprefix("-"), modules + names, n=5, cutoff=0.3)
    lists = [f"{name} has {len(m)}" for name, m in module.named_modules() if isinstance(m, nn.ModuleList)]
    return UserError(
        f"pattern {pattern!r} matches no parameter. Closest: {', '.join(close) or '(none)'}."
        + (f" Lists: {', '.join(lists[:10])}." if "[" in pattern and lists else "")
        + f" At the top: {', '.join(sorted({name.split('.')[0] for name in names}))}"
    )
