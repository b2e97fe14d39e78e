"""Tiny releases of conversations, written as the formats say; their pictures are 40 x 20."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from support.readers import config, write
from support.readers import save as picture

SIZE = (40, 20)
save = partial(picture, size=SIZE)


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if i % 2 else "human", "value": text} for i, text in enumerate(texts)]


def geochat(root: Path) -> Path:
    rows = [
        {
            "id": "a",
            "image": "a.png",
            "conversations": talk("<image>\nIs it rural?\nOne word.", "rural", "Why?", "Trees."),
        },
        {"id": "b", "image": "b.jpg", "conversations": talk("<image>\n[refer] the ship", "{<10><20><30><60>|<90>}")},
        {
            "id": "b",
            "image": "b.jpg",
            "conversations": talk("<image>\n[identify] {<0><0><9><9>|<0>}", "a ship on the left"),
        },
        {"id": "b", "image": "b.jpg", "conversations": talk("<image>\n[grounding] all", "nothing here")},
        {"id": "c", "conversations": talk("Who are you?", "GeoChat.")},
    ]
    save(root / "images/a.png")
    save(root / "images/b.jpg")
    write(root / "GeoChat_Instruct.json", rows)
    return root


def teochat(root: Path, split: str = "train", **more: Any) -> Path:
    rows = [
        {
            "id": 7,
            "video": ["f/late.png", "f/early.png", "f/mid.png"],
            "metadata": [{"timestamp": day, "gsd": 0.5} for day in ("2019-05-03", "2015-05-03", "2017-5-3")],
            "task": "temporal_scene_classification",
            "dataset": "fMoW",
            "conversations": talk("This is a sequence: <video>\nWhich class is it?", "airport"),
        },
        {
            "video": ["f/early.png", "f/late.png"],
            "task": "change_detection_localization",
            "polygon": ["POLYGON ((0 0, 1 0, 1 1, 0 0))"],
            "conversations": talk("Images: <video> Find the buildings.", "[0, 0, 50, 50], [50, 50, 100, 100]."),
        },
        {"image": "f/early.png", "task": "scene_classification", "conversations": talk("<image> Which class?", "barn")},
    ]
    for name in ("late", "early", "mid"):
        save(root / f"{split}/f/{name}.png")
    write(root / "train/instruct.json", [row | more for row in rows])
    return root


def skyeye(root: Path) -> Path:
    """A row in each of its 19 files."""
    part = config("skyeye_968k")["files"]["train"]
    for i, p in enumerate(part):
        save(root / p["images"] / "x/1.jpg", i)
        answer = "{<0><0><50><50>}" if p["task"] == "ground" else "A port."
        rows = [
            {
                "id": 1,
                "image": "x/1.jpg",
                "conversations": talk("<image>\n[refer] it" * (p["task"] == "ground") or "What?", answer),
            }
        ]
        write(root / p["path"], rows)
    return root


def llava(root: Path) -> Path:
    """A picture to train on; the same and a pair to test on."""
    rows = [{"id": "1", "image": "a.png", "conversations": talk("<image> What?", "A port.")}]
    pair = [{"id": "1", "image": ["a.png", "b.png"], "conversations": talk("<image> <image> What changed?", "A road.")}]
    for name in ("a", "b"):
        save(root / f"images/{name}.png")
    for split, content in (("train", rows), ("test", rows + pair)):
        write(root / f"{split}.json", content)
    return root
