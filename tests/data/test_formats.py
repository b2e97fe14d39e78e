"""Every data set of conf/data is inspected, sharded and streamed, and comes back field by field."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from support.formats import data_of

from rsmoe.commands.inspect import inspect
from rsmoe.config import conf_dir
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.sample import Sample
from rsmoe.data.shards.sample_codec import PIXELS, _plain
from rsmoe.data.shards.stream import Stream
from rsmoe.data.shards.writer import write_shards

"""What `RELEASES` does not have: ``name`` in conf/data -> writes its release into its folder."""

"""So that a release of a few pictures has a sample of every task."""


def content(value: Any) -> Any:
    """What a field holds, whether in memory, on disk or in a shard."""
    if isinstance(value, tuple):
        return tuple(content(part) for part in value)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return content(read_array(value)) if hasattr(value, "read") else value


def told(sample: Sample) -> dict[str, Any]:
    """Every field, in a form that compares."""
    fixed = {field.name: content(getattr(sample, field.name)) for field in fields(sample)}
    fixed["images"] = [content(load_image(image)) for image in sample.images]
    fixed["region"] = sample.region and (sample.region.corners.tolist(), sample.region.size_px)
    fixed["meta"] = json.loads(json.dumps(sample.meta, default=_plain))  # tuples come back as lists
    return fixed


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml")))
def test_a_data_set_is_inspected_sharded_and_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "home").mkdir()
    data = data_of(name, tmp_path / "home", monkeypatch)
    given = {sample.id: told(sample) for sample in (data[i] for i in range(len(data)))}
    assert len(given) == len(data) > 0

    console = Console(width=160, markup=False, emoji=False, file=io.StringIO())
    assert inspect(data, rows=2, sheet=1, out=tmp_path / "sheet.png", console=console) == []
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{data.name} {data.split}" in printed and "1 samples drawn" in printed
    assert all(reason in printed for reason in getattr(data, "unused", {}))  # generated ones use all

    for pixels in PIXELS:
        shards = write_shards(dataset=data, out=tmp_path / pixels, source={"of": name}, shard_size=3, pixels=pixels)
        shards.verify()
        assert shards.samples == len(data) and shards.protocol == data.protocol
        stream = Stream(
            shards={name: shards}, batch_size=1, steps=len(data), buffer=len(data), lanes=1, max_bad_fraction=0
        )
        back = {sample.id: told(sample) for pairs in stream for sample, _ in pairs}
        assert back.keys() == given.keys()
        for identity, sample in back.items():
            assert sample == given[identity], (pixels, identity)
