"""Pictures as uint8 arrays: found by name, and decoded in one way everywhere."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags

from rsmoe.data.files.file_names import FileTree
from rsmoe.data.sample import Lazy, Sample
from rsmoe.errors import UserError
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.info import open_raster
from rsmoe.geo.pictures import decode_with_pillow, open_picture, require_file_with_bytes, require_pixels
from rsmoe.geo.whole_raster import decode_raster


def read_array(source: np.ndarray | Lazy) -> np.ndarray:
    """A mask or class map of a `Sample`, read now."""
    return source if isinstance(source, np.ndarray) else source.read()


def images_key(sample: Sample) -> tuple[Hashable, ...]:
    """The same for two samples of one process that are about the same picture, or pictures."""
    return tuple(
        image if isinstance(image, Path) else id(image) if isinstance(image, np.ndarray) else image.key
        for image in sample.images
    )


def decode_image(file: Path | bytes, name: str) -> np.ndarray:
    """(H, W, C) uint8 of an encoded picture, see `load_image`."""
    return decode_picture(file, name)[0]


def decode_picture(file: Path | bytes, name: str, *, blank: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """Decodes one picture: the only way from a file to pixels, whether it lies in a folder, a tar file or a shard.

    What it becomes is said by `load_image`. In memory each band lies in one piece.

    Args:
        file: where it is, or its bytes.
        name: what it is called in messages.
        blank: whether pixels without data are 0; False leaves what is stored there, for colours that mean classes.

    Returns:
        (H, W, C) uint8, and the (H, W) bool mask of the pixels that hold data; None where all do.

    Raises:
        UserError: as `open_picture`, and for more than 8 bits a band.
    """
    require_file_with_bytes(file, name)
    if raster_drivers(file):
        return decode_raster(file, name, blank=blank)
    return decode_with_pillow(file, name, blank=blank)


def load_image(source: Path | np.ndarray | Lazy) -> np.ndarray:
    """Decodes one picture to (H, W, C) uint8.

    Of a file, whatever its suffix:

    - palettes are applied, white-is-zero is turned, CMYK and YCbCr are converted, 1, 2 and 4 bits are spread over 0 to
      255; one grey band is repeated three times, and a TIFF or JPEG 2000 of more bands keeps all of them;
    - alpha is no band: where it is 0, where a key colour, a mask or a nodata value says so, there is no data, and every
      band is 0; elsewhere the colours are as stored;
    - it stands upright by its orientation (EXIF, or the TIFF tag of a file without a georeference): boxes and masks are
      in this frame;
    - of several pages or frames the first is read; embedded colour profiles are not applied;
    - more than 8 bits a band are refused, for how they become 8 has to be declared: `rsmoe.geo.RasterSource`.

    An array passes as it is, with any number of bands, and so does what a `Lazy` one reads.

    Raises:
        UserError: for a file that is missing, empty, truncated, not an image, of more than 8 bits a band or larger
            than `rsmoe.geo.pictures.MAX_PIXELS`; for an array that is not (H, W, C) uint8.
    """
    if isinstance(source, Path):
        return decode_image(source, str(source))
    source = read_array(source)
    if source.ndim != 3 or source.dtype != np.uint8 or 0 in source.shape:
        raise UserError(f"expected a picture as (H, W, C) uint8, got an array {source.shape} {source.dtype}")
    return source


def picture_size(source: Path | np.ndarray | Lazy) -> tuple[int, int]:
    """(width, height) in pixels of what `load_image` gives; of a file only the header is read, a `Lazy` one whole."""
    if not isinstance(source, Path):
        height, width = read_array(source).shape[:2]
        return width, height
    require_file_with_bytes(source, str(source))
    if raster_drivers(source):
        info = open_raster(source)
        require_pixels(info.width, info.height, str(source))
        return info.width, info.height
    with open_picture(source, str(source)) as image:
        if image.width == image.height:
            return image.size  # whichever side is up; of a PNG, the orientation may stand behind the pixels
        lies = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)  # on its side
        return (image.height, image.width) if lies else image.size


def find_images(
    folder: Path, names: Iterable[str], *, source: str, flat: bool = True, absent: list[str] | None = None
) -> dict[str, Path]:
    """The file of every name, as `rsmoe.data.files.file_names` finds it: "101.tif" finds ``101.jpg``.

    A name with a path in it lies in that folder below ``folder``, or, where there is none, in ``folder`` itself:
    annotations often have the paths of another machine. No name leads out of ``folder``.

    Args:
        names: file names as the annotations have them; repeats cost nothing.
        flat: False: each has to lie where its path says, and one that leaves ``folder`` is an error.
        absent: gets the names that have no file, which are an error without it.

    Raises:
        UserError: when the folder is missing, when names have no file or an empty one (counted, five named), when two
            files fit a name equally well, or one file two names.
    """
    if not folder.is_dir():
        raise UserError(f"{source}: the images folder {folder} does not exist. Unpack the images there")
    tree = FileTree(folder, source=source, flat=flat)
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
    refuse(empty, len(wanted), f"annotated names are empty files in {folder}", source=source)
    return found


def refuse(names: Sequence[str], total: int, fault: str, *, source: str) -> None:
    """Raises a `UserError` that counts the names and gives five of them; nothing when there are none."""
    if names:
        shown = ", ".join(name if name.strip() and name.isprintable() else ascii(name) for name in names[:5])
        more = " ..." if len(names) > 5 else ""
        raise UserError(
            f"{source}: {len(names)} of {total} {fault}: {shown}{more}. Copy them there, or correct the names"
        )
