"""Tiny releases of pairs from the web, written as the formats say."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image

from support.readers import save, write

TABLE = """filepath,title,title_multi_objects
images2/a198234555_CH_19.jpg,a school,"a school, surrounded by road"
images2/n5_US_21.jpg,a tower,a tower
images3/w7_XX_07.jpg,,
images3/other.jpg,a farm,a farm north of a river
"""


def skyscript(root: Path, table: str = TABLE) -> Path:
    for split in ("train_top30pct", "val_5K", "test_30K"):
        write(root / f"SkyScript_{split}_filtered_by_CLIP_openai.csv", table)
    for file in ("images2/a198234555_CH_19", "images2/n5_US_21", "images3/other"):
        save(root / f"{file}.jpg")
    return root


def jpeg(value: int = 50, size: tuple[int, int] = (10, 6), kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(out, kind)
    return out.getvalue()


def pair(value: int, **more: bytes) -> dict[str, bytes]:
    return {
        "caption": f"Picture {value}.".encode(),
        "img_content": jpeg(value),
        "img_name": f"{value}.jpg".encode(),
    } | more


def shard(path: Path, samples: list[dict[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    """As webdataset writes: PAX headers with a fractional time, fields of a sample one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for i, sample in enumerate(samples):
            for name, content in sample.items():
                info = tarfile.TarInfo(f"{path.stem}_{i:06d}.{name}")
                info.size, info.mtime = len(content), 1700000000.25
                tar.addfile(info, io.BytesIO(content))
    return path


def rs5m(root: Path) -> Path:
    shard(root / "train/pub11-train-0000.tar", [pair(10), pair(20)])
    shard(root / "train/pub11-train-0001.tar", [pair(30, caption="Ünten links, left".encode()), pair(40, caption=b"")])
    shard(root / "train/rs3-train-0000.tar", [pair(50)], tarfile.GNU_FORMAT)
    for subset in ("pub11", "rs3"):
        shard(root / f"val/{subset}-val-0000.tar", [pair(60)])
    return root
