"""Objects of a picture in PASCAL VOC's xml: a name and a box each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rsmoe.data.files.text_files import require_file
from rsmoe.errors import UserError


@dataclass(frozen=True, kw_only=True)
class VOCObject:
    """One <object>, with what its file says of the picture."""

    xml: str
    file: str
    size_px: tuple[int, int]
    name: str
    box: tuple[float, float, float, float]
    """``x1 y1 x2 y2`` in pixels, as written."""
    expression: str
    """Its <description>; "" where none is asked for."""


def read_voc(path: Path, *, described: bool = False) -> list[VOCObject]:
    """The objects of one file: <filename>, <size> with <width> and <height>, and <object>s with <name> and <bndbox>.

    Args:
        described: whether each must have a <description>.

    Raises:
        UserError: no such file, no xml, or another format, naming the tag.
    """
    try:
        page = ElementTree.parse(require_file(path)).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter: encodings that expat lacks
        raise UserError(f"{path} is not xml ({error}; {path.stat().st_size} bytes). Download it again") from error

    def text(node: ElementTree.Element, tag: str) -> str:
        found = node.find(tag)
        if found is None:
            raise UserError(f"{path}: no <{tag}> in <{node.tag}>; this is not the format that the reader expects")
        return " ".join((found.text or "").split())

    def number(node: ElementTree.Element, tag: str) -> float:
        try:
            if math.isfinite(value := float(text(node, tag))):
                return value
        except ValueError:
            pass
        raise UserError(f"{path}: <{tag}> should be a number, found {text(node, tag)[:60]!r}")

    size = int(number(page, "size/width")), int(number(page, "size/height"))
    return [
        VOCObject(
            xml=path.name,
            file=text(page, "filename"),
            size_px=size,
            name=text(node, "name"),
            box=tuple(number(node, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")),  # type: ignore[arg-type]
            expression=text(node, "description") if described else "",
        )
        for node in page.findall("object")
    ]
