"""Links in a data folder: a file of a release that is a link may not lead out of that release.

A release comes from elsewhere, and a link in it can name any file of this machine. So a **file** that is a link has to
lead to a file below the root, or below the root of another data set that was given; into the ``blobs`` beside a
snapshot of the Hugging Face cache, whose files are such links; or below a folder that ``$RSMOE_LINKS`` lists, separated
by ":". The root itself, and **folders** that are links, are how people arrange their disks: they are followed.
"""

from __future__ import annotations

import os
from pathlib import Path

from rsmoe.errors import UserError

_roots: dict[str, str] = {}
"""Absolute path of every root that was given -> where it really is. Roots only get more: it is no state to reset."""


def remember_root(folder: Path) -> Path:
    """``folder``, whose links are checked from now on."""
    _roots[os.path.abspath(folder)] = os.path.realpath(folder)
    return folder


def require_inside(path: Path) -> Path:
    """``path``; raises a `UserError` for a link that leads out of the root that it lies in."""
    if not os.path.islink(path):
        return path
    here = os.path.abspath(path)
    root = next((root for root in sorted(_roots, key=len, reverse=True) if _is_below(here, root)), None)
    target = os.path.realpath(path)
    if root is None or any(_is_below(target, allowed) for allowed in _allowed()):
        return path
    raise UserError(
        f"{path} is a link to {target}, which lies outside of {root}. Copy the file there, or allow links into its "
        f"folder: export RSMOE_LINKS={os.path.dirname(target)}"
    )


def _allowed() -> list[str]:
    roots = list(_roots.values())
    snapshots = [os.path.dirname(root) for root in roots]
    blobs = [os.path.join(os.path.dirname(s), "blobs") for s in snapshots if os.path.basename(s) == "snapshots"]
    listed = [os.path.realpath(os.path.expanduser(p)) for p in os.environ.get("RSMOE_LINKS", "").split(":") if p]
    return [*roots, *blobs, *listed]


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)
