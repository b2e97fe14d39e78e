"""The samples of a data set, asked something else: captions as retrieval requests, masks as questions of yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from rsmoe.data.rasters.images import read_array
from rsmoe.data.readers.annotations import is_directional
from rsmoe.data.readers.prompt_ensembles import ENSEMBLES
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError


class Recast(Dataset[Sample]):
    """Another data set with its task, its request or its references put in other words.

    Ids, pictures, ``name``, ``split``, ``protocol`` and the counts stay those of the data set.

    Args:
        task: of every sample; None keeps each sample's own. To "retrieval" a caption is the text that its picture is
            matched with; to "vqa" a mask is the answer to whether its kind is there, "yes" or "no", kind "presence".
        prompt: the request, in which ``{instruction}`` stands for the sample's own and ``{kind}`` for its kind, such as
            the class that is asked for; of a list each sample has one, in turns. None keeps it.
        response: what becomes of every reference, in which ``{response}`` stands for it: "a satellite image of
            {response}" makes texts of classes. Several such texts, or the name of an ensemble of
            `rsmoe.data.readers.prompt_ensembles` ("rs5m"), make so many of each; None keeps them.
        synonyms: reference -> other words for it, each of which becomes a reference in its place, before ``response``;
            a reference that is not named keeps its own.

    Raises:
        UserError: an unknown task, no prompt in the list, a response without ``{response}``; when a sample is read, a
            ``{kind}`` where it has none.
    """

    def __init__(
        self,
        data: Dataset[Sample],
        *,
        task: str | None = None,
        prompt: str | Sequence[str] | None = None,
        response: str | Sequence[str] | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if task is not None:
            find_task(task)
        if prompt is not None and not prompt:
            raise UserError(f"prompt={prompt!r}: expected a request, or a list of them")
        given = [response] if isinstance(response, str) else list(response or ())
        self._texts = [text for one in given for text in ENSEMBLES.get(one, (one,))]
        for text in self._texts:
            if "{response}" not in text:
                raise UserError(
                    f"response={text!r} would be the same for every sample; put {{response}} into it, or name one of "
                    f"{', '.join(ENSEMBLES)}"
                )
        self._prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt or ())
        self._data, self._task, self._synonyms = data, task, dict(synonyms or {})
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
            prompt = self._prompts[index % len(self._prompts)]
            if "{kind}" in prompt and not sample.kind:
                raise UserError(
                    f"{self.name}: {sample.id} is of no kind, and prompt={prompt!r} names it; leave {{kind}} out"
                )
            instruction = prompt.replace("{instruction}", instruction).replace("{kind}", sample.kind.replace("_", " "))
        changed: dict[str, Any] = {"task": self._task or sample.task}
        if self._task == "vqa" and sample.mask is not None:
            responses = ("yes" if read_array(sample.mask).any() else "no",)
            changed |= dict(kind="presence", mask=None, masks=(), every=False, boxes_px=None, obb_px=None, labels=())
        responses = tuple(word for own in responses for word in self._synonyms.get(own, (own,)))
        if self._texts:
            responses = tuple(text.replace("{response}", own) for own in responses for text in self._texts)
        directional = sample.directional or is_directional(instruction, *responses)
        return replace(sample, instruction=instruction, responses=responses, directional=directional, **changed)
