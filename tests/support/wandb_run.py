"""An offline run of Weights & Biases, read back."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


def logged(raw: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log with W&B's header of 7 bytes: blocks of 32 KiB, fragments with checksum, size, kind."""
    place, parts = 7, b""
    while place + 7 <= len(raw):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack_from("<HB", raw, place + 4)
        parts += raw[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last fragment
            yield parts
            parts = b""


@dataclass
class Run:
    """An offline run of Weights & Biases."""

    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    facts: Any = None
    code: int | None = None
    files: dict[str, Path] = field(default_factory=dict)
    """Files of tables: name in the table -> where it waits for the upload."""

    def table(self, name: str) -> dict[str, Any]:
        """Columns and data of a logged table, whose pictures are among `files`."""
        loaded: dict[str, Any] = json.loads(self.files[f"{name}.table.json"].read_text())
        return loaded


def read_run(folder: Path) -> Run:
    """The only run under a folder, once W&B's process has written it."""
    (file,) = folder.rglob("*.wandb")
    deadline = time.monotonic() + 60  # it may lag on a busy machine
    while (run := read(file)).code is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return run


def read(path: Path) -> Run:
    from wandb.proto import wandb_internal_pb2

    run = Run()
    for data in logged(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.facts = record.run
        if kind in ("config", "run"):
            updates = record.run.config.update if kind == "run" else record.config.update
            run.config |= {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in updates}
        if kind == "history":
            items = record.history.item
            run.history.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
            run.summary |= run.history[-1]
        if kind == "summary":
            run.summary |= {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in record.summary.update}
        if kind == "artifact":
            run.files |= {each.path: Path(each.local_path) for each in record.artifact.manifest.contents}
        if kind == "exit":
            run.code = record.exit.exit_code
    return run


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
