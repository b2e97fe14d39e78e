"""From annotated names to files, and from names of files to dates: every reader finds what any system has written."""

from __future__ import annotations

import io
import json
import tarfile
import unicodedata
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from support import formats
from support.readers import reader, save, write
from support.release_captions import gaia
from support.release_change import folders, levir_mci
from support.release_conversations import talk
from support.release_objects import dior as write_dior
from support.release_objects import dota as write_dota
from support.release_objects import refsegrs, sky
from support.release_web_pairs import shard

from rsmoe.config import conf_dir
from rsmoe.data.files.file_names import SUFFIXES, FileTree, globbed, listed, stem
from rsmoe.data.files.tar_index import index_tar
from rsmoe.data.rasters.images import find_images, load_image
from rsmoe.data.readers.coco_instances import COCOInstances
from rsmoe.data.readers.own_folder import OwnFolder
from rsmoe.errors import UserError
from rsmoe.geo.dates import read_dates
from rsmoe.geo.info import open_raster
from rsmoe.geo.name_dates import dates_in_names

NFC, NFD = (unicodedata.normalize(form, "Évora_1") for form in ("NFC", "NFD"))

PAIRS = [
    (f"{NFC}.png", f"{NFD}.png"),
    (f"{NFD}.png", f"{NFC}.png"),
    ("a.JPG", "a.jpg"),
    ("a.tif", "a.JPEG"),
    ("a.jpg", "a.jfif"),
    ("a.png", "a.TIFF"),
    ("A1.PNG", "a1.png"),
    ("a.b.c.png", "a.b.c.png"),
    ("tile.1.2.tif", "tile.1.2.png"),
    ("tile.1.2", "tile.1.2.png"),
    ("a b#c.png", "a b#c.png"),
    ("a%20b.png", "a b.png"),
    ("a b.png", "a%20b.png"),
    ("a.png ", "a.png"),
    ("./a.png", "a.png"),
    (".\\a.png", "a.png"),
    ("x" * 200 + ".png", "x" * 200 + ".png"),
    ("101", "101.png"),
    ("20200230.png", "20200230.png"),
]
"""A name in annotations, and what the file is called."""


def _coco(root: Path, name: str) -> Any:
    write(
        root / "a.json",
        {
            "images": [{"id": 1, "file_name": name, "width": 12, "height": 8}],
            "categories": [{"id": 1, "name": "ship"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 6]}],
        },
    )
    return COCOInstances(root=str(root), split="test", name="c", annotations={"test": "a.json"}, images=".")


def _own(root: Path, name: str) -> Any:
    row = {"image": name, "instruction": "What?", "answer": "sea", "task": "vqa"}
    write(root / "train.jsonl", json.dumps(row, ensure_ascii=False) + "\n")
    return reader("own_jsonl", root)


def _csv(root: Path, name: str) -> Any:
    write(root / "train.csv", f'image,instruction,answer,task\n"{name}",What?,sea,vqa\n')
    return reader("own_csv", root)


def _llava(root: Path, name: str) -> Any:
    write(root / "train.json", [{"id": 1, "image": name, "conversations": talk("<image>\nWhat?", "sea")}])
    return reader("llava", root, files={"train": [{"path": "train.json", "images": ".", "task": "vqa"}]})


def _karpathy(root: Path, name: str) -> Any:
    rows = [{"filename": name, "split": "train", "sentences": [{"raw": "A sea."}]}]
    write(root / "dataset_ucm.json", {"images": rows})
    return reader("ucm_captions", root, images=".", annotations="dataset_ucm.json")


NAMED: dict[str, Callable[[Path, str], Any]] = {
    "coco": _coco,
    "own_jsonl": _own,
    "own_csv": _csv,
    "llava": _llava,
    "karpathy": _karpathy,
}


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED.keys())
@pytest.mark.parametrize(("name", "file"), PAIRS)
def test_every_reader_finds_the_file(tmp_path: Path, make: Callable[[Path, str], Any], name: str, file: str) -> None:
    there = save(tmp_path / file)
    assert make(tmp_path, name)[0].images[0].samefile(there)


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED.keys())
@pytest.mark.parametrize("name", ["sub\\in\\a.png", "sub/in/a.png", "sub\\in/a.PNG", "./sub/in/a.jpg", "SUB/in/a.png"])
def test_every_reader_finds_sub_folders(tmp_path: Path, make: Callable[[Path, str], Any], name: str) -> None:
    there = save(tmp_path / "sub/in/a.png")
    assert make(tmp_path, name)[0].images[0].samefile(there)


def disturb(home: Path) -> None:
    """What a copy over Windows and macOS leaves: suffixes in capitals, and hidden twins of every file."""
    for path in [path for path in home.rglob("*") if path.is_file()]:
        if path.suffix in SUFFIXES:
            path = path.rename(path.with_suffix(path.suffix.upper()))
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml")))
def test_every_data_set_survives_a_copy_over_other_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for home in ("plain", "copied"):
        (tmp_path / home).mkdir()
    plain = formats.data_of(name, tmp_path / "plain", monkeypatch)
    whole = formats.instantiate

    def copied(*args: Any, **kwargs: Any) -> Any:
        disturb(tmp_path / "copied")
        return whole(*args, **kwargs)

    monkeypatch.setattr(formats, "instantiate", copied)
    data = formats.data_of(name, tmp_path / "copied", monkeypatch)
    assert len(data) == len(plain) and data.counts == plain.counts if hasattr(plain, "counts") else True
    assert load_image(data[len(data) - 1].images[-1]).shape == load_image(plain[len(plain) - 1].images[-1]).shape


def test_numbers_are_names(tmp_path: Path) -> None:
    save(tmp_path / "101.png")
    for make in (_coco, _own, _karpathy, _llava):
        assert make(tmp_path, 101)[0].images[0].name == "101.png"  # type: ignore[arg-type]


NOT_THERE = "have no image|does not lie in|no name of a file|does not exist|not a CSV|holds a (NUL|character that no)"


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED.keys())
@pytest.mark.parametrize(
    "name", ["b.png", "a", "x/a.gone", "..", "../a.png", "\x00", "y" * 3000, "C:\\data\\q.png", "/etc/passwd", "a.png/"]
)
def test_what_is_not_there_is_one_clear_error(tmp_path: Path, make: Callable[[Path, str], Any], name: str) -> None:
    save(tmp_path / "root/z.png")
    save(tmp_path / "a.png")
    with pytest.raises(UserError, match=NOT_THERE):
        make(tmp_path / "root", name)


def test_exact_names_win_and_two_that_fit_are_an_error(tmp_path: Path) -> None:
    def found(name: str) -> str:
        return find_images(tmp_path, [name], source="s")[name].name

    for file in ("a.png", "a.PNG", "b.JPG", "b.png", "b.tif", "c.Jpg", "c.jPg", "Ä.png", "e f.png", "e%20f.png"):
        save(tmp_path / file)
    assert found("a.png") == "a.png" and found("a.PNG") == "a.PNG" and found("e%20f.png") == "e%20f.png"
    assert found("b.jpeg") == "b.png", "the earlier suffix"
    assert found("b.TIF") == "b.tif", "the suffix as written"
    for name, both in (("c.jpg", "c.Jpg and c.jPg"), ("a.Png", "a.PNG and a.png")):
        with pytest.raises(UserError, match=f"s: '{name}' is not in .* where {both} fit equally well"):
            found(name)
    save(tmp_path / "Ab.png")
    save(tmp_path / "aB.jpg")
    with pytest.raises(UserError, match=r"Ab\.png and aB\.jpg fit equally well"):
        found("AB.png")
    with pytest.raises(UserError, match=r"'b\.png' and 'B\.png' both lead to .*b\.png"):
        find_images(tmp_path, ["b.png", "B.png"], source="s")


def test_same_name_in_two_folders(tmp_path: Path) -> None:
    flat = save(tmp_path / "flat/1.png")
    assert find_images(tmp_path / "flat", ["/home/author/data/1.png"], source="s") == {"/home/author/data/1.png": flat}
    assert find_images(tmp_path / "flat", ["C:\\data\\1.png"], source="s") == {"C:\\data\\1.png": flat}
    with pytest.raises(UserError, match=r"'train/1\.png' and 'val\\\\1\.png' both lead to .*1\.png"):
        find_images(tmp_path / "flat", ["train/1.png", "val\\1.png"], source="s")
    two = [save(tmp_path / f"deep/{part}/1.png") for part in ("train", "val")]
    assert list(find_images(tmp_path / "deep", ["train/1.png", "val\\1.png"], source="s").values()) == two
    with pytest.raises(UserError, match="1 of 1 annotated names have no image"):
        find_images(tmp_path / "deep", ["train/2.png"], source="s")  # not deep/2.png, were it there
    with pytest.raises(UserError, match="does not lie in"):
        find_images(tmp_path / "deep", ["C:\\data\\train\\1.png"], source="s", flat=False)


def test_what_other_systems_leave_behind_is_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "B.PNG", "._a.png", ".hidden.png"):
        save(tmp_path / name)
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert (
        [p.name for p in listed(tmp_path, ".png")] == ["B.PNG", "a.png"] == [p.name for p in globbed(tmp_path, "*.png")]
    )
    for name in ("folder.png", "hidden.png", "Thumbs.png"):
        assert FileTree(tmp_path, source="s").find(name) is None
    save(tmp_path / "zip\\of\\windows.png")  # as some tools unpack
    assert FileTree(tmp_path, source="s").find("zip\\of\\windows.png") == tmp_path / "zip\\of\\windows.png"


def test_folders_that_other_systems_leave_behind_are_not_read(tmp_path: Path) -> None:
    for folder in ("ice", ".ipynb_checkpoints", "ice/.ipynb_checkpoints", "__MACOSX/ice", "@eaDir"):
        save(tmp_path / "train" / folder / "a.png")
        (tmp_path / "train" / folder / "a.txt").write_text("Ice.\n")
    data = OwnFolder(root=str(tmp_path), split="train")
    assert [sample.id for sample in data] == ["ice/a.png"] and not data.unused
    assert globbed(tmp_path, "train/*/a.png") == [tmp_path / "train/ice/a.png"]
    assert OwnFolder(root=str(tmp_path / "train/.ipynb_checkpoints"), split="train", images=".").counts["images"] == 1


def test_an_accent_in_a_folder(tmp_path: Path) -> None:
    there = save(tmp_path / NFD / "1.png")
    for flat in (False, True):
        assert find_images(tmp_path, [f"{NFC}/1.png"], source="s", flat=flat) == {f"{NFC}/1.png": there}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b.c.png", "a.b.c"),
        ("x\\tile.1.TIF", "tile.1"),
        ("tile.1.2", "tile.1.2"),
        (".png", ".png"),
        ("P1.txt", "P1.txt"),
    ],
)
def test_stems(name: str, expected: str) -> None:
    assert stem(name) == expected


def test_masks_beside_their_picture_are_never_the_picture(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg")
    row = {"image": "a.jpg", "instruction": "Mark.", "task": "mask", "mask": "a.png"}
    write(tmp_path / "train.jsonl", json.dumps(row))
    with pytest.raises(UserError, match=r"a\.png does not exist"):
        reader("own_jsonl", tmp_path)
    save(tmp_path / "masks/A.PNG", 255, "L")
    write(tmp_path / "train.jsonl", json.dumps(row | {"mask": "masks\\a.png"}))
    assert reader("own_jsonl", tmp_path)[0].mask.path.name == "A.PNG"
    write(tmp_path / f"{NFD}.json", [[1, 1, 8, 6]])
    write(
        tmp_path / "train.jsonl",
        json.dumps({"image": "a.jpg", "instruction": "?", "answer": "x", "task": "vqa", "boxes": f".\\{NFC}.json"}),
    )
    assert reader("own_jsonl", tmp_path)[0].boxes_px.tolist() == [[1, 1, 8, 6]]


def test_labels_and_lists_beside_what_macos_leaves(tmp_path: Path) -> None:
    """Hidden twins of annotations were read as annotations: they moved the numbers of DIOR-RSVG by one."""
    write_dota(tmp_path / "dota")
    write(tmp_path / "dota/train/labelTxt/._P0001.txt", "\x00\x05\x16")
    (tmp_path / "dota/train/images/P0001.png").rename(tmp_path / "dota/train/images/p0001.PNG")
    assert len(reader("dota", tmp_path / "dota")) == 2
    write_dior(tmp_path / "dior")
    write(tmp_path / "dior/Annotations/._00002.xml", "\x00\x05\x16")
    assert [s.id for s in reader("dior_rsvg", tmp_path / "dior")] == ["0", "2"]
    sky(tmp_path / "sky")
    (tmp_path / "sky/ann_dir/a.png").rename(tmp_path / "sky/ann_dir/A.PNG")
    assert len(reader("sky_sa", tmp_path / "sky")) == 3
    refsegrs(tmp_path / "ref")
    (tmp_path / "ref/masks/0.tif").rename(tmp_path / "ref/masks/0.TIFF")
    assert len(reader("refsegrs", tmp_path / "ref")) == 3
    folders(tmp_path / "levir_cd", "train/A", "train/B", "train/label", "a1 b2")
    for part in ("A", "B"):
        save(tmp_path / f"levir_cd/train/{part}/._a1.png")
    (tmp_path / "levir_cd/train/A/x.png").mkdir()
    assert reader("levir_cd", tmp_path / "levir_cd").counts == {"pairs": 2}


def test_partial_copies_are_looked_through_by_the_same_rule(tmp_path: Path) -> None:
    gaia(tmp_path / "gaia")
    pictures = sorted((tmp_path / "gaia/images").iterdir())
    pictures[0].rename(pictures[0].with_suffix(".JPG"))
    data = reader("gaia", tmp_path / "gaia", incomplete=True)
    assert len(data) == len(pictures)
    levir_mci(tmp_path / "mci")
    moved = next((tmp_path / "mci").rglob("A/*.png"))
    moved.rename(moved.with_suffix(".PNG"))
    whole = reader("levir_mci", tmp_path / "mci")
    assert len(reader("levir_mci", tmp_path / "mci", missing_images="skip")) == len(whole)


def test_tar_members_with_dots_in_any_case(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (12, 8)).save(picture, "JPEG")
    path = shard(tmp_path / "train/0.tar", [{"jpg": picture.getvalue(), "txt": b"one"}])
    whole = index_tar(path, ("jpg", "txt"))
    names = {"tile.1.2.JPG": picture.getvalue(), "tile.1.2.txt": b"two", "a.jpg": picture.getvalue(), "._a.jpg": b"x"}
    names |= {"a.seg.jpg": b"mask", "a.txt": b"three"}
    with tarfile.open(path, "w") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(f"sub\\{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert len(whole) == 1 and len(index_tar(path, ("jpg", "txt"))) == 2
    data = reader("own_webdataset", tmp_path)
    assert [s.responses for s in (data[0], data[1])] == [("two",), ("three",)]


# --- dates in names ---


@pytest.mark.parametrize(
    ("names", "days"),
    [
        (["1985.tif", "2000.tif"], ["1985-01-01", "2000-01-01"]),
        (["s_2020-08-30.tif", "s_2021-01-02.tif"], ["2020-08-30", "2021-01-02"]),
        (["S2A_MSIL2A_20200830T105031_N0214.tif", "S2B_MSIL2A_20210110T105031_N0214.tif"],
         ["2020-08-30", "2021-01-10"]),
        (["LC08_L2SP_193026_20200101_20200113_02.tif", "LC08_L2SP_193026_20210101_20210113_02.tif"],
         ["2020-01-01", "2021-01-01"]),
        (["35-2017-0335-6785-LA93.tif", "35-2020-0335-6785-LA93.tif"], ["2017-01-01", "2020-01-01"]),
        (["35-2017-0830-6785-LA93.tif", "35-2020-0830-6785-LA93.tif"], ["2017-01-01", "2020-01-01"]),
        (["a_2020-02-30.tif", "a_2021-02-30.tif"], ["2020-01-01", "2021-01-01"]),
        (["a_30-08-2019.tif", "a_30-08-2020.tif"], ["2019-01-01", "2020-01-01"]),
        (["a_2019-05-06.tif", "b_2020.tif"], ["2019-01-01", "2020-01-01"]),
        (["20190504103000.tif", "20200504103000.tif"], ["2019-05-04", "2020-05-04"]),
        (["before_2000_3072.tif", "after_2000_3072.tif"], None),  # offsets of a tile
        (["20200230.tif", "20200231.tif"], None),
        (["08302020.tif", "08302021.tif"], None),
        (["tile_1999_2001_a.tif", "tile_1999_2001_b.tif"], None),
        (["x_2048_0.tif", "x_3072_0.tif"], None),
        (["site_EPSG_2000.tif", "site_epsg2001.tif"], None),
        (["tel_+33120201234.tif", "tel_+33120211234.tif"], None),
        (["12020.tif", "12021.tif"], None),
        (["2090.tif", "2091.tif"], None),
        (["20990101.tif", "20990102.tif"], None),
        (["1985.tif", "after.tif"], None),
        (["1985.tif"], None),
    ],
)  # fmt: skip
def test_dates_in_names(names: list[str], days: list[str] | None) -> None:
    found = dates_in_names(names)
    expected = [None] * len(names) if days is None else [datetime.fromisoformat(day) for day in days]
    assert [date and date.day for date in found] == expected


def _raster(path: Path, value: int) -> Path:
    options = {"driver": "GTiff", "width": 6, "height": 5, "count": 3, "dtype": "uint8", "crs": "EPSG:32617"}
    with rasterio.open(path, "w", transform=rasterio.Affine(1, 0, 4e5, 0, -1, 3e6), **options) as file:
        file.write(np.full((3, 5, 6), value, np.uint8))
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("35-2017-0335-6785.tif", "35-2020-0335-6785.tif"),
        ("a_2000_3072.tif", "b_2000_3072.tif"),
        ("20200230.tif", "20210230.tif"),
        ("2020-13-41.tif", "2021-13-41.tif"),
    ],
)
def test_names_that_look_like_dates_are_compared(tmp_path: Path, names: tuple[str, str]) -> None:
    paths = [_raster(tmp_path / name, k + 1) for k, name in enumerate(names)]
    assert read_dates(paths, bands=3).images[0].shape == (5, 6, 3)


def test_order_and_declared_patterns(tmp_path: Path) -> None:
    late, early = _raster(tmp_path / "b_2020-05-01.tif", 1), _raster(tmp_path / "a_2019-05-01.tif", 2)
    with pytest.warns(UserWarning, match="comes before a_2019-05-01.tif .* but is younger. Swap them"):
        read_dates([late, early], bands=3)
    pictures = [save(tmp_path / f"{name}.png", k) for k, name in enumerate(("x_2020", "x_2019"))]
    with pytest.warns(UserWarning, match="x_2020.png .* but is younger. Swap them"):
        read_dates(pictures, bands=3)
    with pytest.warns(UserWarning, match="finds the same date in .*raster.date_pattern"):
        read_dates([early, late], bands=3, options={"date_pattern": r"-0(?P<year>5)"})
    for pattern, message in (
        (r"(?P<year>\d{5})", "finds no group 'year' in the name 'b_2020-05-01.tif'. Give raster.date_pattern="),
        (r"(?P<year>\d{4}", "is no regular expression"),
        (r"_(?P<year>[a-z0-9]+)-(?P<month>0)", "makes no date of the name"),
        (r"(?P<year>b)", "makes no date of the name .*or leave it out"),
    ):
        with pytest.raises(UserError, match=message):
            open_raster(late, date_pattern=pattern)
