"""A trained model that is asked in one line; what `rsmoe.load` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import rsmoe
from rsmoe.errors import require_known
from rsmoe.evaluation.embedding import EMBED, embed_texts, retrieval_expert
from rsmoe.evaluation.request import Request
from rsmoe.evaluation.responder import Responder
from rsmoe.weights.saved_model import push_model, save_model

_DTYPES = ("float32", "float16", "bfloat16", "int8")


class Assistant(Responder):
    """Answers requests about pictures::

        model = rsmoe.load("runs/unified_moe/2026-11-21_12-00-00")
        model.ask("port.tif", "How many ships are there?").text
        model.ask(["a.png", "b.png", "c.png"], "Describe this image.")     # one batch, three replies
        model.ask("port.tif", "What is in this region?", region=[40, 60, 120, 110])
        model.ask(("1985.tif", "2020.tif"), "What has changed?").change_map

    A picture is a path, an http(s) address, a (H, W, C) uint8 array or a PIL image; a tuple of them is the dates of one
    request, a list a batch of requests, which go through the model in one pass.
    """

    @property
    def cover_classes(self) -> tuple[str, ...]:
        """Names of the values of `Reply.land_cover`; () in a model without such a map."""
        maps = self.run.model.maps
        return tuple(maps["land_cover"].names) if "land_cover" in maps else ()

    @property
    def embeds(self) -> bool:
        """Whether it has a retrieval expert, for `embed` and `embed_texts`."""
        return retrieval_expert(self.run.model) is not None

    def ask(self, pictures: Any, instruction: str | None = None, *, region: Any = None, **options: Any) -> Any:
        """The `Reply` to one request, or the list of those to a list of pictures.

        Args:
            instruction: None asks for a description of one picture, or of the region, and for the changes of two.
            region: what it is about, of each picture: ``[x1, y1, x2, y2]`` or corners ``[[x, y], ...]`` in pixels of
                the first date, or a polygon of GeoJSON; for models that were trained with regions.
            options: of `answer`.
        """
        replies = self.answer([replace(r, region=region) for r in _requests(pictures, instruction)], **options)
        return replies if isinstance(pictures, list) else replies[0]

    def mask(self, pictures: Any, instruction: str, **options: Any) -> Any:
        """The (H, W) bool mask of what the instruction refers to, or a list of them; None where the answer has none."""
        return _each(self.ask(pictures, instruction, **options), "mask")

    def boxes(self, pictures: Any, instruction: str, **options: Any) -> Any:
        """(n, 4) or (n, 5) boxes in pixels of the picture (see `Reply.boxes`), or a list; None without any."""
        return _each(self.ask(pictures, instruction, **options), "boxes")

    def embed(self, pictures: Any, instruction: str = EMBED, **options: Any) -> Any:
        """(dim,) embedding of length 1 of one picture, or (n, dim) of a list, beside those of `embed_texts`."""
        vectors = [found.vector for found in self.embed_requests(_requests(pictures, instruction), **options)]
        return np.stack(vectors) if isinstance(pictures, list) else vectors[0]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) embeddings of length 1; their dot product with those of pictures is the cosine.

        Raises:
            UserError: no retrieval expert, no list of texts, or a text without a word.
        """
        return np.stack([found.vector for found in embed_texts(self.run, texts)])

    @torch.no_grad()
    def routing(self, pictures: Any, instruction: str | None = None, *, raster: Mapping[str, Any] | None = None) -> Any:
        """Expert -> weight of the router, or a list of these; nothing is generated."""
        asked = _requests(pictures, instruction)
        batch = self._batch(asked, self._open(asked, raster or {}))
        found = [self._weights(row) for row in self.run.model.perceive(batch).routing.weights.tolist()]
        return found if isinstance(pictures, list) else found[0]

    @torch.no_grad()
    def ask_each_expert(
        self, picture: Any, instruction: str | None = None, *, beams: int = 1, max_new: int = 80
    ) -> dict[str, str]:
        """Expert -> what it answers alone, whatever the router says: the picture is encoded once."""
        model, codec = self.run.model, self.run.codec
        asked = _requests(picture, instruction)
        batch = self._batch(asked, self._open(asked, {}))
        perception = model.perceive(batch)
        assert codec.eos_id is not None
        answers = {}
        for name in model.names:
            alone = self._forced(perception, [replace(asked[0], expert=name)])
            (ids,) = model.generate(batch, alone, end_id=codec.eos_id, beams=beams, max_new=max_new)
            answers[name] = codec.decode(ids)
        return answers

    def save_pretrained(
        self, folder: str | Path, *, dtype: Literal["float32", "float16", "bfloat16", "int8"] | None = None
    ) -> Path:
        """Writes config.json, model.safetensors and a model card; `rsmoe.load` of the folder asks the same model.

        Pretrained weights that no stage trained are named, not copied.

        Args:
            dtype: of the file. None: as they are; float16 is half of float32, rounded to 11 bits; int8 a quarter, see
                `rsmoe.weights.int8`.

        Raises:
            UserError: the folder cannot be written, a weight is too large for ``dtype``, or that is another word.
        """
        if dtype is not None:
            require_known("dtype", dtype, known=_DTYPES)
        kind = None if dtype is None else getattr(torch, dtype)
        return save_model(Path(folder), self.run.model, self.run.checkpoint, version=rsmoe.__version__, dtype=kind)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Uploads what `save_pretrained` writes to the Hugging Face hub; the address of the commit.

        Raises:
            UserError: the hub refuses it, or cannot be reached.
        """
        return push_model(
            repo_id, self.run.model, self.run.checkpoint, version=rsmoe.__version__, private=private, token=token
        )


def _requests(pictures: Any, instruction: str | None) -> list[Request]:
    """One for each picture, or tuple of dates, of a list; else one alone."""
    named = {str(i): own for i, own in enumerate(pictures)} if isinstance(pictures, list) else {"request": pictures}
    return [
        Request(id=name, pictures=own if isinstance(own, tuple) else (own,), instruction=instruction)
        for name, own in named.items()
    ]


def _each(replies: Any, field: str) -> Any:
    return [getattr(r, field) for r in replies] if isinstance(replies, list) else getattr(replies, field)
