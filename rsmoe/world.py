"""Which world a training sees: real data, or the generated scenes that stand in for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsmoe.errors import UserError, unknown_name

WORLDS = ("auto", "real", "generated")


def is_generated(config: Mapping[str, Any]) -> bool:
    """Whether generated scenes stand in for the data sets of a corpus.

    Args:
        config: with ``corpus``, ``data.root`` and ``world`` of `rsmoe.train`, resolved.

    Raises:
        UserError: an unknown world, ``$RSMOE_DATA`` is no folder, or a data set cannot be generated.
    """
    entries, world = config["corpus"] or {}, config["world"]
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            raise UserError(f"corpus.{name}={entry}: expected a data set, with reader and splits")
    if world not in WORLDS:
        raise unknown_name("world", str(world), WORLDS)
    lacking = [name for name, entry in entries.items() if "generated" not in entry]
    if world == "generated" and lacking:
        raise UserError(
            f"world=generated: {', '.join(lacking)} of the corpus cannot be generated. Give world=auto, or another "
            "corpus"
        )
    if world != "auto":
        return bool(world == "generated")
    return not lacking and config["data"]["root"] is None and not _any_given(entries)


def _any_given(entries: Mapping[str, Mapping[str, Any]]) -> bool:
    home = os.environ.get("RSMOE_DATA", "")
    if home and not Path(home).expanduser().is_dir():
        raise UserError(
            f"RSMOE_DATA={home} is not a folder; unset it for generated scenes, or name the folder of data sets"
        )
    readers = [entry["reader"] for entry in entries.values() if entry.get("reader")]
    given = any(reader.get("root") for reader in readers)
    names = [str(reader["name"]) for reader in readers if "name" in reader]
    return given or any((Path(home).expanduser() / name).is_dir() for name in names if home)
