"""A picture of an archive, wherever it lies: a file, a member of a tar file, what a STAC item names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from rsmoe.data.files.byte_ranges import read_range
from rsmoe.data.shards.member import ShardMember
from rsmoe.errors import UserError
from rsmoe.geo.georeference import Georeference

_BLOCK = 2**24


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Where its pixels are, and what is said of it beside them."""

    path: str
    """Its name in a store: the absolute path of its file, or that of the file that holds or names it and, behind "/",
    its name there: ``/data/train-00000.tar/port.tif``, ``/data/items.json/S2A_32TQM_20200830``."""
    stamp: str
    """Changes with it; begins with its bytes, and a dot."""
    content: Path | ShardMember | str
    """A file, a part of a tar file, or an address."""
    place: Georeference | None = None
    """The ground that it shows, in any number of pixels, for a file that does not say."""
    day: str | None = None
    """When it was taken, "2020-08-30", where what names it says so."""

    @classmethod
    def of(cls, file: Path) -> Picture:
        """The picture that a file is."""
        return cls(path=str(file.absolute()), stamp=stamp_of(file), content=file)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.stamp.partition(".")[0])

    def local(self, folder: Path) -> Path | np.ndarray:
        """Its file, which is copied into the folder where it has none; or its pixels, (H, W, C) uint8, where the
        library's shards hold nothing else.

        Raises:
            UserError: the tar file is damaged, the address cannot be read, the disk is full.
        """
        if isinstance(self.content, Path):
            return self.content
        if isinstance(self.content, ShardMember) and self.content.form != "picture":
            return self.content.read()
        name = unquote(urlsplit(self.content).path) if isinstance(self.content, str) else self.path
        name = name.rstrip("/").rpartition("/")[2].replace("\0", "_")[-60:]  # some file systems take 255 bytes
        copy = folder / (name if name.strip(".") else "picture")
        try:
            with copy.open("wb") as file:
                if isinstance(self.content, str):  # all of its tiles are read, so that ranges would save nothing
                    while block := read_range(self.content, file.tell(), _BLOCK):
                        file.write(block)
                else:
                    file.write(self.content.content())
        except OSError as error:
            raise UserError(f"{self.path} cannot be copied to {folder} ({error.strerror}): free some space") from error
        return copy


def stamp_of(file: Path) -> str:
    """Size and time of a file; of one that is not there, no bytes."""
    if not file.is_file():
        return "0."
    stat = file.stat()
    return f"{stat.st_size}.{stat.st_mtime_ns}"
