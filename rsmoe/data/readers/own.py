"""Your own data by its place alone, for ``corpus=own``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from rsmoe.data.files.byte_ranges import is_url
from rsmoe.data.files.file_names import listed
from rsmoe.data.readers.own_folder import OwnFolder
from rsmoe.data.readers.own_rows import read_table, row_splits
from rsmoe.data.readers.own_table import OwnTable
from rsmoe.data.readers.own_webdataset import OwnWebdataset
from rsmoe.data.readers.reader import Reader
from rsmoe.data.sample import Sample
from rsmoe.data.shards.dataset import ShardDataset
from rsmoe.errors import UserError


def own_data(
    *,
    path: str | None,
    split: str,
    task: str | None = None,
    instruction: str | None = None,
    box_convention: str | None = None,
    raster: Mapping[str, Any] | None = None,
    name: str = "own",
) -> Dataset[Sample]:
    """The reader of what lies at a place.

    ====================================================  =============================================
    a ``.jsonl`` or ``.csv``                              `OwnTable`; see there for the splits of one file
    a folder with ``train.jsonl`` or ``train.csv``        `OwnTable`, one file a split
    a folder with ``train.json``, or an address           `ShardDataset`, what ``rsmoe.commands.shard`` wrote
    a folder with ``train/*.tar``                         `OwnWebdataset`
    a folder with ``train/``, or with pictures            `OwnFolder`, a text beside each picture
    ====================================================  =============================================

    A split other than "train" that is not there has no samples.

    Args:
        path: a file, a folder, or the http(s) address of shards.
        split: "train", "val" or "test".
        task, instruction: of rows that do not say; pictures with a text beside them have the task "caption".
        box_convention: see `OwnTable`.
        raster: see `OwnTable` and `OwnFolder`.
        name: what the numbers are called by.

    Raises:
        UserError: there is nothing of this kind at ``path``; whatever the reader raises.
    """
    if path is None:
        raise UserError(
            "give corpus.own.data=<a .jsonl, a .csv, or a folder of them, of pictures with texts, or of shards>"
        )
    if is_url(path):
        return ShardDataset(root=path, split=split)
    place = Path(path).expanduser()
    root = str(place)
    table: dict[str, Any] = {"split": split, "name": name, "task": task, "instruction": instruction}
    table |= {"box_convention": box_convention, "raster": raster}
    if place.is_file():
        if split != "train" and split not in row_splits(read_table(place)):
            return _none(name, split)
        return OwnTable(root=str(place.parent), table=place.name, **table)
    if not place.is_dir():
        raise UserError(
            f"corpus.own.data={path}: no such file or folder; expected a .jsonl, a .csv, or a folder of them, of "
            "pictures with texts, or of shards"
        )
    for suffix in (".jsonl", ".csv"):
        if (place / f"train{suffix}").is_file():
            known = (place / f"{split}{suffix}").is_file()
            return OwnTable(root=root, table=f"{{split}}{suffix}", **table) if known else _none(name, split)
    if (place / "train.json").is_file():
        return ShardDataset(root=root, split=split) if (place / f"{split}.json").is_file() else _none(name, split)
    said: dict[str, Any] = {"instruction": instruction} if instruction is not None else {}
    train = place / "train"
    if train.is_dir():
        if not (place / split).is_dir():
            return _none(name, split)
        if listed(train, ".tar"):
            said |= {"task": task} if task is not None else {}
            return OwnWebdataset(root=root, split=split, name=name, **said)
        return OwnFolder(root=root, split=split, name=name, raster=raster, **said)
    if split != "train":
        return _none(name, split)
    return OwnFolder(root=root, split=split, name=name, images=".", raster=raster, **said)


def _none(name: str, split: str) -> Reader:
    return Reader(name=name, split=split)
