"""The config of a run that goes on: its own, and what is typed on top of it where that may change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rsmoe.config import compose
from rsmoe.errors import UserError
from rsmoe.trust.choices import check_continued

_MAY_CHANGE = re.compile(
    r"(trainer|logger|evaluation|validation|callback)(\..*)?|objective|checkpoint_every|data\.root"
    r"|loader\.(workers|eval_batch_size)|stage\.\w+\.steps"
)
"""Paths of a config that leave what is trained, and on what, as it was."""
_OF_THE_COMMAND = ("resume", "start")
_ABSENT = object()


def continued_run(
    config: Mapping[str, Any], words: Sequence[str] | None, *, folder: str | None
) -> tuple[dict[str, Any], list[str] | None, list[str]]:
    """Config and words of the run that ``config["resume"]`` names, and what differs; see `continued`."""
    if config["start"]:
        raise UserError("resume continues a run and start begins a new one from old weights: give one of them")
    from rsmoe.build import codecs_of
    from rsmoe.training.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(Path(config["resume"]))
    codecs_of(checkpoint)  # says it where rsmoe.train did not write it
    theirs, notes = continued(checkpoint, config, words=words, folder=folder)
    return theirs, None if words is None else merged(checkpoint["hyper_parameters"].get("words", []), words), notes


def continued(
    checkpoint: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    words: Sequence[str] | None,
    folder: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """The run's own config with what was typed beside ``resume=``, and what differs, one phrase each.

    What a word changes is found by composing the words of the run without it and with it: so interpolations follow, a
    group brings all its keys, and what the yamls say otherwise since the run began plays no part.

    Args:
        checkpoint: see `rsmoe.training.run.load_checkpoint`.
        config: what this command composed.
        words: what was typed; None, outside of a command line, compares ``config`` itself with the run's.
        folder: of further configs, ``--config-dir``.

    Raises:
        UserError: a typed word changes what the run trains, or on what, or a stage that is over; all are named.
    """
    saved = checkpoint["hyper_parameters"]
    check_continued(saved["config"])
    theirs: dict[str, Any] = deepcopy(saved["config"])
    before, after = theirs, config
    if words is not None:
        old = [w for w in saved.get("words", []) if isinstance(w, str)]
        try:
            before, after = (_composed(w, folder) for w in (old, merged(old, words)))
        except UserError as error:
            raise UserError(
                f"resume continues the run as it is, and what is typed does not go with what was typed for the run "
                f"({error}). Leave it out, or begin a new run from its weights: start=<run>"
            ) from error
    then, now, kept = (dict(_leaves(node)) for node in (before, after, theirs))
    changed = [p for p in {**then, **now} if then.get(p, _ABSENT) != now.get(p, _ABSENT)]
    changed = [p for p in changed if p not in _OF_THE_COMMAND and kept.get(p, _ABSENT) != now.get(p, _ABSENT)]
    told = {path: f"{path}={_shown(now, path)} (was {_shown(kept, path)})" for path in changed}
    refused = [path for path in changed if not _MAY_CHANGE.fullmatch(path)]
    if refused:
        firsts = {path.split(".")[0]: path for path in reversed(refused)}  # one of each part of the config
        more = len(refused) - len(firsts)
        raise UserError(
            f"resume continues the run as it is, and these cannot change: "
            f"{'; '.join(told[path] for path in reversed(firsts.values()))}{f' and {more} more' if more else ''}. "
            "Leave them out, or begin a new run from its weights: start=<run>"
        )
    for path in changed:
        _put(theirs, path.split("."), now.get(path, _ABSENT))
    _check_steps(saved["config"], theirs, checkpoint)
    theirs["resume"] = config.get("resume")
    return theirs, list(told.values())


def merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Words of a command line, those of another one behind them; of two for one key the later holds."""
    keys = {_key(word) for word in new}
    return [word for word in old if _key(word) not in keys] + [w for w in new if _key(w) not in _OF_THE_COMMAND]


def words_of_run(words: Sequence[str]) -> list[str]:
    """The words of the run that ``resume=`` names, for Hydra, so that they need no second typing.

    What cannot be read is left for `continued` to explain.

    Args:
        words: what was typed now; of a key in it the run's own word is left out.

    Raises:
        UserError: the file chooses what only who types may choose, see `rsmoe.trust.choices.check_chosen`.
    """
    from rsmoe.training.checkpoints import load_checkpoint
    from rsmoe.trust.checkpoint import check_checkpoint
    from rsmoe.trust.choices import check_chosen

    run = next(word.partition("=")[2] for word in words if word.startswith("resume="))
    try:
        checkpoint = load_checkpoint(Path(run), weights=False)
        check_checkpoint(checkpoint)
    except UserError:
        return []
    saved = checkpoint["hyper_parameters"]
    check_chosen(saved["config"], words=saved.get("words", []), typed=words)
    keys = {*_OF_THE_COMMAND, *(_key(word.lstrip("+~")) for word in words)}
    return [word for word in saved.get("words", []) if _key(word.lstrip("+~")) not in keys]


def _key(word: str) -> str:
    return word.partition("=")[0]


def _composed(words: Sequence[str], folder: str | None) -> dict[str, Any]:
    own = [w for w in words if not w.lstrip("+~").startswith("hydra")]
    found: dict[str, Any] = OmegaConf.to_container(compose(own, extra=folder), resolve=True)  # type: ignore[assignment]
    return found


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its path; empty containers are values."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    pairs = list(items)
    if not pairs:
        yield path, node
    for key, value in pairs:
        yield from _leaves(value, f"{path}.{key}" if path else str(key))


def _put(node: Any, path: Sequence[str], value: Any) -> None:
    """Sets, adds or takes away one value; lists grow at their end."""
    for name, after in pairwise(path):
        inner: Any = [] if after.isdigit() else {}
        if isinstance(node, list):
            if int(name) == len(node):
                node.append(inner)
            node = node[int(name)]
        else:
            if not isinstance(node.get(name), dict | list):
                node[name] = inner
            node = node[name]
    last: Any = int(path[-1]) if isinstance(node, list) else path[-1]
    if value is _ABSENT:
        if isinstance(node, list):
            del node[last:]
        else:
            node.pop(last, None)
    elif isinstance(node, list) and last >= len(node):
        node.append(value)
    else:
        node[last] = value


def _shown(values: Mapping[str, Any], path: str) -> str:
    return "absent" if path not in values else "null" if values[path] is None else str(values[path])


def _check_steps(before: Mapping[str, Any], after: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> None:
    """`UserError` for a stage that is over and gets another length, or one that is to end before where it is."""
    try:
        stage, step = int(checkpoint["hyper_parameters"]["stage"]), int(checkpoint["global_step"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("the checkpoint says no stage and step: it was not written by rsmoe.train") from error
    old, new = (list(config["stage"].values()) for config in (before, after))
    if not 0 <= stage < len(old):
        raise UserError(f"the checkpoint is of stage {stage + 1}, and its config has {len(old)}: it is damaged")
    for index in range(min(stage + 1, len(old), len(new))):
        given, was = new[index]["steps"], old[index]["steps"]
        if given != was and (index < stage or given < step):
            raise UserError(
                f"stage {new[index]['name']!r} cannot have {given} steps: the run is at step {step} of stage "
                f"{new[stage]['name']!r}. Give its stages from there on more steps, or begin a new run: start=<run>"
            )
