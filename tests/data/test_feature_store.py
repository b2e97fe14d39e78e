"""Features on disk: what was written is read back, by whom and when it may be, and never of another picture."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rsmoe.data import feature_store
from rsmoe.data.feature_store import FeatureStore, feature_key, stacked
from rsmoe.data.shards.member import ShardMember
from rsmoe.errors import UserError
from rsmoe.geo.raster import RasterSource


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for i in range(3):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (8, 8), (i, 0, 0)).save(paths[-1])
    return paths


def levels(rows: int, *, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 2, 4, 4, generator=generator), torch.randn(rows, 5, 2, 2, generator=generator)


def filled(folder: Path, pictures: list[Path]) -> tuple[FeatureStore, tuple[Tensor, ...]]:
    store, given = FeatureStore(folder), levels(len(pictures))
    store.add([feature_key(p, 0) for p in pictures], given)
    return store, given


def test_what_was_written_is_read_in_this_process_and_in_another(tmp_path: Path, pictures: list[Path]) -> None:
    store, given = filled(tmp_path / "store", pictures)
    for reader in (store, FeatureStore(tmp_path / "store"), pickle.loads(pickle.dumps(store))):
        for row, picture in enumerate(pictures):
            assert all(torch.equal(x, level[row]) for x, level in zip(reader(picture, 0), given, strict=True))
        assert feature_key(pictures[0], 3) not in reader


def test_two_that_write_at_once_see_each_others_files(tmp_path: Path, pictures: list[Path]) -> None:
    first, second = FeatureStore(tmp_path / "store"), FeatureStore(tmp_path / "store")
    keys = [feature_key(p, 0) for p in pictures]
    first.add(keys[:2], levels(2))
    second.add(keys[2:], levels(1, seed=1))
    second.add(keys[:2], levels(2))  # the same work twice is the same file
    assert keys[2] not in first and keys[0] in second
    first.refresh()
    assert torch.equal(first(pictures[2], 0)[1], levels(1, seed=1)[1][0])
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_a_picture_that_changed_has_none(tmp_path: Path, pictures: list[Path]) -> None:
    store, _ = filled(tmp_path / "store", pictures)
    os.utime(pictures[0], ns=(1, 1))
    with pytest.raises(UserError, match=r"0.png: its features are not in .*changed since training began. Start again"):
        store(pictures[0], 0)
    pictures[1].unlink()
    with pytest.raises(UserError, match=r"no image file .*1\.png"):
        store(pictures[1], 0)


def test_keys_follow_content_file_and_options(tmp_path: Path, pictures: list[Path]) -> None:
    array = np.zeros((4, 4, 3), np.uint8)
    assert feature_key(array, 0) == feature_key(array.copy(), 0) != feature_key(array + 1, 0)
    assert feature_key(array, 0) != feature_key(array.reshape(2, 8, 3), 0)
    whole, part = RasterSource(path=pictures[0]), RasterSource(path=pictures[0], window=(0, 0, 4, 4))
    before = feature_key(whole, 0)
    assert len({before, feature_key(part, 0), feature_key(pictures[0], 0)}) == 3
    shard = ShardMember(shard=str(pictures[0]), offset=0, size=9, name="a.png")
    of_shard = feature_key(shard, 0)
    os.utime(pictures[0], ns=(1, 1))
    assert feature_key(whole, 0) != before and feature_key(shard, 0) != of_shard


def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, pictures: list[Path]) -> None:
    _, given = filled(tmp_path / "store", pictures)
    (file,) = (tmp_path / "store").iterdir()
    for content in (b"", file.read_bytes()[:40], file.read_bytes()[:-1]):
        file.write_bytes(content)
        again = FeatureStore(tmp_path / "store")
        assert feature_key(pictures[0], 0) not in again
    again.add([feature_key(p, 0) for p in pictures], given)
    assert torch.equal(FeatureStore(tmp_path / "store")(pictures[1], 0)[0], given[0][1])


def test_a_full_disk_is_a_line_and_leaves_nothing(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: Any, path: Path, metadata: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(feature_store, "save_file", full)
    with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
        filled(tmp_path / "store", pictures)
    assert list((tmp_path / "store").iterdir()) == []


def test_views_of_fewer_dates_end_in_zeros() -> None:
    a, b = (tuple(x[i] for x in levels(2)) for i in (0, 1))
    joined = stacked([[a], [b, a]], times=2)
    assert [tuple(x.shape) for x in joined] == [(2, 2, 2, 4, 4), (2, 2, 5, 2, 2)]
    assert torch.equal(joined[1][1, 0], b[1]) and torch.equal(joined[1][1, 1], a[1])
    assert torch.equal(joined[0][0, 0], a[0]) and not joined[0][0, 1].any()
