"""From file names to files, and from files to uint8 arrays."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from rsmoe.data.file_names import SUFFIXES as SUFFIXES
from rsmoe.data.file_names import FileTree
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What Pillow may decode: others start programs (EPS runs Ghostscript)."""

MAX_PIXELS = 100_000_000
"""Largest picture that is decoded whole: 300 MB as uint8 RGB. A larger one is a scene to cut, or an attack."""

_EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}


def read_array(source: np.ndarray | Lazy) -> np.ndarray:
    """A mask or class map of a `Sample`, read now."""
    return source if isinstance(source, np.ndarray) else source.read()


def images_key(sample: Sample) -> tuple[Hashable, ...]:
    """The same for two samples of one process that are about the same picture, or pictures."""
    return tuple(
        image if isinstance(image, Path) else id(image) if isinstance(image, np.ndarray) else image.key
        for image in sample.images
    )


@contextmanager
def open_picture(file: Path | BinaryIO, name: str, *, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """A picture whose header is read; whatever fails here or inside of the ``with`` is one `UserError`.

    Args:
        file: where it is.
        name: what it is called in messages.
        formats: what Pillow may decode, of `FORMATS`.

    Raises:
        UserError: for a file that is missing, empty, truncated, not an image, or larger than `MAX_PIXELS`.
    """
    if isinstance(file, Path) and not file.is_file():
        raise UserError(f"no image file {name}")
    if isinstance(file, Path) and file.stat().st_size == 0:
        raise UserError(f"{name} is empty (0 bytes). Copy or download it again")
    try:
        with Image.open(file, formats=formats) as image:
            require_pixels(image.width, image.height, name)
            yield image
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is not a picture that can be read. Expected one of {', '.join(formats)}") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name} is truncated or damaged ({error}). Copy or download it again") from error


def require_pixels(width: int, height: int, name: str) -> None:
    """Raises a `UserError` for more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise _too_large(name)


def decode_image(file: Path | BinaryIO, name: str) -> np.ndarray:
    """(H, W, 3) uint8 of an encoded picture, see `load_image`; in memory each band lies in one piece.

    Raises:
        UserError: as `open_picture`, and for more than 8 bits a band; ``name`` says which picture.
    """
    with open_picture(file, name) as image:
        if image.mode not in _EIGHT_BIT:
            raise UserError(
                f"{name} has pixels of mode {image.mode!r}; expected 8 bits a band. Give a file as "
                "rsmoe.geo.RasterSource(path=..., stretch=...), or scale it first: gdal_translate -ot Byte a.tif b.png"
            )
        ImageOps.exif_transpose(image, in_place=True)
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # of the same mode, it would copy
        # band after band in memory, as tensors want it: to part interleaved bands costs a fifth of a JPEG's decoding
        planes = np.empty((3, rgb.height, rgb.width), dtype=np.uint8)
        for plane, band in zip(planes, "RGB", strict=True):
            plane[:] = np.frombuffer(rgb.tobytes("raw", band), np.uint8).reshape(plane.shape)
        return planes.transpose(1, 2, 0)


def load_image(source: Path | np.ndarray | Lazy) -> np.ndarray:
    """Decodes one picture to (H, W, C) uint8.

    A file becomes RGB: upright by its EXIF orientation, one grey band repeated three times, palettes and CMYK
    converted, alpha dropped. A GeoTIFF that Pillow cannot open keeps all its bands, 0 where it holds no data. An array
    passes as it is, with any number of bands, and so does what a `Lazy` one reads.

    Raises:
        UserError: for a file that is missing, empty, truncated, not an image, of more than 8 bits a band or larger
            than `MAX_PIXELS`; for an array that is not (H, W, C) uint8.
    """
    if not isinstance(source, Path):
        source = read_array(source)
        if source.ndim != 3 or source.dtype != np.uint8 or 0 in source.shape:
            raise UserError(f"expected a picture as (H, W, C) uint8, got an array {source.shape} {source.dtype}")
        return source
    try:
        return decode_image(source, str(source))
    except UserError as error:
        if not _needs_raster(source, error):
            raise
        from rsmoe.geo.raster import RasterSource

        return RasterSource(path=source).read()


def picture_size(source: Path | np.ndarray | Lazy) -> tuple[int, int]:
    """(width, height) in pixels of what `load_image` gives; of a file only the header is read, a `Lazy` one whole.

    Raises:
        UserError: as `load_image`.
    """
    if not isinstance(source, Path):
        height, width = read_array(source).shape[:2]
        return width, height
    try:
        with open_picture(source, str(source)) as image:
            if image.width == image.height:
                return image.size  # whichever side is up; of a PNG, the orientation may stand behind the pixels
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) > 4  # on its side
            return (image.height, image.width) if lies else image.size
    except UserError as error:
        if not _needs_raster(source, error):
            raise
        from rsmoe.geo.info import open_raster

        info = open_raster(source)
        return info.width, info.height


def find_images(folder: Path, names: Iterable[str], *, source: str, absent: list[str] | None = None) -> dict[str, Path]:
    """The file of every name, as `rsmoe.data.file_names` finds it: "101.tif" finds ``101.jpg``.

    A name with a path in it lies in that folder below ``folder``, or, where there is none, in ``folder`` itself:
    annotations often have the paths of another machine. No name leads out of ``folder``.

    Args:
        folder: where the pictures are.
        names: file names as the annotations have them.
        source: name of the release, for messages.
        absent: gets the names that have no file, which are an error without it.

    Raises:
        UserError: when the folder is missing, when names have no file or an empty one (counted, five named), when two
            files fit a name equally well, or one file two names.
    """
    if not folder.is_dir():
        raise UserError(f"{source}: the images folder {folder} does not exist. Unpack the images there")
    return find_all(FileTree(folder, source=source, flat=True), names, source=source, absent=absent)


def find_all(tree: FileTree, names: Iterable[str], *, source: str, absent: list[str] | None) -> dict[str, Path]:
    """`find_images`, in a tree whose rule is given."""
    wanted = dict.fromkeys(names)
    looked_up = {name: tree.find(name) for name in wanted}
    found = {name: path for name, path in looked_up.items() if path is not None}
    missing = [name for name in wanted if name not in found]
    if absent is not None:
        absent += missing
    elif missing:
        place = tree.place(missing[0])
        if not place.is_dir():
            raise UserError(f"{source}: the images folder {place} does not exist. Unpack the images there")
        beside = [name for name in wanted if tree.place(name) == place]
        missing = [name for name in beside if name not in found]
        refuse(missing, len(beside), f"annotated names have no image in {place}", source=source)
    empty = [name for name, path in found.items() if path.stat().st_size == 0]
    refuse(empty, len(wanted), f"annotated names are empty files in {tree.root}", source=source)
    return found


def refuse(names: Sequence[str], total: int, fault: str, *, source: str) -> None:
    """Raises a `UserError` that counts the names and gives five of them; nothing when there are none."""
    if names:
        shown = ", ".join(name if name.strip() and name.isprintable() else ascii(name) for name in names[:5])
        more = " ..." if len(names) > 5 else ""
        raise UserError(f"{source}: {len(names)} of {total} {fault}: {shown}{more}. Download them again")


def _needs_raster(path: Path, error: UserError) -> bool:
    """Whether this is a TIFF of more bands, or other types, than Pillow knows."""
    return path.suffix.lower() in (".tif", ".tiff") and isinstance(error.__cause__, UnidentifiedImageError)


def _too_large(name: str) -> UserError:
    return UserError(f"{name} has more than {MAX_PIXELS:,} pixels, too many to decode whole. Cut it into tiles first")
