"""Tasks: what a request asks for, as the yamls of ``conf/task`` say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from rsmoe.config_folders import config_folders
from rsmoe.errors import UserError, require_known


@dataclass(frozen=True, kw_only=True)
class Task:
    """One ``task/<name>.yaml``, in ``conf/`` or in a config folder of the user's own."""

    name: str
    protocol: str
    """Id of the protocol that scores it where none is chosen."""
    answer: str = "text"
    """What is scored: "text", "boxes" (in text), "mask", "embedding", or a name of `Prediction.outputs`."""
    dates: Literal["one", "two", "any"] = "one"
    """How many dates a request shows."""
    croppable: bool = False
    """Whether the answer stays true for most of the image: training then crops it."""
    closed: bool = False
    """Whether an answer in text is right or wrong, as to a question; a description is neither."""
    typed: bool = False
    """Whether `Sample.kind` follows from the request (type of a question, class of a mask): baselines then use it."""
    baseline: Mapping[str, Any] | None = None
    """Config of a `rsmoe.evaluation.constant_answers.ConstantAnswer`; None: no training sample helps."""

    @property
    def in_words(self) -> bool:
        """Whether the answer is text alone, boxes included."""
        return self.answer in ("text", "boxes")


def task_names() -> tuple[str, ...]:
    """Every task, sorted. The position of a name is the task index in `Batch.task`."""
    return tuple(_tasks(config_folders()))


def find_task(name: str) -> Task:
    """The task of a name; raises `UserError` for an unknown one."""
    known = _tasks(config_folders())
    require_known("task", name, known=known)
    return known[name]


@lru_cache(maxsize=8)
def _tasks(folders: tuple[Path, ...]) -> dict[str, Task]:
    paths = {path.stem: path for folder in folders[::-1] for path in (folder / "task").glob("*.yaml")}
    return {name: _read(name, paths[name]) for name in sorted(paths)}


def _read(name: str, path: Path) -> Task:
    known = [field.name for field in fields(Task) if field.name != "name"]
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("protocol"), str):
        raise UserError(f"{path}: a task needs its default protocol, such as protocol: vqa/exact@1")
    require_known(f"key of {path}", *map(str, content), known=known)
    if content.get("dates", "one") not in ("one", "two", "any"):
        raise UserError(f"{path}: expected dates as one, two or any, found {content['dates']!r}")
    return Task(name=name, **content)
