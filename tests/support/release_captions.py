"""Tiny releases of captions and scene classes, written as the formats say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.readers import save, write


def karpathy(
    root: Path,
    splits: tuple[str, ...] = ("train", "train", "test"),
    suffix: str = "jpg",
    file: str = "dataset.json",
    images: str = "images",
) -> Path:
    """One sentence for the first image, two and an empty one for the others."""
    rows = []
    for i, split in enumerate(splits):
        sentences = [{"raw": f"Image {i} is a field ."}, {"raw": f"a road in the north of {i} ."}, {"raw": " "}]
        rows.append({"filename": f"{i}.tif", "split": split, "sentences": sentences[: 3 if i else 1]})
        save(root / images / f"{i}.{suffix}", value=i)
    write(root / file, {"images": rows, "dataset": "toy"})
    return root


def rsicap(root: Path, names: list[str], **more: Any) -> Path:
    rows = [
        {"image_id": str(i), "filename": n, "text_input": "Describe.", "text_output": f"Scene {i}.", **more}
        for i, n in enumerate(names)
    ]
    for name in names:
        save(root / "images" / name)
    write(root / "captions.json", {"annotations": rows})
    return root


def nwpu(root: Path) -> Path:
    def row(file: str, split: str, **more: str) -> dict[str, Any]:
        texts = {key: f"{key} of {file}" for key in ("raw", "raw_1", "raw_2", "raw_3", "raw_4")}
        return {"filename": file, "imgid": 0, "split": split, "sentids": [0], **texts, **more}

    content = {
        "airplane": [row("airplane_001.jpg", "train"), row("airplane_111.jpg", "train")],
        "sea_ice": [
            row("sea_ice_001.jpg", "train", raw_3=" ", raw="North ice ."),
            row("sea_ice_002.jpg", "val"),
        ],
    }
    write(root / "dataset_nwpu.json", content)
    for file in ("airplane/airplane_001", "sea_ice/sea_ice_001", "sea_ice/sea_ice_002"):
        save(root / f"NWPU_images/{file}.jpg")
    return root


def scenes(root: Path, folders: list[str], images: int = 10, suffix: str = "jpg") -> Path:
    for folder in folders:
        for i in range(images):
            save(root / folder / f"{folder}_{i + 1}.{suffix}")
    return root


def camel(words: str) -> str:
    return words.title().replace(" ", "")


def gaia(root: Path) -> Path:
    row = {
        "image_src": "https://example.org/1.png",
        "image_alt": "smoke",
        "captions": [f"The image showcases: fire {i}." for i in range(5)],
        "credits": "NASA",
        "location": "Chile",
        "lat": -33.4,
        "lon": 0,
        "tag": ["fires", "smoke", "land"],
        "resolution": "Moderate",
        "satellite": ["Terra"],
        "sensor": ["MODIS"],
        "modalities": [],
    }
    rows = [row | {"id": 7}, row | {"id": "a.b", "location": None, "captions": ["The north.", " "]}, row | {"id": "9"}]
    for split, part in (("train", rows), ("val", rows[:1]), ("test", rows[:1])):
        write(root / f"{split}_data.json", part)
    for stem in ("7.png", "a.b.jpg", "9.webp"):
        save(root / f"images/{stem}")
    return root


def videos(root: Path, names: list[str], frames: int = 10) -> Path:
    rows = [
        {"video_id": f"{n}.mp4", "annotation": {"English_caption": [f"A fire {n}.", "On the left."]}} for n in names
    ]
    rows[0]["annotation"] = {"English_caption": "One caption."}
    for split in ("train", "test"):
        write(root / f"captions_{split}.json", rows)
    for name in names:
        for i in range(frames):
            save(root / f"frames/{name}/f{i + 1}.jpg", size=(4, 4))
        (root / f"frames/{name}/notes.txt").write_text("x")
    return root
