"""Files with one json object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rsmoe.data.annotations import require_file
from rsmoe.errors import UserError


def read_jsonl(path: Path) -> list[tuple[str, Any]]:
    """(place, value) of every line that is not blank; the place, "file.jsonl, line 3", is for messages.

    Raises:
        UserError: when the file is missing, is not UTF-8, or has a line that is not json (naming it).
    """
    rows = []
    try:
        with require_file(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append((f"{path.name}, line {number}", json.loads(line)))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {number}, is not json ({error.msg}, column {error.colno}). Download the file again"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason})") from error
    return rows
