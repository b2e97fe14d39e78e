"""Pictures of a request as files: saved, checked and removed again."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

from rsmoe.errors import UserError
from rsmoe.errors import shown as short
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.info import open_raster
from rsmoe.geo.pictures import open_picture
from rsmoe.web.problem import Problem

_READ = ((), ("GTiff",), ("JP2OpenJPEG",), ("PNG",))
"""GDAL's drivers for what clients send; () is Pillow. Others may name further files in their headers."""


class Uploads:
    """The pictures of one request, in a folder that is removed at the end of the ``with``.

    Args:
        files: the folder whose files may be asked about; None allows none.
        max_pixels: of one picture.
        max_pictures: of one request.
    """

    def __init__(self, *, files: Path | None, max_pixels: int, max_pictures: int) -> None:
        self.files, self.max_pixels, self.max_pictures = files, max_pixels, max_pictures

    def __enter__(self) -> Uploads:
        self._folder = TemporaryDirectory(prefix="rsmoe-serve-")
        return self

    def __exit__(self, *_: Any) -> None:
        self._folder.cleanup()

    def save(self, contents: Sequence[str | bytes]) -> tuple[Path, ...]:
        """The files of ``image_url`` values, or of bytes, in this order.

        Raises:
            Problem: no picture, too many of them or too many pixels, another form of address, or wrong base64.
        """
        if not contents:
            raise Problem(400, "no picture: send one as an image_url, data:image/png;base64,...", param="messages")
        if len(contents) > self.max_pictures:
            raise Problem(400, f"{len(contents)} pictures: this server takes {self.max_pictures} of a request")
        return tuple(self._save(number, content) for number, content in enumerate(contents, 1))

    def message(self, error: Exception) -> str:
        """An error without the folder's name."""
        return str(error).replace(f"{self._folder.name}/", "")

    def _save(self, number: int, content: str | bytes) -> Path:
        if isinstance(content, str) and content.startswith("file:"):
            path = self._allowed(unquote(content.removeprefix("file:").removeprefix("//")))
        else:
            path = Path(self._folder.name, f"picture-{number}")
            path.write_bytes(_decoded(content) if isinstance(content, str) else content)
        try:
            width, height = _size(path, number)
        except UserError as error:
            raise Problem(400, self.message(error), code="invalid_image") from error
        if width * height > self.max_pixels:
            raise Problem(
                413, f"picture {number} has {width} x {height} pixels, more than the {self.max_pixels:,} of "
                "this server (max_pixels=): send a part of it, or a smaller one",
            )  # fmt: skip
        return path

    def _allowed(self, name: str) -> Path:
        if self.files is None:
            raise Problem(403, "this server opens no files: send the picture as data:image/png;base64,...")
        folder = self.files.resolve()
        try:
            path = (folder / name).resolve()
            if path.is_relative_to(folder) and path.is_file():
                return path
        except (OSError, ValueError):
            pass
        raise Problem(404, f"no file {short(name)} in the folder that this server may open (files=)")


def _size(path: Path, number: int) -> tuple[int, int]:
    """Width and height by the header alone: nothing is decoded yet."""
    drivers = raster_drivers(path)
    if drivers not in _READ:
        raise Problem(400, f"picture {number} is of a kind that is not taken: send a GeoTIFF, PNG, JPEG or WebP")
    if drivers:
        info = open_raster(path)
        return info.width, info.height
    with open_picture(path, f"picture {number}") as image:
        return image.size


def _decoded(address: str) -> bytes:
    head = re.match(r"data:[^,]{0,100};base64,", address)
    if head is None:
        raise Problem(
            400, f"image_url {short(address[:50])}: expected data:image/png;base64,... (http addresses are not read)",
            code="invalid_image_url",
        )  # fmt: skip
    try:
        return base64.b64decode(address[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(400, f"the picture is not valid base64: {error}", code="invalid_base64") from error
