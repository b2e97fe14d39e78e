"""Every format that is read, and a release of each."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rsmoe.parts import instantiate
from support.readers import config, save, write
from support.release_captions import gaia, rsicap, videos
from support.release_change import dubai, folders, levir_mci, second
from support.release_conversations import geochat, llava, skyeye, teochat
from support.release_objects import LAYOUTS, coco, dota, refsegrs, release, rsvg, sky, voc
from support.release_questions import floodnet, rswk, triples
from support.release_web_pairs import rs5m, shard, skyscript
from support.releases import RELEASES
from support.shard_data import shards_of, toy

ROOT = Path(__file__).parents[2]


def _nwpu_vhr10(root: Path) -> None:
    coco(root)
    (root / "annotations").mkdir()
    (root / "a.json").rename(root / "annotations/instances.json")


def _neon_crowns(root: Path) -> dict[str, Any]:
    save(root / "OSBS_029.tif", size=(400, 400))
    objects = ("Tree", (20, 30, 60, 80)), ("Tree", (300, 9, 330, 50)), ("Tree", (180, 90, 240, 120))
    (root / "OSBS_029.xml").write_text(voc("OSBS_029.tif", (400, 400), *objects))
    return config("neon_crowns") | {"name": "neon_crowns"}


def _changes(layout: str, root: Path) -> None:
    before, after, label = (f"train/{part}" for part in layout.split())
    folders(root, before, after, label, "a1 b2")


def _own_folder(root: Path) -> None:
    save(root / "train/port.png")
    write(root / "train/port.txt", "A port.\nTwo ships on the left.\n")


def own_jsonl(root: Path) -> None:
    """The five lines that docs/how_to/own_data.md shows."""
    (table,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/how_to/own_data.md").read_text(), re.DOTALL)
    for name in ("a", "b"):
        save(root / f"{name}.png")
    save(root / "water.png", 255, "L")
    for split in ("train", "val", "test"):
        write(root / f"{split}.jsonl", table)


def _own_csv(root: Path) -> None:
    save(root / "a.png")
    write(root / "train.csv", "image,instruction,answer,task,place\na.png,How many ships are there?,two,vqa,Genoa\n")


def _own_webdataset(root: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (12, 8), (1, 2, 3)).save(picture, "JPEG")
    shard(root / "train/0.tar", [{"jpg": picture.getvalue(), "txt": f"Port {i}.".encode()} for i in range(3)])


FORMATS: dict[str, Callable[[Path], object]] = {
    "capera": lambda root: videos(root, ["Fire_001", "Fire_002"], frames=20),
    "dota": dota,
    "dsifn_cd": partial(_changes, "t1 t2 mask"),
    "dubai_cc": dubai,
    "floodnet_vqa": floodnet,
    "gaia": gaia,
    "geochat_instruct": geochat,
    "landmarks": lambda root: None,
    "levir_cd": partial(_changes, "A B label"),
    "levir_mci": levir_mci,
    "llava": llava,
    "neon_crowns": _neon_crowns,
    "nwpu_vhr10": _nwpu_vhr10,
    "own_csv": _own_csv,
    "own_folder": _own_folder,
    "own_jsonl": own_jsonl,
    "own_webdataset": _own_webdataset,
    "pair_instructions": levir_mci,
    "refsegrs": refsegrs,
    "rs5m": rs5m,
    "rs_gpt4v": llava,
    "rsicap": lambda root: rsicap(root, [f"P{i:04d}.png" for i in range(6)]),
    "rsvg": lambda root: rsvg(root, [("a.png", [20, 10, 60, 50], "The bridge on the left.", 3)]),
    "rsvqa_website_lr": lambda root: triples(root, "LR"),
    "rswk": rswk,
    "s2looking": partial(_changes, "Image1 Image2 label"),
    "scene_changes": lambda root: None,
    "scene_masks": lambda root: None,
    "scene_regions": lambda root: None,
    "scenes": lambda root: None,
    "second_cc": second,
    "shards": lambda root: shards_of(toy(root, 5, questions=2), root),
    "sky_sa": sky,
    "skyeye_968k": skyeye,
    "skyscript": skyscript,
    "teochatlas": teochat,
    **{name: partial(lambda name, root: release(root, name), name) for name in LAYOUTS},
}


TEST = "dubai_cc:val lhrs_bench:test geobench_vlm:test rsieval:test rsvg:test rsvqa_website_lr:test rswk:test"


SPLITS = dict(pair.split(":") for pair in TEST.split()) | {"second_cc": "test"} | {n: v[0] for n, v in LAYOUTS.items()}


OPTIONS: dict[str, dict[str, Any]] = {
    "levir_mci": {"tasks": ["change_caption", "mask"]},
    "second_cc": {"tasks": ["change_caption", "mask"]},
    "landmarks": {"size": 10},
    "scenes": {"size": 10},
    "scene_changes": {"size": 20},
    "scene_masks": {"scenes": {"train": 3}},
    "scene_regions": {"scenes": {"train": 3}},
    "vrsbench_captions": {"tasks": ["caption", "ground", "vqa"], "val_fraction": 0.0},
}


def data_of(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The data set, on a release in the place where a user puts it."""
    monkeypatch.setenv("RSMOE_DATA", str(home))
    release_name = {"vrsbench_captions": "vrsbench"}.get(name, name)
    if release_name in RELEASES:
        RELEASES[release_name](home)
        node = config(name)
    else:
        folder = {"pair_instructions": "levir_mci"}.get(name, name)
        (home / folder).mkdir()
        made = FORMATS[name](home / folder)
        node = {k: v for k, v in made.items() if k not in ("root", "split")} if isinstance(made, dict) else config(name)
    return instantiate(node | OPTIONS.get(name, {}), split=SPLITS.get(name, "train"))
