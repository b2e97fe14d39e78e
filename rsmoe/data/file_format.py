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
    """Values that a pixel of a grey PNG may have, 2, 4, 16 or 256: Pillow spreads them over 0 to 255. None for others."""
    head = _head(file)
    return 1 << head[24] if head.startswith(_PNG) and head[25:26] == b"\0" and head[24] <= 8 else None


def tiff_orientation(file: BinaryIO) -> int:
    """The tag 274 of the first page of a TIFF or BigTIFF, 1 (upright) to 8 as in EXIF; GDAL does not tell it."""
    try:
        start = file.read(16)
        order = "<" if start[:2] == b"II" else ">"
        big = struct.unpack(f"{order}H", start[2:4])[0] == 43
        file.seek(struct.unpack(f"{order}Q" if big else f"{order}I", start[8:16] if big else start[4:8])[0])
        count_size, entry_size, value = (8, 20, 12) if big else (2, 12, 8)
        (count,) = struct.unpack(f"{order}Q" if big else f"{order}H", file.read(count_size))
        entries = file.read(entry_size * min(count, 4096))
        for place in range(0, len(entries) - entry_size + 1, entry_size):
            tag, kind = struct.unpack_from(f"{order}HH", entries, place)
            if tag == _ORIENTATION and kind == 3:
                (found,) = struct.unpack_from(f"{order}H", entries, place + value)
                return found if 1 <= found <= 8 else 1
    except (struct.error, OSError):
        pass  # GDAL says what is wrong with it
    return 1


def _head(file: Path | bytes) -> bytes:
    if isinstance(file, bytes):
        return file[:_HEAD_BYTES]
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except OSError:
        return b""  # whoever opens it says why it cannot be read
