"""Tiny releases of pairs of dates, written as the formats say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rsmoe.data.change.phrases import NO_CHANGE
from support.readers import write

H, W = 9, 12


def picture(path: Path, array: np.ndarray | int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W, 3), array, np.uint8) if isinstance(array, int) else array).save(path)


NEW = ("a house appears on the left .", "a villa is built .", "one house .", "a new house .", "a house shows up .")


def levir_row(file: str, split: str, changed: bool, **more: Any) -> dict[str, Any]:
    texts = NEW if changed else [f"{text} ." for text in NO_CHANGE]
    sentences = [
        {"raw": f" {text}", "tokens": text.split()[:-1], "imgid": 0, "sentid": i} for i, text in enumerate(texts)
    ]
    return {
        "filepath": split,
        "filename": file,
        "imgid": 0,
        "split": split,
        "sentids": [0],
        "sentences": sentences,
        **more,
    }


PAIRS = (("train_000001.png", "train", 1), ("train_000002.png", "train", 0), ("test_000001.png", "test", 1))


def levir(root: Path, *, flag: bool = True, rows: Sequence[tuple[str, str, int]] = PAIRS) -> Path:
    more = [{"changeflag": changed} if flag else {} for *_, changed in rows]
    content = [levir_row(file, split, bool(c), **m) for (file, split, c), m in zip(rows, more, strict=True)]
    write(root / "LevirCCcaptions.json", {"images": content, "dataset": "LEVIR-CC"})
    for i, (file, split, _) in enumerate(rows):
        picture(root / "images" / split / "A" / file, 10 + i)
        picture(root / "images" / split / "B" / file, 100 + i)
    return root


PRESENCE = "<image> <image> Please judge whether these two images have changed. Please answer yes or no."
CAPTION = "<image> <image> Please briefly describe the changes in these two images."
COUNT = "<image> <image> Please determine how many roads and buildings have changed?"
LOCATION = (
    "<image> <image> Please indicate the locations where changes have occurred in the buildings and roads, using a 3x3 "
    "grid (namely, 'top', 'center', and 'bottom' vertically and 'left', 'center', 'right' horizontally)."
)
DIALOGUE = (  # the record in the release's own notebook
    PRESENCE, "No",
    "If changes have occurred, count the number of road and building changes separately.",
    "No roads has changed, and no buildings has changed.",
    "Based on the above analysis, please describe the changes of these two images in detail.",
    "No change has occurred.",
)  # fmt: skip


def record(*texts: str, split: str = "train", number: int = 1, flag: int | None = 0, **more: Any) -> dict[str, Any]:
    said = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]
    image = [f"{split}/{date}/{split}_00000{number}.png" for date in "AB"]
    return {"id": 9, "image": image, **({} if flag is None else {"changeflag": flag}), "conversations": said, **more}


def changechat(root: Path) -> Path:
    train = [
        record(CAPTION, "There is no difference."),
        record(CAPTION, "A house appears on the left.", flag=1),
        record(PRESENCE, "Yes", flag=1),
        record(COUNT, "There are 2 new roads and 5 new buildings.", flag=1),
        record(COUNT, "Several things.", flag=1),
        record(LOCATION, "roads: []. buildings: ['top-left', 'center-center'].", flag=1),
        record("<image> <image> what is the location of the road in the image?", "Near the house."),
        record(*DIALOGUE),
    ]
    folder = root / "changechat/annotations"
    write(folder / "changechat_105k_train.json", train)
    images = {f"image_{date}": f"test/{date}/test_000001.png" for date in "AB"}
    tests = {
        "": [{**images, "captions": list(NEW), "changeflag": 1}],
        "_binary": [record(PRESENCE, "no", split="test")],
        "_count": [record(COUNT, "There are no changes in roads or buildings.", split="test")],
        "_loc": [record(LOCATION, "roads: ['bottom-right']. buildings: [].", split="test", flag=1)],
        "_open": [record("<image> <image> Is it new?", "It is.", split="test", flag=1)],
        "_dialog": [record(*DIALOGUE, split="test")],
    }
    for name, rows in tests.items():
        write(folder / f"changechat_105k_test{name}.json", rows)
    levir(root / "levir_cc")
    return root / "changechat"


def levir_mci(root: Path, *, bands: int = 3) -> Path:
    label = np.zeros((H, W), np.uint8)
    label[0:3, 0:3], label[5:8, 6:12] = 255, 128
    for file in ("train_000001.png", "train_000002.png"):
        mask = label if file == "train_000001.png" else np.zeros_like(label)
        picture(levir(root) / "images/train/label" / file, np.dstack([mask] * 3) if bands == 3 else mask)
    return root


def second(root: Path) -> Path:
    rows = [{"filename": "00012.png", "split": "test", "sentences": [{"raw": text} for text in NEW]}]
    write(root / "SECOND-CC-AUG.json", {"images": rows})
    before, after = (np.full((H, W, 3), 255, np.uint8) for _ in range(2))
    before[2:5, 3:6], after[2:5, 3:6] = (0, 255, 0), (128, 0, 0)  # tree to building
    before[8, 0], after[8, 0] = (0, 0, 255), (128, 128, 128)  # water to ground
    after[0, 11] = (0, 128, 0)  # on one date only
    for name, array in (("sem/A", before), ("sem/B", after), ("rgb/A", 60), ("rgb/B", 70)):
        picture(root / "test" / name / "00012.png", array)
    return root


def folders(root: Path, before: str, after: str, label: str, names: str, *, colour: Any = 255) -> None:
    for i, name in enumerate(names.split()):
        mask = np.zeros((H, W, 3) if isinstance(colour, tuple) else (H, W), np.uint8)
        mask[i : i + 3, 2:6] = colour
        for folder, content in ((before, 50), (after, 60), (label, mask)):
            picture(root / folder / f"{name}.png", content)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def dubai(root: Path) -> Path:
    """Two pairs of the val part: one without a change, one that most sentences call changed."""
    texts = {
        "1x4.tif": ["Nothing has changed.", "There is no difference.", "All remained the same.", "No change was made."],
        "8x3.tif": [
            "Nothing has changed.",
            "A road crossing appeared in the not urbanized area.",
            "A road.",
            "A lane.",
        ],
    }
    rows = [
        {"filename": f, "split": "val", "image_id": i, "sentences": [{"raw": t, "tokens": t.split()} for t in said]}
        for i, (f, said) in enumerate(texts.items())
    ]
    write(root / "description_jsontr_te_val/Validation_Dubai_CC.json", {"dataset": "Dubai_CC", "images": rows})
    for file in texts:
        picture(root / f"imgs_tiles/RGB/500_2000/{Path(file).stem}.png", 20)
        picture(root / f"imgs_tiles/RGB/500_2010/{Path(file).stem}.png", 21)
    return root
