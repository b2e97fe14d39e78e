"""A request, as a user makes it: pictures in whatever form they are in, and what is asked about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rsmoe.data.change.instructions import CAPTION
from rsmoe.data.files.byte_ranges import is_url
from rsmoe.data.rasters.images import load_image
from rsmoe.errors import UserError, require_known
from rsmoe.generation.decoding import Decoding
from rsmoe.geo.dates import Dates, read_dates
from rsmoe.geo.raster import RasterSource

DESCRIBE = "Describe this image."
"""What one picture is asked, if nothing else is: in a sentence or in detail, as the model was trained."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One instruction about one picture, or about several dates of it.

    Raises:
        UserError: an instruction that is no text.
    """

    id: str
    """Unique among the requests of a job."""
    pictures: tuple[Any, ...]
    """A picture, or the dates in temporal order: paths, http(s) addresses, (H, W, C) uint8 arrays, or PIL images."""
    instruction: str | None = None
    """None, or only spaces, asks for a description of one picture, or of the region, and for the changes of two."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier (question, answer) turns."""
    region: Any = None
    """What it is about, where that is a part of the first picture, see `rsmoe.evaluation.asked_region`."""
    task: str = ""
    """Of `conf/task`, where the request says so: it decides how an answer is scored, not the answer."""
    expert: str | None = None
    """The expert that answers alone, whatever the router says; None: those that the router chooses."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What names the picture says of it, for all that is written: of a STAC item "item", "datetime" and "asset"."""
    refused: str | None = None
    """Why there is no picture, where a list of many names one that cannot be had."""
    decoding: Decoding | None = None
    """How its answer is decoded; None: as `rsmoe.evaluation.assistant.Assistant.answer` is told for all."""

    def __post_init__(self) -> None:
        """Checks the instruction; a server may open the pictures later."""
        if not isinstance(self.instruction, str | None):
            raise UserError(
                f"an instruction is one text, or None, got {type(self.instruction).__name__}; another one for each "
                "picture: model.answer([Request(id=..., pictures=(picture,), instruction=...), ...])"
            )

    @property
    def asked(self) -> str:
        """The instruction as it is, or what is asked where there is none."""
        if self.instruction is not None and self.instruction.strip():
            return self.instruction
        return DESCRIBE if len(self.pictures) == 1 else CAPTION

    @property
    def names(self) -> list[str]:
        """What the pictures are called in what is written."""
        return [str(p) if isinstance(p, str | Path) else "(array)" for p in self.pictures]

    @property
    def titles(self) -> list[str]:
        """The same without folders and endings, for figures."""
        return [Path(name).stem for name in self.names]

    def fingerprint(self) -> str:
        """16 hex digits that change with the words, the names of the pictures, and with files that are not the same."""
        paths = (Path(p) for p in self.pictures if isinstance(p, str | Path) and not is_url(str(p)))
        stats = [(s.st_size, s.st_mtime_ns) for s in (path.stat() for path in paths if path.is_file())]
        said: list[Any] = [self.id, self.names, self.instruction, self.history, self.task, stats]
        said += [sorted(self.about.items())] if self.about else []
        said += [] if self.region is None else [self.region]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def open_pictures(request: Request, *, bands: int, options: Mapping[str, Any]) -> Dates:
    """The pictures of a request on one grid.

    Args:
        options: of `rsmoe.geo.RasterSource`, for rasters; a window of an address is cut out where it is fetched.

    Raises:
        UserError: see `rsmoe.geo.dates.read_dates` and `rsmoe.evaluation.remote.fetch_picture`; arrays beside files;
            no mapping of options, or an unknown one.
    """
    if not isinstance(options, Mapping):
        raise UserError(f"raster={options!r}: expected options by name, such as raster={{'stretch': {options!r}}}")
    require_known("option of raster", *options, known=[f.name for f in fields(RasterSource) if f.name != "path"])
    pictures = request.pictures
    named = [isinstance(p, str | Path) for p in pictures]
    if not all(named):
        if any(named):
            raise UserError("the dates of a request are all files, or all arrays: got some of both")
        return _of_arrays([_array(p) for p in pictures], bands)
    addresses = [p for p in map(str, pictures) if is_url(p)]
    if not addresses:
        return read_dates([Path(p) for p in pictures], bands=bands, options=options)
    from rsmoe.evaluation.remote import fetch_picture

    options = dict(options)
    window = options.pop("window", None)
    if window is not None and len(addresses) < len(pictures):
        raise UserError("raster.window= is in pixels of one of several files: give all of them as files, or none")
    notes: list[str] = []
    paths: list[Path] = []
    with TemporaryDirectory(prefix="rsmoe-") as folder:
        for number, picture in enumerate(map(str, pictures)):
            if is_url(picture):
                place = Path(folder, str(number))
                place.mkdir()
                path, note = fetch_picture(picture, place, window=window)
                notes += [note] if note else []
                paths.append(path)
            else:
                paths.append(Path(picture))
        dates = read_dates(paths, bands=bands, options=options)
        dates = dates if dates.in_memory else dates.overview()
        return replace(dates, notes=(*notes, *dates.notes))


def _array(picture: Any) -> np.ndarray:
    if not isinstance(picture, np.ndarray):
        if not hasattr(picture, "convert"):
            raise UserError(
                f"a picture is a path, an http(s) address, an array (H, W, C) uint8 or a PIL image, got "
                f"{type(picture).__name__}; of a torch tensor: tensor.permute(1, 2, 0).numpy()"
            )
        picture = np.array(picture.convert("RGB"))
    if picture.ndim == 2:
        picture = picture[..., None]
    return load_image(picture if picture.flags.writeable else picture.copy())  # torch warns of np.asarray(image)


def _of_arrays(images: Sequence[np.ndarray], bands: int) -> Dates:
    images = [np.repeat(image, bands, axis=2) if image.shape[2] == 1 else image for image in images]
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or images[0].shape[2] != bands:
        listed = ", ".join(" x ".join(map(str, image.shape)) for image in images)
        raise UserError(f"expected arrays of one size and {bands} bands (height x width x bands), got {listed}")
    valid = np.ones(images[0].shape[:2], bool)
    return Dates(images=tuple(images), valid=valid, georeference=None, notes=())
