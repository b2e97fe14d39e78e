"""Shortest arguments of each command."""

from __future__ import annotations

BASE = {
    "train": [],
    "evaluate": ["checkpoint=none", "benchmark=scenes"],
    "predict": ["checkpoint=none", "image=a.png"],
    "serve": ["checkpoint=none"],
    "score": ["protocol=caption/coco-ptb@1", "predictions=p.jsonl", "references=r.json"],
    "inspect": ["data=scenes"],
    "overlap": ["train=scenes", "test=scenes"],
    "shard": ["data=scenes", "out=shards"],
    "compare": ["runs=[a]"],
    "stress": ["checkpoint=none"],
    "swap": ["checkpoint=none"],
    "experts": ["checkpoint=none", "benchmark=scenes"],
    "export": ["checkpoint=none", "out=out"],
    "change_detection": ["data=levir_cd"],
    "index": ["images=a", "out=store"],
    "search": ["store=a", "text=ships"],
    "localise": ["text=ships", "image=a.png", "out=out"],
    "segment": ["names=[ships]", "image=a.png", "checkpoint=none", "out=out"],
    "knowledge": ["out=out"],
    "contrast": [],
    "convert_clip": ["file=clip.pt", "out=out"],
}
