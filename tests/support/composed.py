"""Composed experiments, shortened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import Dataset

import rsmoe.data.corpus
from rsmoe.data.sample import Sample
from rsmoe.data.text_codec import TextCodec
from rsmoe.train import train


def plain(cfg: DictConfig) -> dict[str, Any]:
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return config


class First(Dataset[Sample]):
    """The first rows of a data set, under its name, split and protocol."""

    def __init__(self, data: Any, rows: int) -> None:
        self.data, self.rows = data, min(rows, len(data))

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Sample:
        return self.data[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)


KEPT: dict[str, Any] = {}
"""Config of a reader -> the reader: experiments share their data."""


def short(config: dict[str, Any], *, scenes: int = 4) -> dict[str, Any]:
    """Two steps a stage, four samples a batch, a handful of scenes."""
    for stage in config["stage"].values():
        stage |= {"steps": min(stage["steps"], 2), "batch_size": 4}
    for entry in config["corpus"].values():
        for part in ("generated", "reader"):
            for split in entry.get(part, {}).get("scenes", {}):
                entry[part]["scenes"][split] = scenes
        if "size" in entry.get("reader", {}):
            entry["reader"]["size"] = 30
            entry |= {"train": {"size": 30}, "test": {"size": 20}}
    config["evaluation"] |= {"limit": 4, "max_new": 6, "beams": 2}
    return config


def run(config: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Trains, and checks what the run left."""
    real = rsmoe.data.corpus.instantiate

    def few(node: dict[str, Any]) -> First:
        key = json.dumps(node, sort_keys=True)
        return First(KEPT[key] if key in KEPT else KEPT.setdefault(key, real(node)), 12)

    monkeypatch.setattr(rsmoe.data.corpus, "instantiate", few)
    monkeypatch.setenv("RSMOE_CACHE", str(folder / "cache"))
    out = folder / "run"
    out.mkdir()
    train(config, out)
    names = [f"{i + 1}-{name}.ckpt" for i, (name, stage) in enumerate(config["stage"].items()) if stage["steps"]]
    assert set(names) <= {p.name for p in (out / "checkpoints").iterdir()}
    for picture in ("router.png", "samples.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG") and (out / picture).stat().st_size > 5000
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert lines and all({"id", "task", "text", "instruction", "references", "data"} <= set(line) for line in lines)
    metrics = json.loads((out / "metrics.json").read_text())
    for row in metrics["results"]:
        assert {"metric", "value", "protocol", "split", "n", "parse_failures"} <= set(row)
    assert metrics["baselines"] and metrics["run"]["name"] == config["name"]
    return metrics["results"]


class Words(TextCodec):
    """Stands in for a tokenizer that has no file here: its size is all that the model's shapes need."""

    bos_id, eos_id, pad_id = 1, 2, 0

    def __init__(self, size: int) -> None:
        self.vocab_size = size

    def encode(self, text: str) -> list[int]:
        return [5] * len(text.split())

    def token_id(self, token: str) -> int:
        return self.vocab_size - 1
