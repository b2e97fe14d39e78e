"""An append-only file of lines that survives a kill at any moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsmoe.data.files.json_text import parse_json
from rsmoe.data.files.text_files import decode


class LineLog:
    """Lines that are on disk once they are appended; a last line that was not finished does not count.

    Args:
        path: of the file, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = False

    def lines(self) -> list[bytes]:
        """Every finished line, without its line end."""
        return self.path.read_bytes().split(b"\n")[:-1] if self.path.is_file() else []

    def rows(self, *, advice: str) -> list[Any]:
        """The json of every finished line; raises a `UserError`, with the advice, for one that is none."""
        name = str(self.path)
        lines = enumerate(self.lines(), start=1)
        return [parse_json(decode(line, name), name, line=number, advice=advice) for number, line in lines]

    def append(self, lines: Sequence[bytes]) -> None:
        """One write, and one sync, of lines that end in a newline; the first call removes an unfinished line."""
        if not self._whole:
            self._cut()
        with self.path.open("ab", buffering=0) as file:
            file.write(b"".join(lines))
            os.fsync(file.fileno())

    def _cut(self) -> None:
        whole = self.path.read_bytes() if self.path.is_file() else b""
        if whole and not whole.endswith(b"\n"):
            os.truncate(self.path, whole.rfind(b"\n") + 1)
        self._whole = True
