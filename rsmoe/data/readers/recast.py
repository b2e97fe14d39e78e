"""The samples of a data set, asked something else: captions as retrieval requests, scene classes as texts to match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch.utils.data import Dataset

from rsmoe.data.readers.annotations import is_directional
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError


class Recast(Dataset[Sample]):
    """Another data set with its task, its request or its references put in other words.

    Ids, pictures, ``name``, ``split``, ``protocol`` and the counts stay those of the data set.

    Args:
        data: the data set.
        task: of every sample; None keeps each sample's own. To "retrieval" a caption is the text that its picture is
            matched with.
        prompt: the request, in which ``{instruction}`` stands for the sample's own; of a list each sample has one, in
            turns. None keeps it.
        response: what becomes of every reference, in which ``{response}`` stands for it: "a satellite image of
            {response}" makes texts of classes; None keeps them.

    Raises:
        UserError: an unknown task, no prompt in the list, a response without ``{response}``.
    """

    def __init__(
        self,
        data: Dataset[Sample],
        *,
        task: str | None = None,
        prompt: str | Sequence[str] | None = None,
        response: str | None = None,
    ) -> None:
        if task is not None:
            find_task(task)
        if response is not None and "{response}" not in response:
            raise UserError(f"response={response!r} would be the same for every sample; put {{response}} into it")
        if prompt is not None and not prompt:
            raise UserError(f"prompt={prompt!r}: expected a request, or a list of them")
        self._prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt or ())
        self._data, self._task, self._response = data, task, response
        self.name: str = getattr(data, "name", type(data).__name__)
        self.split: str = getattr(data, "split", "")
        self.protocol: str = getattr(data, "protocol", "")
        self.counts: Mapping[str, int] = getattr(data, "counts", {})
        self.official: Mapping[str, Mapping[str, int]] = getattr(data, "official", {})
        self.unused: Mapping[str, list[str]] = getattr(data, "unused", {})

    def __len__(self) -> int:
        return len(self._data)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        sample = self._data[index]
        instruction, responses = sample.instruction, sample.responses
        if self._prompts:
            instruction = self._prompts[index % len(self._prompts)].replace("{instruction}", instruction)
        if self._response is not None:
            responses = tuple(self._response.replace("{response}", text) for text in responses)
        return replace(
            sample,
            task=self._task or sample.task,
            instruction=instruction,
            responses=responses,
            directional=sample.directional or is_directional(instruction, *responses),
        )
