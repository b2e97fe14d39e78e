"""A picture, mask or class map inside a tar file, read without unpacking it."""

from __future__ import annotations

import io
import re
from typing import Any, Literal

import numpy as np
from PIL import Image

from rsmoe.data.files.byte_ranges import read_range
from rsmoe.data.rasters.images import decode_image
from rsmoe.errors import UserError
from rsmoe.geo.pictures import open_picture, require_pixels

Form = Literal["picture", "bands", "raw", "mask", "classes"]
"""How a file becomes an array: a picture as a release has it, see `load_image`; an array (H, W, C) uint8,
which is a PNG in colour for three bands, else grey with its bands below one another; the same as a npy of (C, H, W),
band after band as tensors want it; (H, W) bool; (H, W) uint8."""

_NPY = re.compile(
    rb"\x93NUMPY\x01\x00v\x00\{'descr': '\|u1', 'fortran_order': False, "
    rb"'shape': \(([1-9]\d{0,8}), ([1-9]\d{0,8}), ([1-9]\d{0,8})\), \} *\n"
)
"""The header of such a npy: one fixed form, so that nothing of a file is evaluated; `numpy.load` reads it too."""

_NPY_BYTES = 128


class ShardMember:
    """A file at ``offset`` of a shard, the library's or another tar file: a `rsmoe.data.sample.Lazy`.

    What leaves the process (out of a loader's worker) is the place, not the bytes.

    Args:
        shard: path or address of the tar file, which is not compressed.
        offset, size: of its content, in bytes.
        name: what it is called in messages.
        bands: of the array, for the form "bands".
        content: its bytes, where they have been read.
    """

    def __init__(
        self,
        *,
        shard: str,
        offset: int,
        size: int,
        name: str,
        form: Form = "picture",
        bands: int = 0,
        content: bytes | None = None,
    ) -> None:
        self.shard, self.offset, self.size, self.name = shard, offset, size, name
        self.form, self.bands = form, bands
        self._content = content
        self._decoded: np.ndarray | None = None

    @property
    def key(self) -> str:
        """The shard and the place in it."""
        return f"{self.shard}@{self.offset}"

    def content(self) -> bytes:
        """The encoded bytes; `UserError` when the shard is gone, or shorter than its index says."""
        if self._content is not None:
            return self._content
        content = read_range(self.shard, self.offset, self.size, whole=True)
        if len(content) < self.size:
            raise UserError(
                f"{self.shard} is cut off within {self.name}: {len(content)} of {self.size} bytes. Write or download "
                "this shard again"
            )
        return content

    def decode(self) -> None:
        """Decodes now, and keeps the array for the next `read`; raises what that would raise."""
        self._decoded = self.read()

    def forget(self) -> None:
        """Drops decoded arrays that were cached and not read."""
        self._decoded = None

    def read(self) -> np.ndarray:
        """The array that its form says.

        Raises:
            UserError: as `content`; for bytes that are no picture of 8 bits a band, are damaged, or hold more than
                `MAX_PIXELS` pixels.
        """
        if self._decoded is not None:
            decoded, self._decoded = self._decoded, None
            return decoded
        return decode_picture(self.content(), form=self.form, bands=self.bands, what=f"{self.name} of {self.shard}")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_content": None, "_decoded": None}


def decode_picture(content: bytes, *, what: str, form: Form = "picture", bands: int = 0) -> np.ndarray:
    """The array of encoded bytes, by their `Form`; nothing is decoded before its size is known.

    Raises:
        UserError: naming ``what`` is no picture of 8 bits a band, damaged, of another form, or larger than
            `MAX_PIXELS`.
    """
    if form == "picture":
        return decode_image(content, what)
    if form == "raw":
        return _from_npy(content, what)
    with open_picture(content, what, formats=("PNG",)) as image:
        mode = {"mask": "1", "classes": "L", "bands": "RGB" if bands == 3 else "L"}[form]
        if image.mode != mode or (form == "bands" and (bands < 1 or (bands != 3 and image.height % bands))):
            raise UserError(f"{what} is no {form}: {image.mode} of {image.width} x {image.height}, {bands} bands")
        array = np.array(image)
    if form == "mask":  # Pillow gives bools whose byte is 255; only 0 and 1 are any
        array = array.view(np.uint8) != 0
    if form != "bands" or bands == 3:
        return array
    return np.ascontiguousarray(array.reshape(bands, -1, array.shape[1]).transpose(1, 2, 0))


def _from_npy(content: bytes, what: str) -> np.ndarray:
    """(H, W, C) uint8, each band in one piece; a header that promises more than there is allocates nothing."""
    header = _NPY.fullmatch(content, 0, _NPY_BYTES)
    if header is None:
        raise UserError(f"{what} is no npy of (C, H, W) uint8. Write or download this shard again")
    bands, height, width = map(int, header.groups())
    require_pixels(width, height, what)
    if bands * height * width != len(content) - _NPY_BYTES:
        raise UserError(
            f"{what} is truncated or damaged: {len(content) - _NPY_BYTES} bytes for {bands} bands of {width} x "
            f"{height}. Write or download this shard again"
        )
    planes = np.frombuffer(content, np.uint8, offset=_NPY_BYTES).reshape(bands, height, width)
    return planes.copy().transpose(1, 2, 0)  # bytes cannot be written to, and tensors are to be


def encode_array(array: np.ndarray, form: Form) -> bytes:
    """PNG, or npy for "raw", of an array, as `decode_picture` reads it with the same form.

    Raises:
        UserError: for an array of another type or shape than the form has.
    """
    picture = form in ("bands", "raw")
    if array.dtype != (bool if form == "mask" else np.uint8) or array.ndim != (3 if picture else 2) or not array.size:
        wanted = {"mask": "(H, W) bool", "classes": "(H, W) uint8"}.get(form, "(H, W, C) uint8")
        raise UserError(f"expected {wanted}, found {array.shape} {array.dtype}")
    if form == "raw":
        planes = array.transpose(2, 0, 1)
        require_pixels(planes.shape[2], planes.shape[1], "an array")  # it could not be read back
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {planes.shape}, }}".ljust(_NPY_BYTES - 11)
        return b"\x93NUMPY\x01\x00v\x00" + header.encode() + b"\n" + planes.tobytes()
    if picture and array.shape[2] != 3:
        array = array.transpose(2, 0, 1).reshape(-1, array.shape[1])
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(target, "PNG")
    return target.getvalue()
