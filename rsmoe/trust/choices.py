"""Settings that a resumed run may take from its checkpoint, and those that have to be typed again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.config_folders import conf_dir
from rsmoe.errors import UserError, shown
from rsmoe.parts import named_in_full
from rsmoe.trust.plain import leaves, nodes
from rsmoe.trust.saved_config import NAMED


def check_continued(config: Mapping[str, Any]) -> None:
    """Refuses parts of a resumed run's checkpoint (trainer, callbacks, data, metrics) that a file may not choose.

    Raises:
        UserError: one that no yaml of rsmoe's own ``conf/`` names, such as a callback, which could write anywhere.
    """
    for key in NAMED:
        for path, node in nodes({key: config.get(key)}, ""):
            target = node.get("_target_")
            if "_target_" in node and not (isinstance(target, str) and may_be_chosen(target)):
                raise UserError(
                    f"{path}._target_={shown(target)} stands in the run's checkpoint, and a file may not choose it. If "
                    f"the run is yours: export RSMOE_TRUST={target}"
                )


_WRITTEN = (
    "default_root_dir", "dir", "dirpath", "save_dir", "root_dir", "settings", "profiler", "model_registry", "log_model",
)  # fmt: skip
"""Keys of trainers, callbacks and loggers that say where something is written or sent."""


def check_chosen(config: Mapping[str, Any], *, words: Sequence[str], typed: Sequence[str]) -> None:
    """Refuses addresses and places to write to that a resumed run would take from its checkpoint.

    Args:
        config: of the file, see `check_saved_config`.
        words: of the run's command line, out of the file; the new folder has the ``name`` in it.
        typed: words of the command line; a key that is among them is the user's own choice.

    Raises:
        UserError: the key, and that it has to be typed again.
    """
    chosen = [word.lstrip("+~").partition("=")[0] for word in typed]
    names = [word.partition("=")[2].strip("'\"") for word in words if word.lstrip("+").startswith("name=")]
    held: list[tuple[str, Any]] = [("name", name) for name in names]
    for path, value in [*held, *leaves({key: config.get(key) for key in ("name", *NAMED)}, "")]:
        place = path.removeprefix(".")
        first, *steps = place.split(".")
        text = str(value) if isinstance(value, str | bool | int | float) and value is not False else ""
        outside = Path(text).is_absolute() or ".." in Path(text).parts
        if (
            "://" in text
            or (first in ("name", "trainer", "callback", "logger") and outside)
            or (first in ("trainer", "callback", "logger") and text and any(step in _WRITTEN for step in steps))
            or (first == "corpus" and text and (steps[-1:] == ["cache"] or steps[1:] == ["generated", "root"]))
        ) and not any(re.fullmatch(rf"{re.escape(key)}(\.\d+)*", place) for key in chosen):
            raise UserError(
                f"{place}={shown(value)} stands in the run's checkpoint, and a file may not choose what is fetched, or "
                f"where something is written. If it is your choice, type it again: {place}={shown(value)}"
            )


def may_be_chosen(target: str) -> bool:
    """Whether a file may choose a part that resuming builds: one that a yaml of ours names, or the user in full."""
    yamls = (path.read_text(encoding="utf-8") for path in conf_dir().rglob("*.yaml"))
    return named_in_full(target) or any(target in re.findall(r"_target_: *([\w.]+)", text) for text in yamls)
