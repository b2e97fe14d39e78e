"""A picture inside a tar file, read without unpacking it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.data.files.byte_ranges import read_range
from rsmoe.data.rasters.images import decode_image
from rsmoe.errors import UserError


@dataclass(frozen=True)
class TarImage:
    """The encoded picture at ``offset`` of a tar file that is not compressed: a `rsmoe.data.sample.Lazy` image."""

    path: Path
    offset: int
    size: int
    name: str

    @property
    def key(self) -> str:
        """The tar file and the place in it."""
        return f"{self.path}@{self.offset}+{self.size}"

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.name} in {self.path}"

    def content(self) -> bytes:
        """The encoded picture; `UserError` for a tar file that is gone or shorter than it was."""
        content = read_range(str(self.path), self.offset, self.size)
        if len(content) < self.size:
            raise UserError(f"{self.place} is cut off: {len(content)} of {self.size} bytes. Download the shard again")
        return content

    def read(self) -> np.ndarray:
        """(H, W, C) uint8, see `rsmoe.data.rasters.images.load_image`.

        Raises:
            UserError: as `content`, and for bytes that are no picture of 8 bits a band, are truncated, or hold more
                than `MAX_PIXELS` pixels.
        """
        return decode_image(self.content(), self.place)
