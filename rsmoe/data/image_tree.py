"""Pictures named by their path below a folder, as conversation files and tables of one's own name them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rsmoe.data.images import find_images
from rsmoe.errors import UserError


def below(root: Path, name: str, *, source: str) -> Path:
    """``root / name``, which has to stay in ``root``: data from elsewhere must not reach other files.

    Args:
        root: the folder that may be read.
        name: a relative path, or an absolute one that lies in ``root``; folders in it that are links are followed.
        source: name of the data set, for the message.

    Raises:
        UserError: for a path that leaves ``root``, or an empty one.
    """
    base = os.path.abspath(root)
    path = os.path.normpath(os.path.join(base, name.strip().replace("\\", "/")))
    if not name.strip() or not path.startswith(base.rstrip(os.sep) + os.sep):
        raise UserError(
            f"{source}: {name!r} does not lie in {root}. Name files by their path below that folder, "
            "or give a folder further up as the root"
        )
    return Path(path)


def find_in_tree(root: Path, names: Iterable[str], *, source: str) -> dict[str, Path]:
    """The file of every name, in the sub-folder that the name says; within it as `find_images` does, so by stem.

    Args:
        root: the folder that the names are relative to.
        names: paths below ``root``, "xBD/train/images/a.png"; repeats cost nothing.
        source: name of the data set, for messages.

    Raises:
        UserError: for names that leave ``root``, and for missing folders, missing files and empty ones (counted, five
            named).
    """
    inside: dict[Path, list[str]] = {}
    for name in dict.fromkeys(names):
        inside.setdefault(below(root, name, source=source).parent, []).append(name)
    found: dict[str, Path] = {}
    for folder, members in inside.items():
        found |= find_images(folder, members, source=source)
    return found
