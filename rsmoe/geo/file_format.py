"""Which decoder reads a file, and which way up it is: judged by its bytes, for a suffix is only a name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_PNG = b"\x89PNG\r\n\x1a\n"
_OF_PILLOW = (b"\xff\xd8", _PNG, b"GIF8", b"BM", b"RIFF")
_BY_SUFFIX = {".tif": "GTiff", ".tiff": "GTiff", ".jp2": "JP2OpenJPEG"}
_HEAD_BYTES = 32
_ORIENTATION = 274
_SIZES = {2: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each of TIFF's types; 1 for the others."""

_MOST_PAGES = 64
_MOST_TAG_BYTES = 1 << 21


def raster_drivers(file: Path | bytes) -> tuple[str, ...]:
    """GDAL's drivers for a file or its bytes, () for what Pillow reads.

    TIFF and JPEG 2000 are always read by GDAL, which knows more kinds of them than Pillow; PNG where it has 16 bits a
    band, of which Pillow keeps 8. ERDAS and ENVI files (``.img``) may stand beside a header or pixels of their own, so
    they are read from a path alone. A file that begins like none of these is what its suffix says.
    """
    head = _head(file)
    if head.startswith(_TIFF):
        return ("GTiff",)
    if head.startswith(_JPEG2000):
        return ("JP2OpenJPEG",)
    if head.startswith(_PNG) and head[24:25] == b"\x10":  # the depth of IHDR
        return ("PNG",)
    if head.startswith(_OF_PILLOW) or isinstance(file, bytes):
        return ()
    if head.startswith(b"EHFA_HEADER_TAG"):
        return ("HFA",)
    if file.with_suffix(".hdr").is_file() or file.with_name(f"{file.name}.hdr").is_file():
        return ("ENVI",)
    return (_BY_SUFFIX[file.suffix.lower()],) if file.suffix.lower() in _BY_SUFFIX else ()


def grey_levels(file: Path | bytes) -> int | None:
    """Values that a pixel of a grey PNG may have, 2, 4, 16 or 256, which Pillow spreads over 0 to 255; else None."""
    head = _head(file)
    return 1 << head[24] if head.startswith(_PNG) and head[25:26] == b"\0" and head[24] <= 8 else None


def tiff_orientation(file: BinaryIO) -> int:
    """The tag 274 of the first page of a TIFF or BigTIFF, 1 (upright) to 8 as in EXIF; GDAL does not tell it.

    Raises:
        EOFError: when tags of any page lie beyond the end of the file. GDAL would go on without them: without the
            palette, or the mask.
    """
    size = file.seek(0, 2)
    start = _at(file, 0, 16)
    order = "<" if start[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", start[2:4])[0] == 43
    count_type, offset_type, value_place = ("Q", "Q", 12) if big else ("H", "I", 8)
    entry_size, offset_size = value_place + struct.calcsize(offset_type), struct.calcsize(offset_type)
    (page,) = struct.unpack_from(order + offset_type, start, 8 if big else 4)
    orientation = 1
    for number in range(_MOST_PAGES):
        if page == 0:
            break
        (count,) = struct.unpack(order + count_type, _at(file, page, struct.calcsize(count_type)))
        page += struct.calcsize(count_type)
        entries = _at(file, page, entry_size * count + offset_size)
        for place in range(0, entry_size * count, entry_size):
            tag, kind, length = struct.unpack_from(f"{order}HH{offset_type}", entries, place)
            (offset,) = struct.unpack_from(order + offset_type, entries, place + value_place)
            length *= _SIZES.get(kind, 1)
            if length > offset_size and offset + length > size:
                raise EOFError(f"its tag {tag} lies beyond the end of the file")
            if number == 0 and tag == _ORIENTATION and kind == 3:
                (orientation,) = struct.unpack_from(f"{order}H", entries, place + value_place)
        (page,) = struct.unpack_from(order + offset_type, entries, entry_size * count)
    return orientation if 1 <= orientation <= 8 else 1


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    """So many bytes from ``offset``; EOFError when there are fewer."""
    file.seek(min(offset, 1 << 62))
    found = file.read(size) if size < _MOST_TAG_BYTES else b""
    if len(found) < size:
        raise EOFError("its tags lie beyond the end of the file")
    return found


def _head(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return file[:_HEAD_BYTES]
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except OSError:
        return b""  # whoever opens it says why it cannot be read
