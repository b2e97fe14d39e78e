"""Which task a turn of a conversation is: as declared, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rsmoe.data.files.values import present, text_of
from rsmoe.data.tasks import find_task, task_names
from rsmoe.errors import UserError, require_known

TaskName = str | Sequence[str]
"""A task; or two of them, for rows of one image and for rows of several."""

_TAG = re.compile(r"\[[a-z][a-z_ ]*\]", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class DeclaredTasks:
    """Task of a conversation turn: the tag that the question begins with, else the row's task, else that of its file.

    Raises:
        UserError: for a task that does not exist or needs more than words.
    """

    tags: Mapping[str, TaskName] = field(default_factory=dict)
    """Tag in lower case -> task, "[refer]" -> "ground"."""
    key: str | None = None
    """Key of a row that holds its task."""
    values: Mapping[str, TaskName] = field(default_factory=dict)
    """Value of that key -> task."""

    def __post_init__(self) -> None:
        for task in (*self.tags.values(), *self.values.values()):
            check_task(task)

    def of(
        self, question: str, row: Mapping[str, Any], *, images: int, file_task: TaskName | None, where: str
    ) -> tuple[str, str]:
        """(task, kind) of one turn; the kind is the tag without brackets, or the row's own task.

        Args:
            file_task: the task of rows of this file that nothing else tells.

        Raises:
            UserError: when nothing declared applies, with what to declare.
        """
        tag = _TAG.match(question)
        own = text_of(present(row).get(self.key, ""), f"{where}: {self.key!r}", number=True) if self.key else ""
        if tag and tag[0].lower() in self.tags:
            task, kind = self.tags[tag[0].lower()], tag[0].strip("[]").lower()
        elif own in self.values:
            task, kind = self.values[own], own
        elif file_task is not None:
            task, kind = file_task, own
        else:
            known = f"the tag {tag[0]}" if tag else f"{self.key}={own!r}" if own else "neither a tag nor a task"
            raise UserError(
                f"{where}: no task is declared for a row with {known}. Declare one in the yaml: under tags "
                f"({tag[0].lower() if tag else '[refer]'}: ground), under tasks ({own or 'name'}: vqa), or as the "
                "task of the file"
            )
        return (task if isinstance(task, str) else task[min(images, 2) - 1]), kind


def check_task(task: TaskName) -> None:
    """Refuses a task that does not exist or needs more than words, and lists that are no pair."""
    names = [task] if isinstance(task, str) else list(task)
    spoken = [known for known in task_names() if find_task(known).in_words]
    require_known("task of conversations", *names, known=spoken)
    if not isinstance(task, str) and len(names) != 2:
        raise UserError(f"expected a task, or two (for rows of one image, of several), found {names}")
