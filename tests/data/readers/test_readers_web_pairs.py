"""Readers of pairs by the million: SkyScript's tables, RS5M's shards, pictures in tar files."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.readers import config, reader, same, save, write
from support.release_web_pairs import jpeg, pair, rs5m, shard, skyscript

from rsmoe.data.files.tar_index import index_tar
from rsmoe.data.rasters.images import images_key, load_image
from rsmoe.data.readers.rs5m import RS5M
from rsmoe.data.shards.member import ShardMember
from rsmoe.errors import UserError
from rsmoe.parts import instantiate

# --- SkyScript ---


def test_skyscript_reads_tables_and_names(tmp_path: Path) -> None:
    data = reader("skyscript", skyscript(tmp_path))
    same(data)
    assert data.counts == {"images": 3, "captions": 3, "other_parts": 0}
    assert data.unused == {"no title": ["images3/w7_XX_07.jpg"]}
    assert data[0].responses == ("a school, surrounded by road",)
    assert data[0].meta == {"osm": "area/198234555", "source": "CH", "year": 2019, "sensor": "SWISSIMAGE"}
    assert data[1].meta["osm"] == "node/5" and data[2].meta == {} and data[2].directional
    both = reader("skyscript", tmp_path, columns=["title", "title_multi_objects"])
    assert [len(s.responses) for s in both] == [2, 1, 2] and both.counts["captions"] == 5
    part = reader("skyscript", tmp_path, "val", parts=["images2"])
    assert part.counts == {"images": 2, "captions": 2, "other_parts": 2}


def test_skyscript_metadata_is_json_and_never_pickle(tmp_path: Path) -> None:
    skyscript(tmp_path)
    rows = [
        {"filepath": "images2/n5_US_21.jpg", "box": [7.1, 46.2, 7.2, 46.3], "time": [2021, 5, 1, 10, 30]},
        {"filepath": "images9/absent.jpg", "box": [0, 0, 1, 1]},
    ]
    write(tmp_path / "meta.jsonl", "\n".join(map(json.dumps, rows)))
    data = reader("skyscript", tmp_path, metadata="meta.jsonl")
    assert data[1].meta["box"] == [7.1, 46.2, 7.2, 46.3] and data[1].meta["sensor"] == "NAIP"
    assert "box" not in data[0].meta
    write(tmp_path / "meta.jsonl", '{"box": []}')
    with pytest.raises(UserError, match=r"meta\.jsonl, line 1: no key 'filepath'"):
        reader("skyscript", tmp_path, metadata="meta.jsonl")
    (tmp_path / "meta.pickle").write_bytes(pickle.dumps({"filepath": "x"}))
    with pytest.raises(UserError, match="UTF-8|json"):
        reader("skyscript", tmp_path, metadata="meta.pickle")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("filepath,title\nimages2/n5_US_21.jpg,x\n", "no column title_multi_objects; found filepath, title"),
        ("", "no column"),
        ("filepath,title_multi_objects\n", "holds no row"),
        ("filepath,title_multi_objects\nimages2/n5_US_21.jpg\n", "line 2: expected 2 cells"),
        ("filepath,title_multi_objects\nimages2/n6.jpg,x\n", r"1 of 1 images are not in .*images2/n6\.jpg"),
        ("filepath,title_multi_objects\n../secret.jpg,x\n", "does not lie in"),
        ("filepath,title_multi_objects\nimages2/../../secret.jpg,x\n", "does not lie in"),
        ("filepath,title_multi_objects\n/etc/passwd,x\n", "does not lie in"),
        ("filepath,title_multi_objects\nimages2/..,x\n", "1 of 1 images are not in|does not lie in"),
    ],
)
def test_skyscript_refuses(tmp_path: Path, table: str, message: str) -> None:
    save(tmp_path / "secret.jpg")
    skyscript(tmp_path / "root", table)
    with pytest.raises(UserError, match=message):
        reader("skyscript", tmp_path / "root")


# --- RS5M ---


def test_rs5m_reads_pairs_where_they_lie(tmp_path: Path) -> None:
    data = reader("rs5m", rs5m(tmp_path))
    same(data)
    assert data.counts == {"shards": 3, "images": 4, "captions": 4}
    assert data.unused == {"empty caption": ["pub11-train-0001:1"]}
    assert [s.id for s in data] == [
        "pub11-train-0000:0",
        "pub11-train-0000:1",
        "pub11-train-0001:0",
        "rs3-train-0000:0",
    ]
    assert data[2].responses == ("Ünten links, left",) and data[2].directional
    assert [s.meta for s in data][1::2] == [
        {"file": "20.jpg", "subset": "pub11"},
        {"file": "50.jpg", "subset": "rs3"},
    ]
    for sample, value in zip(data, (10, 20, 30, 50), strict=True):
        picture = load_image(sample.images[0])
        assert picture.shape == (6, 10, 3) and abs(int(picture[0, 0, 0]) - value) <= 1
    assert len({images_key(s) for s in data}) == 4
    half = reader("rs5m", tmp_path, shards={"train": ["train/rs3-train-*.tar"]})
    assert [s.id for s in half] == ["rs3-train-0000:0"]
    assert len(reader("rs5m", tmp_path, "val")) == 2


def test_rs5m_keeps_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rs5m(tmp_path)
    first = reader("rs5m", tmp_path, index="index")
    assert len(list((tmp_path / "index").iterdir())) == 3

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the headers were read again")

    monkeypatch.setattr(tarfile, "open", never)
    second = reader("rs5m", tmp_path, index="index")
    assert [s.responses for s in second] == [s.responses for s in first]
    monkeypatch.undo()
    shard(tmp_path / "train/rs3-train-0000.tar", [pair(70), pair(80)])  # another file of this name
    assert [s.meta["file"] for s in reader("rs5m", tmp_path, index="index")][-2:] == ["70.jpg", "80.jpg"]


def test_rs5m_refuses_broken_shards(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", [pair(10), pair(20), pair(30)])
    fields = ("img_name", "caption", "img_content")
    whole, index = path.read_bytes(), index_tar(path, fields)
    assert index.shape == (3, 3, 2)
    starts = sorted(int(x) for x in index[..., 0].ravel())
    # cut within a picture, within a header, between two members, and just before the end of the archive
    for length in (starts[4] + 3, starts[4] - 200, starts[3] - 1024, 512 * (starts[-1] // 512 + 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.tar.*Download the shard again"):
            index_tar(path, fields)
    path.write_bytes(
        whole[: starts[4] - 1024] + b"\xff" * 1024 + whole[starts[4] :]
    )  # a header in the middle is damaged
    with pytest.raises(UserError, match=r"a\.tar.*(damaged|cut off)"):
        index_tar(path, fields)
    path.write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(UserError, match="is not a tar file"):
        index_tar(path, fields)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is not a tar file"):
        index_tar(path, fields)
    shard(path, [pair(10), {"jpg": jpeg(), "txt": b"x", "caption": b"x"}])
    with pytest.raises(UserError, match="sample '/a_000001' has no img_name, img_content. Expected img_name, caption"):
        index_tar(path, fields)
    twice = shard(tmp_path / "b.tar", [pair(10)])
    with tarfile.open(twice, "a") as tar:
        info = tarfile.TarInfo("b_000000.caption")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UserError, match="has caption twice"):
        index_tar(twice, fields)


def test_rs5m_never_follows_names_or_links(tmp_path: Path) -> None:
    """Nothing is unpacked: a name that climbs out is only a name, and a link is no field."""
    save(tmp_path / "secret.jpg")
    path = tmp_path / "train/x.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for field, content in pair(10, img_name=b"../../secret.jpg").items():
            info = tarfile.TarInfo(f"../../evil/0.{field}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("1.img_content")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret.jpg"
        tar.addfile(link)
    data = RS5M(root=str(tmp_path), split="train", shards={"train": ["train/*.tar"]})
    assert len(data) == 1 and abs(int(data[0].images[0].read()[0, 0, 0]) - 10) <= 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["secret.jpg", "train", "x.tar"]


def test_rs5m_refuses_what_is_not_there(tmp_path: Path) -> None:
    rs5m(tmp_path)
    with pytest.raises(UserError, match="unknown split of rs5m 'test'.*Known: train, val"):
        reader("rs5m", tmp_path, "test")
    with pytest.raises(UserError, match=r"no shard is .*nowhere-\*\.tar"):
        reader("rs5m", tmp_path, shards={"train": ["train/rs3-train-*.tar", "nowhere-*.tar"]})
    shard(tmp_path / "none.tar", [])
    with pytest.raises(UserError, match="hold no pair"):
        reader("rs5m", tmp_path, shards={"train": ["none.tar"]})
    shard(tmp_path / "latin.tar", [pair(10, caption="Ü".encode("latin-1"))])
    with pytest.raises(UserError, match="of latin:0 is not UTF-8"):
        reader("rs5m", tmp_path, shards={"train": ["latin.tar"]})[0]


def test_a_picture_in_a_tar_is_read_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"
    large, deep = jpeg(1, (60, 50), "PNG"), io.BytesIO()
    Image.new("I;16", (4, 4)).save(deep, "PNG")
    for content, message in (
        (b"<html>404</html>", "is not a picture"),
        (postscript, "is not a picture"),
        (large[: len(large) // 2], "is truncated or damaged"),
        (deep.getvalue(), "stores uint16"),
        (b"", "is not a picture"),
    ):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(UserError, match=message):
            ShardMember(shard=str(tmp_path / "x"), offset=0, size=len(content), name="p.png").read()
    (tmp_path / "x").write_bytes(b"??" + large)
    image = ShardMember(shard=str(tmp_path / "x"), offset=2, size=len(large), name="p.png")
    assert image.read().shape == (50, 60, 3)
    monkeypatch.setattr("rsmoe.geo.pictures.MAX_PIXELS", 2999)
    with pytest.raises(UserError, match=r"p\.png of .*more than 2,999 pixels"):
        image.read()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own guard speaks first
    with pytest.raises(UserError, match="more than 2,999 pixels"):
        image.read()
    with pytest.raises(UserError, match=f"is cut off within p.png: {len(large)} of {len(large) + 9} bytes"):
        ShardMember(shard=str(tmp_path / "x"), offset=2, size=len(large) + 9, name="p.png").read()
    (tmp_path / "x").unlink()
    with pytest.raises(UserError, match="Put the file back"):
        image.read()


@pytest.mark.real_data
def test_a_shard_of_real_pictures_reads_as_the_files_do(tmp_path: Path) -> None:
    real = instantiate(config("ucm_captions"), split="val")
    chosen = [real[i] for i in range(0, len(real), 30)]
    samples = [
        {
            "caption": s.responses[0].encode(),
            "img_content": s.images[0].read_bytes(),
            "img_name": s.id.encode(),
        }
        for s in chosen
    ]
    shard(tmp_path / "val/rs3-val-0000.tar", samples)
    data = reader("rs5m", tmp_path, "val", shards={"val": ["val/*.tar"]})
    for mine, theirs in zip(data, chosen, strict=True):
        np.testing.assert_array_equal(load_image(mine.images[0]), load_image(theirs.images[0]))
        assert mine.responses == theirs.responses[:1] and mine.meta["file"] == theirs.id
