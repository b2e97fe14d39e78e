"""Pictures named by their path below a folder, as conversation files and custom tables name them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rsmoe.data.files.file_names import FileTree
from rsmoe.data.files.file_names import below as below
from rsmoe.data.rasters.images import find_all
from rsmoe.errors import UserError


def find_in_tree(root: Path, names: Iterable[str], *, source: str, absent: list[str] | None = None) -> dict[str, Path]:
    """`rsmoe.data.rasters.images.find_images`, of names that are paths below ``root``: each has to lie where it says.

    Args:
        root: the folder that the names are relative to.
        names: paths below ``root``, "xBD/train/images/a.png"; repeats cost nothing.
        source: name of the data set, for messages.
        absent: gets the names that have no file, which are an error without it.

    Raises:
        UserError: as `find_images`, and for names that leave ``root``.
    """
    if not root.is_dir():
        raise UserError(f"{source}: the images folder {root} does not exist. Unpack the images there")
    return find_all(FileTree(root, source=source), names, source=source, absent=absent)
