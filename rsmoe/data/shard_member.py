"""A picture, mask or class map inside a shard."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
from PIL import Image

from rsmoe.data.byte_ranges import read_range
from rsmoe.data.images import decode_image, open_picture
from rsmoe.errors import UserError

Form = Literal["picture", "bands", "mask", "classes"]
"""How a file becomes an array: a picture as a release has it, to (H, W, 3) uint8, upright; an array (H, W, C) uint8,
which is a PNG in colour for three bands, else grey with its bands below one another; (H, W) bool; (H, W) uint8."""


class ShardMember:
    """A file at ``offset`` of a shard: a `rsmoe.data.sample.Lazy`.

    What leaves the process (out of a loader's worker) is the place, not the bytes.

    Args:
        shard: path or address of the tar file.
        offset, size: of its content, in bytes.
        name: what it is called in messages.
        form: how it becomes an array.
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
        """The encoded bytes.

        Raises:
            UserError: when the shard is gone, or shorter than its index says.
        """
        if self._content is not None:
            return self._content
        content = read_range(self.shard, self.offset, self.size)
        if len(content) < self.size:
            raise UserError(f"{self.shard} is cut off within {self.name}. Write or download this shard again")
        return content

    def decode(self) -> None:
        """Decodes now, and keeps the array for the next `read`; raises what that would raise."""
        self._decoded = self.read()

    def forget(self) -> None:
        """Drops what `decode` kept and nobody read."""
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
        return decode_image(io.BytesIO(content), what)
    with open_picture(io.BytesIO(content), what, formats=("PNG",)) as image:
        mode = {"mask": "1", "classes": "L", "bands": "RGB" if bands == 3 else "L"}[form]
        if image.mode != mode or (form == "bands" and (bands < 1 or (bands != 3 and image.height % bands))):
            raise UserError(f"{what} is no {form}: {image.mode} of {image.width} x {image.height}, {bands} bands")
        array = np.array(image)
    if form == "mask":  # Pillow gives bools whose byte is 255; only 0 and 1 are any
        array = array.view(np.uint8) != 0
    if form != "bands" or bands == 3:
        return array
    return np.ascontiguousarray(array.reshape(bands, -1, array.shape[1]).transpose(1, 2, 0))


def encode_array(array: np.ndarray, form: Form) -> bytes:
    """PNG of an array, as `decode_picture` reads it with the same form.

    Raises:
        UserError: for an array of another type or shape than the form has.
    """
    picture = form == "bands"
    if array.dtype != (bool if form == "mask" else np.uint8) or array.ndim != (3 if picture else 2) or not array.size:
        wanted = {"bands": "(H, W, C) uint8", "mask": "(H, W) bool", "classes": "(H, W) uint8"}[form]
        raise UserError(f"expected {wanted}, found {array.shape} {array.dtype}")
    if picture and array.shape[2] != 3:
        array = array.transpose(2, 0, 1).reshape(-1, array.shape[1])
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(target, "PNG")
    return target.getvalue()
