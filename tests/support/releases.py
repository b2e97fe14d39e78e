"""A tiny release for every benchmark that is read from disk, all in one folder as $RSMOE_DATA has them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from support.readers import config, write
from support.release_captions import camel, karpathy, nwpu, rsicap, scenes
from support.release_change import NEW, PAIRS, changechat, levir
from support.release_objects import dior, geopix, rrsis, vhr10
from support.release_questions import LINES, geobench, lhrs, rsieval, rsivqa, triples, vrsbench

PARTS = ("train", "train", "test", "test", "val", "train")
"""Splits of the images of a release of captions."""


def _captions(name: str, file: str, images: str = "images") -> Callable[[Path], None]:
    def put(home: Path) -> None:
        karpathy(home / name, PARTS, file=file, images=images)

    return put


def _scenes(name: str, folder: Callable[[str], str]) -> Callable[[Path], None]:
    def put(home: Path) -> None:
        options = config(name)
        scenes(home / name / options["images"], [folder(words) for words in options["classes"]], images=5)

    return put


def _nwpu(home: Path) -> None:
    file = nwpu(home / "nwpu_captions") / "dataset_nwpu.json"
    file.write_text(file.read_text().replace('"val"', '"test"'))


def _questions(file: str, captions: Callable[[Path], None]) -> Callable[[Path], None]:
    def put(home: Path) -> None:
        captions(home)
        rsivqa(home, LINES + "3.tif:How many ships are there?two\n", file=f"rsivqa/{file}")

    return put


def _rsivqa_ucm(home: Path) -> None:
    _questions("UCM/ucm_vqa.txt", RELEASES["ucm_captions"])(home)
    rsivqa(home, "0.tif:Is there a road?yes\n3.tif:Is there a road?no\n", file="rsivqa/UCM/ucm_res.txt")


def _rsvqa_hr(home: Path) -> None:
    for first, part in enumerate(("train", "test", "test_phili")):
        triples(home / "rsvqa_hr", f"USGS_split_{part}", 100 * first, "Data")


def _rsvqa_lr(home: Path) -> None:
    for first, part in enumerate(("train", "test")):
        triples(home / "rsvqa_lr", f"LR_split_{part}", 100 * first)


def _levir(home: Path) -> None:
    levir(home / "levir_cc", rows=(*PAIRS, ("test_000002.png", "test", 0)))
    words = sorted({word for text in NEW for word in text.split()})
    write(home / "levir_cc" / "vocab.json", {word: i for i, word in enumerate(["<NULL>", "<UNK>", *words])})


def _changechat(home: Path) -> None:
    """Every row of the test part twice, so that there is something to draw from."""
    for file in (changechat(home) / "annotations").glob("*_test*.json"):
        write(file, 2 * json.loads(file.read_text()))
    _levir(home)  # whose images it has


def _geopix(home: Path) -> None:
    root = geopix(home / "geopix_instruct")
    shutil.copytree(root / "FAST", root / "SOTA", dirs_exist_ok=True)
    shutil.copy(root / "train.FAST_T.jsonl", root / "train.SOTA_T.jsonl")
    for part in ("SIOR", "FAST", "SOTA"):
        shutil.copy(root / f"train.{part}_T.jsonl", root / f"valid.{part}_T.jsonl")


def _rsieval(home: Path) -> None:
    rsieval(home / "rsieval")
    rsicap(home / "rsicap", [f"P{i:04d}.png" for i in range(6)])


RELEASES: dict[str, Callable[[Path], object]] = {
    "aid": _scenes("aid", camel),
    "changechat": _changechat,
    "dior_rsvg": lambda home: dior(home / "dior_rsvg"),
    "eurosat": _scenes("eurosat", camel),
    "geobench_vlm": lambda home: geobench(home / "geobench_vlm"),
    "geopix_instruct": _geopix,
    "levir_cc": _levir,
    "lhrs_bench": lambda home: lhrs(home / "lhrs_bench"),
    "nwpu_captions": _nwpu,
    "nwpu_layout": lambda home: vhr10(home / "nwpu_layout"),
    "nwpu_vhr10": lambda home: vhr10(home / "nwpu_vhr10"),
    "resisc45": _scenes("resisc45", lambda words: words.replace(" ", "_")),
    "rrsis_d": lambda home: rrsis(home / "rrsis_d"),
    "rsicd": _captions("rsicd", "dataset_rsicd.json", "RSICD_images"),
    "rsieval": _rsieval,
    "rsitmd": _captions("rsitmd", "dataset_RSITMD.json"),
    "rsivqa_rsicd": _questions("AID/rsicd_vqa.txt", _captions("rsicd", "dataset_rsicd.json", "RSICD_images")),
    "rsivqa_ucm": _rsivqa_ucm,
    "rsvqa_hr": _rsvqa_hr,
    "rsvqa_lr": _rsvqa_lr,
    "sydney_captions": _captions("sydney_captions", "dataset_sydney.json"),
    "uc_merced": _scenes("uc_merced", lambda words: words.replace(" ", "")),
    "ucm_captions": _captions("ucm_captions", "dataset_ucm.json"),
    "vrsbench": lambda home: vrsbench(home / "vrsbench"),
}
"""``name`` of a reader in conf/data -> writes its release into a folder under which releases lie by name."""
