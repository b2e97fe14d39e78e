"""Shards: whatever a reader gives comes back, a kill or a full disk costs no shard, and nothing unsafe is read."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import tarfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import webdataset
import yaml
from PIL import Image
from rich.console import Console
from support.shard_data import Listed, picture, sample, shards_of, toy, value_of
from torch.utils.data import DataLoader

from rsmoe.commands import shard
from rsmoe.commands.inspect import inspect
from rsmoe.config import conf_dir
from rsmoe.data.files.byte_ranges import read_range
from rsmoe.data.rasters.images import load_image, read_array
from rsmoe.data.sample import Sample
from rsmoe.data.shards.dataset import ShardDataset
from rsmoe.data.shards.index import open_shards
from rsmoe.data.shards.member import ShardMember, decode_picture, encode_array
from rsmoe.data.shards.sample_codec import PIXELS
from rsmoe.data.shards.writer import ShardWriter
from rsmoe.errors import UserError
from rsmoe.geo import RasterSource, Stretch, pictures
from rsmoe.geo.georeference import Georeference
from rsmoe.parts import instantiate


class Window:
    """A picture that is read when it is needed, from no file."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.key = f"window{array.shape}"

    def read(self) -> np.ndarray:
        return self.array


def rich(root: Path) -> Listed:
    """A sample with every field, and every sort of image."""
    rng = np.random.default_rng(0)
    jpeg = root / "a.jpg"
    picture(root / "a.png", 3)
    Image.open(root / "a.png").rotate(90, expand=True).save(jpeg, exif=Image.Exif(), quality=91)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4), (9, 8, 7)).save(root / "turned.jpg", exif=exif)
    bands = rng.integers(0, 256, (8, 12, 5), dtype=np.uint8)
    return Listed(
        [
            sample(
                "full",
                jpeg,
                root / "a.png",
                instruction="Mark the roof on the left – 屋根.",
                responses=("[SEG]", "Here [SEG]"),
                task="mask",
                kind="roof",
                history=(("Is there a roof?", "yes"), ("More?", "no")),
                mask=rng.random((12, 8)) > 0.5,
                class_map=Window(rng.integers(0, 3, (12, 8), dtype=np.uint8)),
                classes=("land", "water", "road"),
                boxes_px=np.array([[0.1, 1, 2, 3], [4, 5, 6, 7.25]], np.float32),
                obb_px=np.array([[4, 4, 3, 2, 33.3]], np.float32),
                labels=("roof", "roof"),
                georeference=Georeference("EPSG:32617", (0.1, 0.0, 400000.5, 0.0, -0.1, 3e6), 8, 12),
                directional=True,
                meta={"gsd_m": np.float32(0.5), "place": "Genoa", "size": (1, 2), "none": None},
            ),
            sample("turned", root / "turned.jpg", boxes_px=np.zeros((0, 4), np.float32)),
            sample("array", rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)),
            sample("five", bands, Window(bands[:4, :4, :1])),
            sample("again", bands.copy(), Window(bands[:4, :4, :1])),
        ]
    )


def same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b)) and a.dtype == b.dtype and a.shape == b.shape


@pytest.mark.parametrize("pixels", PIXELS)
def test_whatever_a_reader_gives_comes_back(tmp_path: Path, pixels: str) -> None:
    data = rich(tmp_path)
    shards = shards_of(data, tmp_path / "out", shard_size=2, pixels=pixels)
    back = ShardDataset(root=str(tmp_path / "out"), split="train")
    assert (back.name, back.split, back.protocol, len(back)) == ("toy", "train", "generated/", 5)
    assert back.counts == {"images": 3} and back.official == {"train": {"images": 3}} and back.unused == {}
    assert shards.samples == 5 and shards.views == 4 and [s.views for s in shards.shards] == [2, 2]
    assert shards.pixels == pixels
    found = {s.id: s for s in back}
    for given in data:
        got = found[given.id]
        assert len(got.images) == len(given.images)
        for a, b in zip(got.images, given.images, strict=True):
            assert same(load_image(a), load_image(b))
        for name in ("instruction", "responses", "task", "source", "kind", "history", "classes", "labels"):
            assert getattr(got, name) == getattr(given, name)
        assert got.directional == given.directional and got.georeference == given.georeference
        for name in ("mask", "class_map"):
            if getattr(given, name) is not None:
                assert same(read_array(getattr(got, name)), read_array(getattr(given, name)))
        for name in ("boxes_px", "obb_px"):
            theirs = getattr(given, name)
            assert getattr(got, name) is None if theirs is None else same(getattr(got, name), theirs)
    assert found["full"].meta == {"gsd_m": 0.5, "place": "Genoa", "size": [1, 2], "none": None}
    assert found["five"].images[0].key == found["again"].images[0].key
    with pytest.raises(IndexError):
        back[5]
    assert back[-1].id == back[4].id


def test_files_are_kept_byte_by_byte_and_once(tmp_path: Path) -> None:
    data = toy(tmp_path, 7, questions=3)
    shards_of(data, tmp_path / "out", seed=None)
    with tarfile.open(tmp_path / "out/train-00001.tar") as tar:
        names = tar.getnames()
        assert names == ["000000005.json", "000000005.0.png", "000000006.json", "000000006.0.png"]
        member = tar.extractfile("000000006.0.png")
        assert member is not None and member.read() == (tmp_path / "toy-6.png").read_bytes()
        assert all(info.mtime == 0 and info.isreg() for info in tar)
    back = ShardDataset(root=str(tmp_path / "out"), split="train")
    assert [s.id for s in back] == [f"toy{i}.{q}" for i in range(7) for q in range(3)]
    assert all(value_of(load_image(s.images[0])) == int(s.id[3]) for s in back)


def test_equal_masks_are_kept_once_and_other_pictures_are_not_taken_for_them(tmp_path: Path) -> None:
    png = tmp_path / "mask.png"
    mask = np.eye(8, dtype=bool)
    png.write_bytes(encode_array(mask, "mask"))
    data = Listed([sample(str(i), png, task="mask", mask=mask.copy(), responses=("[SEG]",)) for i in range(3)])
    shards_of(data, tmp_path / "out")
    with tarfile.open(tmp_path / "out/train-00000.tar") as tar:
        assert tar.getnames() == [f"000000000.{name}" for name in ("json", "0.png", "1.mask.png")]
    first = ShardDataset(root=str(tmp_path / "out"), split="train")[0]
    assert load_image(first.images[0]).shape == (8, 8, 3) and same(read_array(first.mask), mask)  # type: ignore[arg-type]


def test_masks_of_several_targets_come_back_in_their_order(tmp_path: Path) -> None:
    png = tmp_path / "mask.png"
    masks = tuple(np.arange(64).reshape(8, 8) == k for k in (5, 9, 9))
    png.write_bytes(encode_array(masks[0], "mask"))
    several = sample("0", png, task="mask", mask=masks[0] | masks[1], masks=masks, responses=("[SEG] [SEG] [SEG]",))
    shards_of(Listed([several, sample("1", png, task="mask", mask=masks[0], responses=("[SEG]",))]), tmp_path / "out")
    first, second = sorted(ShardDataset(root=str(tmp_path / "out"), split="train"), key=lambda s: s.id)
    assert [read_array(mask).tolist() for mask in first.masks] == [mask.tolist() for mask in masks]
    assert second.masks == ()


def test_webdataset_reads_them(tmp_path: Path) -> None:
    shards_of(toy(tmp_path, 7), tmp_path / "out", seed=None)
    rows = list(webdataset.WebDataset(str(tmp_path / "out/train-{00000..00001}.tar"), shardshuffle=False))
    assert [row["__key__"] for row in rows] == [f"{i:09d}" for i in range(7)]
    assert json.loads(rows[3]["json"])["samples"][0]["id"] == "toy3.0"
    assert rows[3]["0.png"] == (tmp_path / "toy-3.png").read_bytes()


def test_the_order_is_shuffled_by_the_seed_and_the_bytes_depend_on_nothing_else(tmp_path: Path) -> None:
    data = toy(tmp_path, 23, questions=2)
    done: list[tuple[int, int]] = []
    one = shards_of(data, tmp_path / "one")
    two = shards_of(data, tmp_path / "two", processes=2, progress=lambda *counts: done.append(counts))
    other = shards_of(data, tmp_path / "other", seed=1)
    assert [s.sha256 for s in one.shards] == [s.sha256 for s in two.shards] != [s.sha256 for s in other.shards]
    assert sorted(done) == [(6, 5)] + [(10, 5)] * 4
    ids = [s.id for s in ShardDataset(root=str(tmp_path / "two"), split="train")]
    assert sorted(ids) == sorted(s.id for s in data) and ids[::2] != sorted(ids[::2])
    assert all(a.split(".")[0] == b.split(".")[0] for a, b in zip(ids[::2], ids[1::2], strict=True))


def test_bytes_of_other_shards_are_taken_as_they_are(tmp_path: Path) -> None:
    content = picture(tmp_path / "a.png", 77).read_bytes()
    (tmp_path / "raw.tar").write_bytes(b"x" * 10 + content)
    source = ShardMember(shard=str(tmp_path / "raw.tar"), offset=10, size=len(content), name="pub11/a.png")
    shards_of(Listed([sample("a", source)]), tmp_path / "out")
    again = ShardDataset(root=str(tmp_path / "out"), split="train")
    shards_of(Listed([again[0]]), tmp_path / "twice")
    twice = ShardDataset(root=str(tmp_path / "twice"), split="train")
    assert twice[0].images[0].content() == content  # type: ignore[union-attr]


def test_a_loader_with_workers_carries_places_not_bytes(tmp_path: Path) -> None:
    shards_of(toy(tmp_path, 12), tmp_path / "out")
    data = ShardDataset(root=str(tmp_path / "out"), split="train")
    loader = DataLoader(data, batch_size=None, num_workers=2, collate_fn=_as_it_is)
    assert [s.id for s in loader] == [s.id for s in data]
    member = data[0].images[0]
    before = load_image(member)
    member.decode()  # type: ignore[union-attr]
    assert len(pickle.dumps(member)) < 600
    assert same(load_image(pickle.loads(pickle.dumps(member))), before)


def _as_it_is(item: Any) -> Any:
    return item


@pytest.mark.parametrize("pixels", PIXELS)
def test_a_geotiff_that_pillow_cannot_read_keeps_its_bands(tmp_path: Path, pixels: str) -> None:
    pixels_of = np.random.default_rng(0).integers(1, 256, (5, 8, 12), dtype=np.uint8)
    for name, bands in (("five.tif", pixels_of), ("three.tif", pixels_of[:3])):
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", width=12, height=8, count=len(bands), dtype="uint8",
            crs="EPSG:32617", transform=rasterio.Affine(2, 0, 500000, 0, -2, 0),
        ) as file:  # fmt: skip
            file.write(bands)
    with rasterio.open(tmp_path / "four.tif", "w", driver="GTiff", width=12, height=8, count=4, dtype="uint16") as file:
        file.write(13 * pixels_of[:4].astype(np.uint16))
    scaled = RasterSource(path=tmp_path / "four.tif", stretch=Stretch(low=0, high=3000))
    data = Listed([*(sample(name, tmp_path / name) for name in ("five.tif", "three.tif")), sample("four.tif", scaled)])
    shards_of(data, tmp_path / "out", seed=None, pixels=pixels)
    back = ShardDataset(root=str(tmp_path / "out"), split="train")
    for got, given in zip(back, data, strict=True):
        assert same(load_image(got.images[0]), load_image(given.images[0]))
    assert [load_image(s.images[0]).shape[2] for s in back] == [5, 3, 4]


# --- raw pixels ---


def npy(array: np.ndarray, **options: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, array, **options)
    return target.getvalue()


def test_raw_pixels_are_an_npy_that_others_read_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 14), dtype=np.uint8)).save(tmp_path / "grey.jpg")
    Image.fromarray(rng.integers(0, 256, (9, 14, 3), dtype=np.uint8)).quantize(7).save(tmp_path / "palette.png")
    data = Listed([sample(name, tmp_path / name) for name in ("grey.jpg", "palette.png")])
    shards = shards_of(data, tmp_path / "out", seed=None, pixels="raw")
    shards.verify()
    assert json.loads((tmp_path / "out/train.json").read_text())["pixels"] == "raw"
    back = ShardDataset(root=str(tmp_path / "out"), split="train")
    for got, given in zip(back, data, strict=True):
        array = load_image(got.images[0])
        assert same(array, load_image(given.images[0])) and array.flags.writeable
        assert array.transpose(2, 0, 1).flags.c_contiguous  # a tensor takes it without parting the bands
    rows = list(webdataset.WebDataset(str(tmp_path / "out/train-00000.tar"), shardshuffle=False).decode())
    assert [same(row["0.npy"].transpose(1, 2, 0), load_image(s.images[0])) for row, s in zip(rows, data, strict=True)]
    assert inspect(back, rows=1, sheet=2, out=tmp_path / "a.png", console=Console(file=io.StringIO())) == []
    shards_of(Listed(list(back)), tmp_path / "again", seed=None)  # and back to PNG
    again = ShardDataset(root=str(tmp_path / "again"), split="train")
    assert all(same(load_image(a.images[0]), load_image(b.images[0])) for a, b in zip(again, data, strict=True))


def test_raw_pixels_that_are_damaged_or_something_else_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    whole = encode_array(array, "raw")
    assert same(decode_picture(whole, what="x", form="raw"), array)
    assert whole == npy(np.ascontiguousarray(array.transpose(2, 0, 1)))

    def claim(shape: str) -> bytes:
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
        return whole[:10] + header.ljust(117).encode() + whole[127:]

    assert claim("(3, 4, 5)") == whole
    for content, message in (
        (whole[:-1], r"x is truncated or damaged: 59 bytes for 3 bands of 5 x 4\. Write or download"),
        (whole + b"0", "truncated or damaged: 61 bytes"),
        (whole[:128], "truncated or damaged: 0 bytes"),
        (claim("(999999999, 9999, 9999)"), "60 bytes for 999999999 bands of 9999 x 9999"),
        (claim("(1, 99999999, 9999999)"), "more than 100,000,000 pixels"),
        *((content, "is no npy of") for content in (b"", whole[:127], b"\x93NUMPY", whole[1:], b"0" * 200)),
        *(
            (claim(shape), "is no npy of")
            for shape in ("(0, 4, 5)", "(-3, -4, 5)", "(60,)", "(3, 4, 5, 1)", "(3, 4, 1+4)", "(1, 1, 9999999999)")
        ),
        (npy(np.array([[[{"a": 1}]]], dtype=object), allow_pickle=True), "is no npy of"),
        (npy(np.ones((3, 4, 5), np.float32)), "is no npy of"),
        (npy(np.ones((3, 4, 5), np.uint16)), "is no npy of"),
        (npy(np.asfortranarray(np.ones((3, 4, 5), np.uint8))), "is no npy of"),
        (pickle.dumps(array), "is no npy of"),
    ):
        with pytest.raises(UserError, match=message):
            decode_picture(content, what="x", form="raw")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 19)
    for step in (lambda: decode_picture(whole, what="x", form="raw"), lambda: encode_array(array, "raw")):
        with pytest.raises(UserError, match="more than 19 pixels"):
            step()


# --- one's own webdataset ---


def own_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_ones_own_webdataset(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 300).read_bytes()
    texts = {"a": b"A port.\nTwo ships on the left.\n", "b": b"Ice.", "c": b""}
    own_tar(
        tmp_path / "train/0.tar", {f"{n}.{k}": c for n, t in texts.items() for k, c in (("png", pixels), ("txt", t))}
    )
    rows = [
        {"instruction": "How many?", "answer": 2, "task": "vqa", "kind": "count", "place": "Genoa"},
        {"caption": "Ice.", "url": "x"},
        {"answer": "[1, 2, 3, 4]", "task": "ground", "boxes": [[1, 2, 3, 4]], "labels": ["ship"]},
        {"answer": "x", "task": "mask"},
        {"answer": "x", "boxes": "../../etc/passwd"},
        [1],
    ]
    members = {
        f"{i}.{k}": c for i, r in enumerate(rows) for k, c in (("png", pixels), ("json", json.dumps(r).encode()))
    }
    own_tar(tmp_path / "val/0.tar", members | {"6.png": pixels, "6.json": b"{"})
    node = yaml.safe_load((conf_dir() / "data/own_webdataset.yaml").read_text()) | {"image": "png"}
    data = instantiate(node | {"root": str(tmp_path), "split": "train"})
    assert [s.id for s in data] == ["0:0", "0:1"] and data.unused == {"empty text": ["0:2"]}
    assert data[0].responses == ("A port.", "Two ships on the left.") and data[0].directional
    assert value_of(load_image(data[1].images[0])) == 300 and data.counts == {"shards": 1, "samples": 2}
    shards_of(data, tmp_path / "out")
    assert value_of(load_image(ShardDataset(root=str(tmp_path / "out"), split="train")[0].images[0])) == 300
    data = instantiate(node | {"root": str(tmp_path), "split": "val", "text": "json"})
    assert (data[0].responses, data[0].kind, data[0].meta) == (("2",), "count", {"place": "Genoa"})
    assert data[2].boxes_px.tolist() == [[1, 2, 3, 4]] and data[2].labels == ("ship",) and data[2].directional
    for index, message in (
        (1, "0:1: expected 'answer' or 'responses'"),
        (3, "0:3: unknown task on one picture 'mask'"),
        (4, "0:4: expected boxes as a list"),
        (5, "0:5: expected an object, found list"),
        (6, "0:6: its text is not json"),
    ):
        with pytest.raises(UserError, match=message):
            data[index]
    data = instantiate(node | {"root": str(tmp_path), "split": "val", "text": "json", "answer": "caption"})
    assert data[1].responses == ("Ice.",) and data[1].meta == {"url": "x"}
    for change, message in (
        ({"split": "test"}, r"no file is .*test/\*\.tar"),
        ({"text": "cls"}, "text of a webdataset"),
    ):
        with pytest.raises(UserError, match=message):
            instantiate({**node, "root": str(tmp_path), "split": "train"} | change)


# --- interrupted ---


class Slow(Listed):
    """Stops for ever at a picture."""

    def __getitem__(self, index: int) -> Sample:
        if index >= 13 and getattr(self, "armed", False):
            time.sleep(60)
        return self.samples[index]


def _write(data: Slow, out: Path) -> None:
    os.setsid()
    write = ShardWriter(dataset=data, out=out, source={"of": "toy"}, shard_size=5, seed=None)
    write.dataset.armed = True  # type: ignore[attr-defined]
    for number in range(len(write)):
        write[number]


def test_a_killed_run_continues_and_finished_shards_are_left_alone(tmp_path: Path) -> None:
    data, out = Slow(toy(tmp_path, 23).samples), tmp_path / "out"
    out.mkdir()
    process = multiprocessing.get_context("fork").Process(target=_write, args=(data, out))
    process.start()
    deadline = time.monotonic() + 20
    while not list(out.glob(".train-00002.*.part.tar")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    names = {path.name for path in out.iterdir() if ".part." not in path.name}
    assert names == {f"train-0000{i}.{kind}" for i in (0, 1) for kind in ("tar", "json")}
    assert any(".part." in path.name for path in out.iterdir())
    kept = {path: path.stat().st_mtime_ns for path in out.glob("train-0000[01].*")}
    (out / "train-00001.json").unlink()  # as if it had been killed between the two
    shards = shards_of(data, out, seed=None)
    whole = shards_of(data, tmp_path / "whole", seed=None)
    assert [s.sha256 for s in shards.shards] == [s.sha256 for s in whole.shards]
    assert (out / "train-00000.tar").stat().st_mtime_ns == kept[out / "train-00000.tar"]
    assert (out / "train-00001.tar").stat().st_mtime_ns != kept[out / "train-00001.tar"]
    assert not [path for path in out.iterdir() if ".part." in path.name]


def test_a_full_disk_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 200, 200, 3), dtype=np.uint8)
    data = Listed([sample(str(i), array) for i, array in enumerate(noise)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(UserError, match=r"train-00000\.tar cannot be written .*finished shards are kept"):
            shards_of(data, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "out").iterdir())
    assert shards_of(data, tmp_path / "out").samples == 5


def test_shards_of_something_else_are_not_written_over(tmp_path: Path) -> None:
    data = toy(tmp_path, 7)
    shards_of(data, tmp_path / "out")
    others: list[dict[str, Any]] = [{"shard_size": 4}, {"seed": 3}, {"pixels": "raw"}]
    for other, more in ((toy(tmp_path, 6), {}), *((data, changed) for changed in others)):
        with pytest.raises(UserError, match=r"train-00000\.json belongs to other data"):
            shards_of(other, tmp_path / "out", **more)
    data.split = "val"  # another split may lie beside it
    shards_of(data, tmp_path / "out")
    assert len(ShardDataset(root=str(tmp_path / "out"), split="train")) == 7
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/val.json").write_text('[{"captions": 1}]')
    with pytest.raises(UserError, match=r"val\.json belongs to other data"):
        shards_of(data, tmp_path / "mine")
    assert (tmp_path / "mine/val.json").read_text() == '[{"captions": 1}]'


# --- damaged ---


@pytest.mark.parametrize("pixels", PIXELS)
def test_what_cannot_be_read_stops_the_writing_or_is_left_out_with_its_reason(tmp_path: Path, pixels: str) -> None:
    write = partial(shards_of, pixels=pixels)
    data = toy(tmp_path, 12, questions=2)
    (tmp_path / "toy-4.png").write_bytes((tmp_path / "toy-4.png").read_bytes()[:45])
    data.samples[7] = sample("odd", tmp_path / "toy-7.png", meta={"what": object()})
    with pytest.raises(UserError, match=r"toy-4\.png is truncated or damaged|cannot be written as json"):
        write(data, tmp_path / "out")
    shards = write(data, tmp_path / "out", max_bad_fraction=0.01)
    assert shards.samples == 21 and shards.views == 11
    lines = [json.loads(line) for line in (tmp_path / "out/train.quarantine.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} == {"toy4.0", "toy4.1", "odd"}
    assert all("toy-4.png" in line["reason"] or "json" in line["reason"] for line in lines)
    assert json.loads((tmp_path / "out/train.json").read_text())["left_out"] == 3
    picture(tmp_path / "toy-4.png", 4)  # mended: only the shards that lacked something are written again
    data.samples[7] = sample("odd", tmp_path / "toy-7.png")
    assert write(data, tmp_path / "out").samples == 24


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    shards = shards_of(toy(tmp_path, 12), tmp_path / "out")
    ShardDataset(root=str(tmp_path / "out"), split="train", verify=True)
    path = tmp_path / "out/train-00001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"1 of 3 shards .* are damaged: train-00001\.tar\. Write or download"):
        ShardDataset(root=str(tmp_path / "out"), split="train", verify=True)
    path.write_bytes(content[:1100])
    data = ShardDataset(root=str(tmp_path / "out"), split="train")
    with pytest.raises(UserError, match=r"train-00001\.tar"):
        [load_image(s.images[0]) for s in data]
    path.unlink()
    with pytest.raises(UserError, match=r"train-00001\.tar cannot be read \(No such file"):
        data[5]
    table = tmp_path / "out/train-00002.json"
    table.write_text(table.read_text().replace(shards.shards[2].sha256, "0" * 64))
    with pytest.raises(UserError, match=r"train-00002\.json is not the table of train-00002\.tar"):
        ShardDataset(root=str(tmp_path / "out"), split="train")


# --- unsafe ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2; this version reads 1"),
        ({"shards": []}, "lists no shard"),
        ({"name": None}, "'name' should be str"),
        ({"shards": [{"name": "../../etc/passwd.tar"}]}, "no key 'samples'|is no shard"),
        *(
            ({"shards": [{"name": name, "samples": 1, "views": 1, "size": 9, "sha256": ""}]}, "is no shard")
            for name in ("../a.tar", "/a.tar", ".a.tar", "pipe:cat a.tar", "a/b.tar", "http://x/a.tar", "a.tar\n", "a")
        ),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    shards_of(toy(tmp_path, 2), tmp_path / "out")
    index = json.loads((tmp_path / "out/train.json").read_text())
    del index["pixels"]  # of before there was a choice
    (tmp_path / "out/train.json").write_text(json.dumps(index))
    assert open_shards(str(tmp_path / "out"), "train").pixels == "encoded"
    (tmp_path / "out/train.json").write_text(json.dumps(index | change))
    with pytest.raises(UserError, match=message):
        open_shards(str(tmp_path / "out"), "train")


def test_other_schemes_and_split_names_are_refused(tmp_path: Path) -> None:
    for location in ("pipe:echo a", "simplecache::s3://bucket/x", "file:///etc", "ftp://x/y"):
        with pytest.raises(UserError, match="is not read: expected a local path, or an address"):
            open_shards(location, "train")
    for split in ("../train", "", ".train", "a b"):
        with pytest.raises(UserError, match="no name of a split"):
            open_shards(str(tmp_path), split)
    with pytest.raises(UserError, match=r"train\.json cannot be read \(No such file"):
        open_shards(str(tmp_path), "train")
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(UserError, match="is not json"):
        open_shards(str(tmp_path), "train")
    data = toy(tmp_path, 1)
    with pytest.raises(UserError, match=r"unknown pixels 'rwa'\. Did you mean 'raw'\? Known: encoded, raw"):
        shards_of(data, tmp_path, pixels="rwa")
    data.split = "../x"
    with pytest.raises(UserError, match=r"split '\.\./x' of 1 samples"):
        shards_of(data, tmp_path)


def test_nothing_but_pictures_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO()
    Image.new("1", (5000, 4000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 5000
    monkeypatch.setattr(pictures, "MAX_PIXELS", 10**7)
    with pytest.raises(UserError, match="more than 10,000,000 pixels"):
        decode_picture(bomb.getvalue(), what="bomb")
    with pytest.raises(UserError, match="more than 10,000,000 pixels"):
        decode_picture(bomb.getvalue(), what="bomb", form="mask")
    shots = io.BytesIO()
    Image.new("I;16", (3, 3)).save(shots, "PNG")
    for content in (pickle.dumps([1]), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"", shots.getvalue()):
        with pytest.raises(UserError, match="is not a picture|stores uint16"):
            decode_picture(content, what="bytes")
    with pytest.raises(UserError, match="is no bands: L of 4 x 5, 3 bands|is no bands"):
        decode_picture(encode_array(np.ones((5, 4), np.uint8), "classes"), what="x", form="bands", bands=2)
    for array, form in ((np.ones((2, 2), np.uint8), "mask"), (np.ones((2, 2, 3)), "bands"), (np.ones(3), "classes")):
        with pytest.raises(UserError, match="expected .* found"):
            encode_array(array, form)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"files": [{"name": "0.png", "size": -5, "form": "picture"}]},
        {"files": [{"name": "0.png", "size": 5, "form": "pickle"}]},
        {"files": [{"name": "0.npy", "size": 2**50, "form": "raw"}]},
        {"files": []},
        {"files": 3},
        {"samples": [{"id": "a", "task": "caption", "__class__": "os"}]},
        {"samples": "abc"},
        {"images": [7]},
    ],
)
def test_a_json_of_another_format_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    shards_of(toy(tmp_path, 1), tmp_path / "out")
    data = ShardDataset(root=str(tmp_path / "out"), split="train")
    path = tmp_path / "out/train-00000.tar"
    offset, size = 512, int(data._rows[0, 1])
    view = json.loads(read_range(str(path), offset, size)) | change
    text = json.dumps(view).encode()
    path.write_bytes(path.read_bytes()[:offset] + text + bytes(4096))
    data._rows[0, 1] = len(text)
    with pytest.raises(UserError, match=r"train-00000\.tar: the json before byte \d+ is no view"):
        data[0]


# --- commands ---


def test_the_command_shards_a_data_set_and_the_yaml_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "mine/train/a.png", 1)
    (tmp_path / "mine/train/a.txt").write_text("A field.\nA green field.\n")
    words = ["data=own_folder", f"data.root={tmp_path / 'mine'}", f"out={tmp_path / 'a, b'}", "processes=0"]
    monkeypatch.setattr(sys, "argv", ["shard", *words])
    shard.cli()
    printed = capsys.readouterr().out
    assert (
        "own_folder train: 1 samples on 1 views in 1 shards of encoded pixels, 0.0 MB, " in printed
        and " kB a view, " in printed
        and "read back whole" in printed
    )
    node = yaml.safe_load((conf_dir() / "data/shards.yaml").read_text())
    data = instantiate(node | {"root": str(tmp_path / "a, b"), "split": "train", "verify": True})
    assert [s.responses for s in data] == [("A field.", "A green field.")] and data.name == "own_folder"
    for missing, message in ((words[:2], "out"), (words[2:], "data")):
        monkeypatch.setattr(sys, "argv", ["shard", *missing])
        with pytest.raises(SystemExit, match=message):
            shard.cli()


@pytest.mark.real_data
def test_a_real_release_comes_back(tmp_path: Path) -> None:
    if "RSMOE_DATA" not in os.environ:
        pytest.skip("needs RSMOE_DATA, the folder that holds rsvqa_website_lr")
    node = yaml.safe_load((conf_dir() / "data/rsvqa_website_lr.yaml").read_text())
    given = instantiate(node | {"split": "test"})
    shards_of(given, tmp_path / "out", shard_size=20)
    back = ShardDataset(root=str(tmp_path / "out"), split="test")
    assert Counter(s.id for s in back) == Counter(s.id for s in given)
    views = {s.images[0].key for s in back}  # type: ignore[union-attr]
    assert len(views) == len({s.images[0] for s in given}) < len(back) / 50
    by_id = {s.id: s for s in given}
    for s in list(back)[::500]:
        assert s.responses == by_id[s.id].responses and s.instruction == by_id[s.id].instruction
        assert same(load_image(s.images[0]), load_image(by_id[s.id].images[0]))
