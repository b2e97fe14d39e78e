"""A view, which is a picture or pair with all its samples, as members of a tar file, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from rsmoe.data.boxes.region import Region
from rsmoe.data.files.file_names import SUFFIXES
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.sample import Lazy, Sample
from rsmoe.data.shards.member import Form, ShardMember, decode_picture, encode_array
from rsmoe.errors import UserError
from rsmoe.geo.file_format import raster_drivers
from rsmoe.geo.georeference import Georeference

BLOCK = 512
"""Tar files are made of blocks of so many bytes: one of header before each member, whose content is padded."""

PIXELS = ("encoded", "raw")
"""How pictures may be kept: as the release has them, or decoded."""

_PLAIN = ("kind", "history", "classes", "labels", "directional", "every", "meta")
_TUPLES = ("responses", "classes", "labels")


@dataclass(frozen=True, kw_only=True)
class EncodedView:
    """A view as it is written: first the member "json", then the files that it lists."""

    members: tuple[tuple[str, bytes], ...]
    """(name, content); empty when no sample is left."""
    samples: int
    """Samples in it."""
    left_out: tuple[tuple[str, str], ...]
    """(id, reason) of the samples that could not be encoded."""


def padded(size: int) -> int:
    """Bytes that a content of ``size`` takes in a tar file."""
    return -(-size // BLOCK) * BLOCK


def encode_view(samples: Sequence[Sample], *, check: bool = True, pixels: str = "encoded") -> EncodedView:
    """Encodes samples on the same images, which are stored once. Equal masks are stored once too.

    Files of pictures are taken byte by byte; arrays, and rasters with declared bands or a stretch, become PNG of the
    pixels that are read of them. The json holds
    ``files`` (name, size and form of each, in order), ``images`` (the numbers of those that are the pictures, by time)
    and ``samples``: the fields of `Sample` that differ from their defaults, masks as the number of their file.

    Args:
        check: decodes every picture as a test. Whatever cannot be read is left out, with its reason.
        pixels: one of `PIXELS`; "raw" writes what `load_image` gives of each picture, uncompressed.
    """
    files: dict[tuple[bytes, Form, int], tuple[int, str]] = {}
    left_out: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []

    def keep(content: bytes, suffix: str, form: Form, bands: int = 0) -> int:
        number, _ = files.setdefault((content, form, bands), (len(files), f"{len(files)}{suffix}"))
        return number

    try:
        pictures = [keep(*_picture(image, check=check, raw=pixels == "raw")) for image in samples[0].images]
    except UserError as error:
        return EncodedView(members=(), samples=0, left_out=tuple((s.id, str(error)) for s in samples))
    for sample in samples:
        try:
            row = _fields(sample)
            for field, form in (("mask", "mask"), ("class_map", "classes")):
                source = getattr(sample, field)
                if source is not None:
                    row[field] = keep(encode_array(read_array(source), form), f".{field}.png", form)  # type: ignore[arg-type]
            if sample.masks:
                codes = [encode_array(read_array(mask), "mask") for mask in sample.masks]
                row["masks"] = [keep(code, ".mask.png", "mask") for code in codes]
            rows.append(row)
        except UserError as error:
            left_out.append((sample.id, str(error)))
    if not rows:
        return EncodedView(members=(), samples=0, left_out=tuple(left_out))
    listed = [
        {"name": name, "size": len(content), "form": form, **({"bands": bands} if bands else {})}
        for (content, form, bands), (_, name) in files.items()
    ]
    text = _json({"files": listed, "images": pictures, "samples": rows}, samples[0].id)
    members = (("json", text), *((name, content) for (content, _, _), (_, name) in files.items()))
    return EncodedView(members=members, samples=len(rows), left_out=tuple(left_out))


def decode_view(text: bytes, *, shard: str, row: Sequence[int], files: memoryview | None = None) -> list[Sample]:
    """The samples of a view; their images and masks are `ShardMember`s, shared where they are the same.

    Args:
        text: content of its json member.
        row: of the shard's table, see `rsmoe.data.shards.index.COLUMNS`.
        files: the bytes behind that member, where they have been read.

    Raises:
        UserError: for a json that `encode_view` did not write, or another number of samples than the table says.
    """
    offset, json_size, whole, count, _ = map(int, row)
    start = offset + BLOCK + padded(json_size)
    room = offset + whole - start
    try:
        view = json.loads(text)
        members: list[ShardMember] = []
        place = 0
        for file in view["files"]:
            place += BLOCK
            size = int(file["size"])
            if not 0 <= size <= room - place or file["form"] not in get_args(Form):
                raise ValueError(f"a {file['form']} of {size} bytes")
            members.append(
                ShardMember(
                    shard=shard,
                    offset=start + place,
                    size=size,
                    name=f"{view['samples'][0]['id']}, file {file['name']}",
                    form=file["form"],
                    bands=int(file.get("bands", 0)),
                    content=None if files is None else bytes(files[place : place + size]),
                )
            )
            place += padded(size)
        images = tuple(members[i] for i in view["images"])
        samples = [_sample(one, images, members) for one in view["samples"]]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{shard}: the json before byte {start} is no view of this library ({error!r})") from error
    if len(samples) != count:
        raise UserError(f"{shard}: the view at byte {offset} has {len(samples)} samples, its table says {count}")
    return samples


def _picture(image: Path | np.ndarray | Lazy, *, check: bool, raw: bool) -> tuple[bytes, str, Form, int]:
    """Content, suffix, form and bands."""
    if raw:
        return encode_array(load_image(image), "raw"), ".npy", "raw", 0
    content, suffix = _as_it_is(image)
    if content is not None:
        if check:
            decode_picture(content, what=str(image))
        return content, suffix, "picture", 0
    array = load_image(image)
    return encode_array(array, "bands"), ".png", "bands", array.shape[2]


def _as_it_is(image: Path | np.ndarray | Lazy) -> tuple[bytes | None, str]:
    """The bytes of an encoded picture, None for anything else."""
    if isinstance(image, Path):
        if {"HFA", "ENVI"} & set(raster_drivers(image)):  # may have a part of it beside the file
            return None, ""
        try:
            return image.read_bytes(), _suffix(image.name)
        except OSError as error:
            raise UserError(f"{image} cannot be read ({error.strerror}). Copy it again") from error
    if isinstance(image, ShardMember) and image.form == "picture":
        return image.content(), _suffix(image.name)
    return None, ""


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ".img"


def _fields(sample: Sample) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(sample, name) for name in ("id", "instruction", "responses", "task", "source")}
    row |= {name: value for name in _PLAIN if (value := getattr(sample, name))}
    for name in ("boxes_px", "obb_px"):
        if (boxes := getattr(sample, name)) is not None:
            row[name] = np.asarray(boxes, np.float32).tolist()
    if sample.region is not None:
        row["region"] = {"corners": sample.region.corners.tolist(), "size_px": sample.region.size_px}
    if sample.georeference is not None:
        row["georeference"] = asdict(sample.georeference)
    _json(row, sample.id)
    return row


def _sample(row: dict[str, Any], images: tuple[ShardMember, ...], members: list[ShardMember]) -> Sample:
    row = dict(row)
    row |= {name: tuple(row[name]) for name in _TUPLES if name in row}
    row |= {name: members[row[name]] for name in ("mask", "class_map") if name in row}
    row["masks"] = tuple(members[number] for number in row.get("masks", ()))
    for name, width in (("boxes_px", 4), ("obb_px", 5)):
        if name in row:
            row[name] = np.asarray(row[name], dtype=np.float32).reshape(-1, width)
    if "history" in row:
        row["history"] = tuple((question, answer) for question, answer in row["history"])
    if "region" in row:
        corners, (width, height) = np.asarray(row["region"]["corners"], np.float64), row["region"]["size_px"]
        row["region"] = Region(corners=corners.reshape(-1, 2), size_px=(width, height))
    if "georeference" in row:
        row["georeference"] = Georeference(
            **(row["georeference"] | {"transform": tuple(row["georeference"]["transform"])})
        )
    return Sample(images=images, **row)


def _json(content: Any, identity: str) -> bytes:
    try:
        return json.dumps(content, default=_plain, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise UserError(f"sample {identity!r} cannot be written as json: {error}") from error


def _plain(value: Any) -> Any:
    """What json does not know, of what readers keep in `Sample.meta`; tuples come back as lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__}: {str(value)[:40]}")
