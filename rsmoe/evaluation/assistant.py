"""A trained model that is asked in one line; what `rsmoe.load` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console

import rsmoe
from rsmoe.data.batch import Batch
from rsmoe.data.boxes import parse
from rsmoe.data.change.instructions import CAPTION
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError, unknown_name
from rsmoe.evaluation.answer import answer_batch, prompt_words
from rsmoe.evaluation.confidence import confidences
from rsmoe.evaluation.embedding import EMBED, Embedding, embed_batch, embed_texts, retrieval_expert
from rsmoe.evaluation.map_tiles import TiledMap, map_tiles
from rsmoe.evaluation.open_run import OpenRun
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.request import Request, open_pictures
from rsmoe.generation.decoding import Decoding, OnToken
from rsmoe.generation.stop_words import StopWords
from rsmoe.geo.dates import Dates
from rsmoe.metrics.prediction import Prediction
from rsmoe.perception import Perception
from rsmoe.router.routing import Routing
from rsmoe.weights.saved_model import push_model, save_model

DESCRIBE = "Describe this image in detail."
"""What one picture is asked, if nothing else is."""


class Assistant:
    """Answers requests about pictures::

        model = rsmoe.load("runs/unified_moe/2026-11-21_12-00-00")
        model.ask("port.tif", "How many ships are there?").text
        model.ask(["a.png", "b.png", "c.png"], "Describe this image.")     # one batch, three replies
        model.ask(("1985.tif", "2020.tif"), "What has changed?").change_map

    A picture is a path, an http(s) address, a (H, W, C) uint8 array or a PIL image; a tuple of them is the dates of one
    request, a list a batch of requests, which go through the model in one pass.

    Args:
        run: the model with its tokenizer and its way of seeing pictures.
    """

    def __init__(self, *, run: OpenRun) -> None:
        self.run = run
        self.dates = {find_task(task).dates for expert in run.model.experts for task in expert.tasks}

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts, in the order of the router."""
        return self.run.model.names

    @property
    def cover_classes(self) -> tuple[str, ...]:
        """Names of the values of `Reply.land_cover`; () in a model without such a map."""
        maps = self.run.model.maps
        return tuple(maps["land_cover"].names) if "land_cover" in maps else ()

    @property
    def embeds(self) -> bool:
        """Whether it has a retrieval expert, for `embed` and `embed_texts`."""
        return retrieval_expert(self.run.model) is not None

    def ask(self, pictures: Any, instruction: str | None = None, **options: Any) -> Any:
        """The `Reply` to one request, or the list of those to a list of pictures.

        Args:
            pictures: one picture, a tuple of dates, or a list of either.
            instruction: None asks for a description of one picture, and for the changes of two.
            options: of `answer`.

        Raises:
            UserError: see `answer`.
        """
        if not isinstance(pictures, list):
            return self.answer([_request("request", pictures, instruction)], **options)[0]
        return self.answer([_request(str(i), own, instruction) for i, own in enumerate(pictures)], **options)

    def mask(self, pictures: Any, instruction: str, **options: Any) -> Any:
        """The (H, W) bool mask of what the instruction refers to, or a list of them; None where the answer has none."""
        return _each(self.ask(pictures, instruction, **options), "mask")

    def boxes(self, pictures: Any, instruction: str, **options: Any) -> Any:
        """(n, 4) or (n, 5) boxes in pixels of the picture (see `Reply.boxes`), or a list; None without any."""
        return _each(self.ask(pictures, instruction, **options), "boxes")

    def embed(self, pictures: Any, instruction: str = EMBED, **options: Any) -> Any:
        """(dim,) embedding of length 1 of one picture, or (n, dim) of a list, beside those of `embed_texts`.

        Args:
            pictures: as of `ask`.
            options: of `embed_requests`.

        Raises:
            UserError: see `embed_requests`.
        """
        if not isinstance(pictures, list):
            return self.embed_requests([_request("request", pictures, instruction)], **options)[0].vector
        asked = [_request(str(i), own, instruction) for i, own in enumerate(pictures)]
        return np.stack([found.vector for found in self.embed_requests(asked, **options)])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) embeddings of length 1; their dot product with those of pictures is the cosine.

        Raises:
            UserError: no retrieval expert, or a text without a word.
        """
        return np.stack([found.vector for found in embed_texts(self.run, texts)])

    @torch.no_grad()
    def embed_requests(
        self,
        requests: Sequence[Request],
        *,
        raster: Mapping[str, Any] | None = None,
        opened: Sequence[Dates] | None = None,
    ) -> list[Embedding]:
        """Embeddings of the pictures of B requests, which are one batch, by the experts that answer them.

        Args:
            raster, opened: as of `answer`.

        Raises:
            UserError: no retrieval expert; see `open`.
        """
        opened = self._open(requests, raster or {}) if opened is None else opened
        batch = self._batch(requests, [dates.overview() for dates in opened])
        return embed_batch(self.run.model, batch, self._forced(self.run.model.perceive(batch), requests))

    @torch.no_grad()
    def routing(self, pictures: Any, instruction: str | None = None, *, raster: Mapping[str, Any] | None = None) -> Any:
        """Expert -> weight of the router, or a list of these; nothing is generated."""
        several = isinstance(pictures, list)
        asked = [_request(str(i), own, instruction) for i, own in enumerate(pictures if several else [pictures])]
        batch = self._batch(asked, [d.overview() for d in self._open(asked, raster or {})])
        found = [self._weights(row) for row in self.run.model.perceive(batch).routing.weights.tolist()]
        return found if several else found[0]

    @torch.no_grad()
    def ask_each_expert(
        self, picture: Any, instruction: str | None = None, *, beams: int = 1, max_new: int = 80
    ) -> dict[str, str]:
        """Expert -> what it answers alone, whatever the router says: the picture is encoded once.

        Args:
            picture: one picture, or a tuple of dates.
        """
        model, codec = self.run.model, self.run.codec
        asked = [_request("request", picture, instruction)]
        batch = self._batch(asked, [dates.overview() for dates in self._open(asked, {})])
        perception = model.perceive(batch)
        assert codec.eos_id is not None
        answers = {}
        for name in model.names:
            alone = self._forced(perception, [replace(asked[0], expert=name)])
            (ids,) = model.generate(batch, alone, end_id=codec.eos_id, beams=beams, max_new=max_new)
            answers[name] = codec.decode(ids)
        return answers

    @torch.no_grad()
    def answer(
        self,
        requests: Sequence[Request],
        *,
        beams: int | None = None,
        max_new: int = 80,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        raster: Mapping[str, Any] | None = None,
        boxes: str | None = None,
        confidence: bool = False,
        prompts: bool = False,
        tile: int | None = -1,
        opened: Sequence[Dates] | None = None,
        on_token: OnToken | None = None,
        console: Console | None = None,
    ) -> list[Reply]:
        """Replies to B requests, which are one batch.

        Args:
            beams: of the search; 1 is greedy. None: 3, or 1 with a temperature above 0.
            max_new: most tokens of an answer.
            temperature: 0 to 2. Above 0 tokens are drawn from softmax(log p / temperature), not sought.
            top_p: 0 to 1, the share of the probability that is drawn from, the most probable tokens first.
            seed: of every request's own random numbers, so that its answer does not depend on the others; None: other
                numbers every time.
            stop: texts before the first of which an answer ends.
            raster: options of `rsmoe.geo.RasterSource`, for rasters.
            boxes: how the answers write boxes, a name of `rsmoe.data.boxes.CONVENTIONS`; None: as in training.
            confidence: also how sure the model is.
            prompts: also the prompts of the router for the first request, in words.
            tile: side in pixels of the tiles of maps of land cover and of changes; None: that of the model's pictures
                (every pixel is seen as it is), 0: the whole picture resized, -1: no such map.
            opened: the pictures of every request, where `open` has read them already.
            on_token: see `rsmoe.generation.decoding.OnToken`.
            console: where the progress of these maps is shown.

        Raises:
            UserError: see `open` and `rsmoe.generation.decoding.Decoding`; an expert that this model does not have;
                several beams with a temperature.
        """
        run = self.run
        model, codec, size = run.model, run.codec, run.config["image_size"]
        words = (stop,) if isinstance(stop, str) else tuple(stop)
        common = Decoding(
            max_new=max_new, temperature=temperature, top_p=top_p, seed=seed,
            stop=StopWords(words, codec=codec) if words else None,
        )  # fmt: skip
        each = [request.decoding or common for request in requests]
        if beams is None:
            beams = 1 if any(one.temperature > 0 for one in each) else 3
        opened = self._open(requests, raster or {}) if opened is None else opened
        overviews = {id(dates): dates.overview() for dates in opened}
        shown = [overviews[id(dates)] for dates in opened]  # requests about the same pictures share a view
        batch = self._batch(requests, shown)
        with torch.no_grad():
            perception = self._forced(model.perceive(batch), requests)
        longest = max((one.max_new for one in each), default=max_new)
        found = answer_batch(
            model, codec, batch, beams=beams, max_new=longest, perception=perception, each=each, on_token=on_token
        )
        read = (batch.prompt_mask.sum(1) + perception.prefix.mask.sum(1)).tolist()
        sure: Sequence[float | None] = [None] * len(found)
        if confidence:
            sure = confidences(model, codec, batch, perception, [prediction.text for prediction in found])
        convention = boxes or run.box_convention
        replies = []
        for place, (request, dates, prediction) in enumerate(zip(requests, opened, found, strict=True)):
            tiled: dict[str, TiledMap] = {}
            for name, part in model.maps.items() if tile != -1 else ():
                if part.dates == len(request.pictures):
                    side = size if tile is None else tile
                    tiled[name] = map_tiles(model, run.collate, dates, name=name, tile_px=side, console=console)
                    dates = replace(dates, valid=tiled[name].valid)  # to read it again would warp every pixel again
            own = shown[place]
            height, width = dates.valid.shape
            replies.append(
                Reply(
                    id=request.id,
                    text=prediction.text,
                    instruction=batch.samples[place].instruction,
                    prompt_tokens=read[place],
                    tokens=prediction.tokens,
                    ended=prediction.ended,
                    routing=self._weights(prediction.weights),
                    dates=dates,
                    shown=own,
                    image_size=size,
                    notes=_notes(dates, own, prediction, tiled),
                    confidence=sure[place],
                    mask=None if prediction.mask is None else prediction.mask & own.valid,
                    boxes=_boxes(prediction.text, convention, (width, height)),
                    change_map=prediction.change_map,
                    change=tiled.get("change"),
                    cover=tiled.get("land_cover"),
                    land_cover=prediction.outputs.get("land_cover"),
                    prompts=prompt_words(model, codec, batch, perception, place) if prompts else None,
                )
            )
        return replies

    def save_pretrained(
        self, folder: str | Path, *, dtype: Literal["float32", "float16", "bfloat16"] | None = None
    ) -> Path:
        """Writes config.json, model.safetensors and a model card; `rsmoe.load` of the folder asks the same model.

        Pretrained weights that no stage trained are named, not copied.

        Args:
            dtype: of the file: float16 is half of float32, and its weights are rounded to 11 bits. None: as they are.

        Raises:
            UserError: the folder cannot be written, or a weight is too large for ``dtype``.
        """
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

    def open(self, request: Request, *, raster: Mapping[str, Any] | None = None) -> Dates:
        """Reads the pictures of a request.

        Raises:
            UserError: see `rsmoe.evaluation.request.open_pictures`; one picture for a checkpoint that only knows pairs.
        """
        self.check(request)
        return open_pictures(request, bands=self.run.config["bands"], options=raster or {})

    def check(self, request: Request) -> None:
        """Refuses one picture for a checkpoint that only knows pairs, and an expert that the model does not have."""
        if request.expert is not None and request.expert not in self.experts:
            raise unknown_name("expert", request.expert, self.experts)
        if len(request.pictures) == 1 and "two" in self.dates and "one" not in self.dates:
            raise UserError(
                f"this checkpoint compares two dates, got one ({request.names[0]}): image=[before.tif,after.tif]"
            )

    def _open(self, requests: Sequence[Request], raster: Mapping[str, Any]) -> list[Dates]:
        for request in requests:
            self.check(request)
        return [self.open(request, raster=raster) for request in requests]

    def _forced(self, perception: Perception, requests: Sequence[Request]) -> Perception:
        """All weight on its expert, for each request that names one."""
        if all(request.expert is None for request in requests):
            return perception
        weights, logits = perception.routing.weights.clone(), perception.routing.logits.clone()
        for row, request in enumerate(requests):
            if request.expert is not None:
                weights[row] = 0.0
                weights[row, self.experts.index(request.expert)] = 1.0
                logits[row] = weights[row]
        return replace(perception, routing=Routing(logits=logits, weights=weights, chosen=weights > 0))

    def _batch(self, requests: Sequence[Request], shown: Sequence[Dates]) -> Batch:
        samples = [
            Sample(
                id=request.id,
                images=dates.images,
                instruction=request.instruction or (DESCRIBE if len(request.pictures) == 1 else CAPTION),
                history=request.history,
                responses=("",),
                task="caption",  # a label of training data: at inference nothing reads it
                source="request",
            )
            for request, dates in zip(requests, shown, strict=True)
        ]
        batch: Batch = self.run.collate([(sample, 0) for sample in samples])
        return batch.to(self.run.model.to_lm.weight.device)

    def _weights(self, row: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.run.model.names, row, strict=True))


def _request(name: str, pictures: Any, instruction: str | None) -> Request:
    return Request(id=name, pictures=pictures if isinstance(pictures, tuple) else (pictures,), instruction=instruction)


def _each(replies: Any, field: str) -> Any:
    return [getattr(r, field) for r in replies] if isinstance(replies, list) else getattr(replies, field)


def _boxes(text: str, convention: str | None, size_px: tuple[int, int]) -> np.ndarray | None:
    found = parse(text, convention=convention, size_px=size_px).boxes if convention else None
    return found if found is not None and len(found) else None


def _notes(dates: Dates, shown: Dates, prediction: Prediction, tiled: Mapping[str, TiledMap]) -> tuple[str, ...]:
    if shown.valid.shape == dates.valid.shape:
        return dates.notes
    (height, width), (deep, wide) = dates.valid.shape, shown.valid.shape
    thinned = ["words", *(["mask"] if prediction.mask is not None else [])]
    thinned += ["land cover"] if "land_cover" in prediction.outputs and "land_cover" not in tiled else []
    return (*dates.notes, f"{' and '.join(thinned)}: {width} x {height} px are read thinned to {wide} x {deep}")
