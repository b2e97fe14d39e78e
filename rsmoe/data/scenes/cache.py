"""Where generated scenes and pairs are kept."""

from __future__ import annotations

import os
from pathlib import Path

from rsmoe.errors import UserError
from rsmoe.settings.types import writable


def scene_cache(given: str | None) -> Path:
    """The folder of generated data: ``given``, else ``$RSMOE_CACHE``, else ``~/.cache/rsmoe``; made if it is missing.

    Raises:
        UserError: no home to put it in, or a folder that cannot be written.
    """
    remedy = "name a folder for generated data: export RSMOE_CACHE=/path/to/a/folder"
    try:
        folder = Path(given or os.environ.get("RSMOE_CACHE") or Path.home() / ".cache" / "rsmoe")
        writable(folder, kind="folder")
        folder.mkdir(parents=True, exist_ok=True)
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from None
    except RuntimeError as error:  # Path.home() of a user without one
        raise UserError(f"there is no home folder; {remedy}") from error
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; {remedy}") from error
    return folder
