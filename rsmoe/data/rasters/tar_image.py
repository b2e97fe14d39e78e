"""A picture inside a tar file, read without unpacking it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsmoe.data.rasters.images import decode_image
from rsmoe.errors import UserError


@dataclass(frozen=True)
class TarImage:
    """The encoded picture at ``offset`` of a tar file: a `rsmoe.data.sample.Lazy` image.

    Args:
        path: the tar file, not compressed.
        name: what it is called in messages.
    """

    path: Path
    offset: int
    size: int
    name: str

    @property
    def key(self) -> str:
        """The tar file and the place in it."""
        return f"{self.path}@{self.offset}+{self.size}"

    def read(self) -> np.ndarray:
        """(H, W, C) uint8, see `rsmoe.data.rasters.images.load_image`.

        Raises:
            UserError: for a tar file that is gone or shorter than it was, and for bytes that are no picture of 8 bits
                a band, are truncated, or hold more than `MAX_PIXELS` pixels.
        """
        place = f"{self.name} in {self.path}"
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}). Put the shard back") from error
        if len(content) < self.size:
            raise UserError(f"{place} is cut off: {len(content)} of {self.size} bytes. Download the shard again")
        return decode_image(content, place)
