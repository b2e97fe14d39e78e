"""SkyScript: pictures of OpenStreetMap objects, with titles made of their tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsmoe.data.files.csv_files import read_csv
from rsmoe.data.files.file_names import FileTree, slashes, stem
from rsmoe.data.files.json_text import read_jsonl
from rsmoe.data.readers.annotations import data_root, field, require_split
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.errors import UserError

_FILE = re.compile(r"(?P<kind>[awn])(?P<id>\d+)_(?P<source>[A-Z0-9]+)_(?P<year>\d{2})")
_KIND = {"a": "area", "w": "way", "n": "node"}
_SENSOR = {
    "US": "NAIP",
    "CH": "SWISSIMAGE",
    "P3": "SkySat",
    "P5": "SkySat",
    "S2": "Sentinel-2",
    "L8": "Landsat 8",
    "L9": "Landsat 9",
}


class SkyScript(Reader):
    """One sample a row of a CSV with the columns ``filepath``, ``title`` and ``title_multi_objects``.

    ``title`` describes the object that the picture was made for, which is not always in its middle;
    ``title_multi_objects`` also what is around it. Both are put together by rule from the tags.

    A file is called ``<a|w|n><OpenStreetMap id>_<source>_<year>.jpg``, and ``Sample.meta`` says so in words: osm,
    source, sensor, year. ``box`` (west, south, east, north in degrees), ``time``, ``center_tags`` and
    ``surrounding_tags`` are released as pickles, which run what they like when they are loaded, and so are not read
    here. Who trusts them writes each once as a line of json::

        json.dumps(pickle.load(open("meta2/a1_CH_19.pickle", "rb")) | {"filepath": "images2/a1_CH_19.jpg"})

    Args:
        tables: split -> CSV, relative to ``root``.
        columns: columns whose texts are references; what is said twice counts once.
        parts: folders of images to use; None means all, and that all have to be there.
        metadata: jsonl of the rows above, relative to ``root``; its keys go to ``Sample.meta``.

    Attributes:
        unused: "no title" -> files.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        split: str,
        name: str = "skyscript",
        tables: Mapping[str, str],
        columns: Sequence[str] = ("title_multi_objects",),
        parts: Sequence[str] | None = None,
        metadata: str | None = None,
        instruction: str = "Describe this image in one sentence.",
        official: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self._root = data_root(root, name)
        super().__init__(name=name, split=split, official=official)
        self.instruction = instruction
        require_split(name, split, sorted(tables))
        self.counts = {"images": 0, "captions": 0, "other_parts": 0}
        # millions of rows: plain strings are kept, samples are made on demand
        self._files: list[str] = []
        self._titles: list[tuple[str, ...]] = []
        for file, titles in _rows(self._root / tables[split], columns):
            if parts is not None and slashes(file).split("/")[0] not in parts:
                self.counts["other_parts"] += 1
            elif not titles:
                self.leave_out("no title", file)
            else:
                self._files.append(file)
                self._titles.append(titles)
        if not self._files:
            raise UserError(f"{name}: {tables[split]} holds no row{f' of {list(parts)}' if parts is not None else ''}")
        self._paths = _elsewhere(self._root, self._files, name)
        self.counts |= {"images": len(set(self._files)), "captions": sum(map(len, self._titles))}
        self._metadata = {} if metadata is None else _metadata(self._root / metadata, set(self._files))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        file, titles = self._files[index], self._titles[index]
        return self._make(
            f"{file}:{index}",
            (self._paths.get(file, self._root / file),),
            self.instruction,
            titles,
            "caption",
            meta=_words(file) | self._metadata.get(file, {}),
        )


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """(file, titles) of every row; a title that is there twice once."""
    return [
        (row["filepath"], tuple(dict.fromkeys(filter(None, (row[column] for column in columns)))))
        for _, row in read_csv(path, columns=("filepath", *columns))
    ]


def _elsewhere(root: Path, files: Sequence[str], name: str) -> dict[str, Path]:
    """The pictures of files that are not called exactly so; all have to be there.

    Looks into each folder once: asking for each of millions of files takes too long, and so does keeping their paths.
    """
    tree, found = FileTree(root, source=name), dict[str, Path]()
    missing = []
    for file in files:
        path = tree.find(file)
        if path is None:
            missing.append(file)
        elif path != root / file:
            found[file] = path
    if missing:
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise UserError(
            f"{name}: {len(missing)} of {len(files)} images are not in {root}: {shown}. Unpack every part there, or "
            "name those that you have: data.parts=[images2]"
        )
    return found


def _metadata(path: Path, wanted: set[str]) -> dict[str, dict[str, Any]]:
    rows = {}
    for where, row in read_jsonl(path):
        file = field(row, "filepath", str, where)
        if file in wanted:
            rows[file] = {key: value for key, value in row.items() if key != "filepath"}
    return rows


def _words(file: str) -> dict[str, Any]:
    """What the name of a file says; nothing for other names."""
    match = _FILE.fullmatch(stem(file))
    if match is None:
        return {}
    source = match["source"]
    words = {"osm": f"{_KIND[match['kind']]}/{match['id']}", "source": source, "year": 2000 + int(match["year"])}
    return words | ({"sensor": _SENSOR[source]} if source in _SENSOR else {})
