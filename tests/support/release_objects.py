"""Tiny releases of boxes and masks, written as the formats say."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rsmoe.data.rasters.rle import encode_rle
from support.readers import config, lines, save

H, W = 8, 12


def block(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((H, W), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


ROOF, SHIP = block(1, 2, 5, 6), block(6, 0, 12, 3)


def instance(key: str, category: str, description: str, mask: np.ndarray, bbox: list[int]) -> dict[str, Any]:
    code = {"counts": encode_rle(mask), "size": [H, W]}
    return {
        "instance_id": key, "category": category, "category_id": 3, "description": description, "bbox": bbox,
        "mask": code,
    }  # fmt: skip


def geopix(root: Path) -> Path:
    two = [
        instance("a", "stadium", "The stadium on the left.", ROOF, [1, 2, 5, 6]),
        instance("b", "ship", "the long ship", SHIP, [6, 0, 12, 3]),
        instance("c", "ship", " ", SHIP, [6, 0, 12, 3]),
    ]
    one = [instance("a", "bridge", "the bridge", SHIP, [6, 0, 12, 3])]
    lines(
        root / "train.SIOR_T.jsonl",
        [{"image_id": "00012", "image_path": "/home/x/trainval/00012.jpg", "instances": two}],
    )
    lines(root / "train.FAST_T.jsonl", [{"image_id": "00012", "image_path": "00012.png", "instances": one}])
    save(root / "SIOR/images/00012.jpg", 10)
    save(root / "FAST/images/00012.png", 20)
    return root


def rrsis(root: Path) -> Path:
    code = {"counts": encode_rle(ROOF), "size": [H, W]}
    other = {"counts": encode_rle(SHIP), "size": [H, W]}
    coco = {
        "images": [{"id": i, "file_name": f"{i:05d}.jpg", "height": H, "width": W} for i in range(4)],
        "categories": [{"id": 7, "name": "vehicle"}, {"id": 8, "name": "dam"}],
        "annotations": [
            {"id": 10, "image_id": 0, "category_id": 7, "segmentation": [code]},
            {"id": 11, "image_id": 1, "category_id": 8, "segmentation": [code, other]},
            {"id": 12, "image_id": 2, "category_id": 8, "segmentation": [[1, 2, 5, 2, 5, 6, 1, 6]]},
            {"id": 13, "image_id": 3, "category_id": 7, "segmentation": other},
        ],
    }
    refs = [
        {
            "ref_id": 100 + i, "ann_id": 10 + i, "image_id": i, "split": split, "category_id": 7,
            "sentences": [{"sent_id": i, "raw": text, "sent": text.lower(), "tokens": text.split()} for text in texts],
        }
        for i, (split, texts) in enumerate(
            [("train", ["The vehicle on the left", "a car."]), ("train", ["the dam"]), ("train", ["a dam", " "]),
             ("test", ["the vehicle"])]
        )
    ]  # fmt: skip
    lines(root / "rrsisd/instances.json", [coco])
    (root / "rrsisd/refs(unc).p").write_bytes(pickle.dumps(refs))
    for i in range(4):
        save(root / f"images/rrsisd/JPEGImages/{i:05d}.jpg")
    return root


def voc(file: str, size: tuple[int, int], *objects: tuple[str, tuple[int, int, int, int]]) -> str:
    body = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax>"
        f"<ymax>{b[3]}</ymax></bndbox></object>"
        for name, b in objects
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><folder>x</folder><filename>{file}</filename>{sides}{body}</annotation>"


def xml(number: int, *objects: tuple[str, tuple[int, int, int, int], str]) -> str:
    body = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
        f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox><description>{text}</description></object>"
        for name, b, text in objects
    )
    size = "<size><width>800</width><height>600</height><depth>3</depth></size>"
    return f"<annotation><filename>{number:05}.jpg</filename>{size}<segmented>0</segmented>{body}</annotation>"


def dior(root: Path) -> Path:
    """Files written in the wrong order: the numbers count in the order of their names."""
    pages = {
        12: xml(12, ("ship", (80, 60, 160, 120), "The ship on the left."), ("ship", (1, 2, 1, 9), "flat")),
        2: xml(2, ("dam", (0, 0, 800, 600), "A  grey dam"), ("vehicle", (400, 300, 440, 330), "")),
        30: xml(30, ("airport", (10, 20, 30, 40), "An airport")),
    }
    for number, page in pages.items():
        save(root / "JPEGImages" / f"{number:05}.jpg", size=(800, 600))
        path = root / "Annotations" / f"{number:05}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(page)
    for split, numbers in {"train": "0\n2\n1\n", "val": "3\n4\n", "test": "4"}.items():
        (root / f"{split}.txt").write_text(numbers)
    return root


def pixels(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)
    return path


def refsegrs(root: Path) -> Path:
    lines(root / "output_phrase_train.txt", ["0 road  markings", "1 vehicle along the left road.", "", "1 bus"])
    lines(root / "output_phrase_val.txt", ["2 impervious surface"])
    lines(root / "output_phrase_test.txt", ["3"])
    for i in range(4):
        save(root / f"images/{i}.tif")
        pixels(root / f"masks/{i}.tif", block(i, 1, i + 2, 4) * 255)
    return root


LAYOUTS = {
    "dubai_segmentation": ("train", "Tile 2/images/image_part_001.jpg", "Tile 2/masks/image_part_001.png"),
    "loveda": ("val", "Val/Rural/images_png/4191.png", "Val/Rural/masks_png/4191.png"),
    "isaid": ("train", "train/images/P0000.png", "train/Semantic_masks/images/P0000_instance_color_RGB.png"),
    "potsdam": ("test", "2_Ortho_RGB/top_potsdam_2_13_RGB.tif", "5_Labels_all/top_potsdam_2_13_label.tif"),
    "vaihingen": ("train", "top/top_mosaic_09cm_area1.tif", "gts/top_mosaic_09cm_area1.tif"),
    "uavid": ("val", "uavid_val/seq16/Images/000100.png", "uavid_val/seq16/Labels/000100.png"),
    "openearthmap": ("train", "aachen/images/aachen_1.tif", "aachen/labels/aachen_1.tif"),
}
"""A split, an image and its map, in the layout of each release."""


def value(written: str | int) -> Any:
    return tuple(bytes.fromhex(written[1:])) if isinstance(written, str) else written


def release(root: Path, name: str) -> dict[str, Any]:
    """One image whose column k is class k - 1, and whose column 0 means nothing where something may; its config."""
    node = config(name)
    split, image, target = LAYOUTS[name]
    written = list(node["classes"].values())
    ignore = node.get("ignore") or [written[0]]
    columns = [ignore[0], *written][:W]
    columns += [columns[-1]] * (W - len(columns))
    save(root / image)
    pixels(
        root / target, np.tile(np.asarray([value(c) for c in columns]), (H, 1, *(1,) * (isinstance(written[0], str))))
    )
    if name == "openearthmap":
        lines(root / "train.txt", ["aachen_1.tif", "xbd_7.tif"])
    if node.get("names") and not isinstance(node["names"][split], str):
        node["names"] = {split: [Path(image).stem]}
    return node | {"root": str(root), "split": split}


def sky(root: Path) -> Path:
    def row(stem: str, *names: str) -> dict[str, Any]:
        entries = [{"category_name": name} for name in names]
        return {"flickr_url": f"/x/img_dir/{stem}.jpg", "segmentation": f"/x/{stem}.png", "ann_list": entries}

    rows = [row("a", "parking lot", "left wing", "parking lot"), row("b", "sea"), row("c")]
    lines(root / "skysa_dataset.jsonl", rows)
    a = np.full((H, W), 255)
    for k in range(3):
        a[:, 2 * k : 2 * k + 2] = k
    pixels(root / "ann_dir/a.png", a)
    pixels(root / "ann_dir/b.png", np.zeros((H, W)))
    for stem in "abc":
        save(root / f"img_dir/{stem}.jpg")
    return root


def coco(root: Path, **changes: Any) -> Path:
    """Two pictures, 100 x 80: two ships and a crowd of cars; one picture without any."""
    square = [[10, 20, 30, 20, 30, 50, 10, 50]]
    rle = {"size": [80, 100], "counts": [8 + 80 * 60, 4] + [76, 4] * 9 + [80 * 100 - 8 - 80 * 60 - 4 - 80 * 9]}
    rows = [
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 20, 20, 30], "segmentation": square, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [60, 8, 10, 4], "segmentation": rle, "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 5, "bbox": [0, 0, 50, 10], "segmentation": square, "iscrowd": 1},
        {"id": 4, "image_id": 7, "category_id": 2, "bbox": [5, 5, 0, 4], "segmentation": square, "iscrowd": 0},
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in (7, 9)],
        "categories": [{"id": 2, "name": "cargo_ship"}, {"id": 5, "name": "car"}],
        "annotations": rows,
    } | changes
    for i in (7, 9):
        save(root / "imgs" / f"{i}.jpg", size=(100, 80))
    (root / "a.json").write_text(json.dumps(content))
    return root


def vhr10(root: Path) -> Path:
    """Twelve pictures, 40 x 40, an airplane on each and a ship on every other one."""
    rows = []
    for i in range(12):
        save(root / "imgs" / f"{i:03d}.jpg", size=(40, 40))
        for kind, x in enumerate((4, 20)[: 1 + i % 2], start=1):
            rows.append({
                "id": len(rows), "image_id": i, "category_id": kind, "bbox": [x, 8, 10, 12], "iscrowd": 0,
                "segmentation": [[x, 8, x + 10, 8, x + 10, 20, x, 20]],
            })  # fmt: skip
    content = {
        "images": [{"id": i, "file_name": f"{i:03d}.jpg", "width": 40, "height": 40} for i in range(12)],
        "categories": [{"id": 1, "name": "airplane"}, {"id": 2, "name": "ship"}],
        "annotations": rows,
    }
    (root / "annotations").mkdir()
    (root / "annotations/instances.json").write_text(json.dumps(content))
    return root


def rsvg(root: Path, rows: Any) -> Path:
    save(root / "images" / "a.png", size=(200, 100))
    torch.save(rows, root / "rsvg_test.pth")
    return root


TILTED = "40 20 70 50 60 60 30 30"  # a ship 42.4 long and 14.1 wide; its right end lies lower: +45 degrees


def dota(root: Path) -> Path:
    labels = {
        "P0001": f"imagesource:GoogleEarth\ngsd:0.146\n{TILTED} ship 0\n10 10 20 10 20 20 10 20 ship 1\n"
        "0 0 30.5 0 30.5 10 0 10 small-vehicle 0\n",
        "P0002": "imagesource:GF\ngsd:null\n1 1 5 1 5 5 1 5 plane 1\n",
    }
    for stem, text in labels.items():
        save(root / "train" / "images" / f"{stem}.png", size=(100, 100))
        path = root / "train" / "labelTxt" / f"{stem}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root
