"""Answers of a trained model to batches of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from rsmoe.data.batch import Batch
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task
from rsmoe.errors import UserError, require_known
from rsmoe.evaluation.answer import answer_batch, confidences, prompt_words
from rsmoe.evaluation.asked_options import AskedOptions
from rsmoe.evaluation.asked_region import asked_region
from rsmoe.evaluation.asked_tiles import AskedTiles
from rsmoe.evaluation.embedding import Embedding, embed_batch
from rsmoe.evaluation.known import Knowledge, Known, informed, known_of, with_sources
from rsmoe.evaluation.located import locates, places_of
from rsmoe.evaluation.map_tiles import TiledMap, map_tiles
from rsmoe.evaluation.open_run import OpenRun
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.reply_notes import reply_notes
from rsmoe.evaluation.request import Request, open_pictures
from rsmoe.evaluation.tiled_answer import TiledAnswer
from rsmoe.generation.decoding import Decoding, OnToken
from rsmoe.generation.stop_words import StopWords
from rsmoe.geo.dates import Dates
from rsmoe.perception import Perception
from rsmoe.router.routing import Routing

_UNREAD = "the request was read alone: this model was trained without earlier turns, or notes, before a request"


class Responder:
    """Answers batches of requests; `rsmoe.evaluation.assistant.Assistant` adds shortcuts for a single one."""

    def __init__(self, *, run: OpenRun) -> None:
        self.run = run
        self.dates = {find_task(task).dates for expert in run.model.experts for task in expert.tasks}

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts, in the order of the router."""
        return self.run.model.names

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
        knowledge: Knowledge | None = None,
        on_token: OnToken | None = None,
        console: Console | None = None,
    ) -> list[Reply]:
        """Replies to B requests, which are one batch.

        Args:
            beams: of beam search; 1 is greedy. None: 3, or 1 with a temperature above 0.
            temperature: 0 to 2. Above 0, tokens are sampled from softmax(log p / temperature).
            top_p: 0 to 1, nucleus sampling: only the most probable tokens with this much probability in sum.
            seed: of the sampling. Each request has random numbers of its own, so that its answer does not depend on
                the others; None: other numbers every time.
            stop: texts; an answer ends before the first of them that it would hold.
            raster: options of `rsmoe.geo.RasterSource`, for rasters.
            boxes: how the answers write boxes, a name of `rsmoe.data.boxes.CONVENTIONS`; None: as in training.
            confidence: fill `Reply.confidence`.
            prompts: fill `Reply.prompts`.
            tile: side in pixels of the tiles of maps, and of the masks and boxes of one picture that is larger, see
                `rsmoe.evaluation.asked_tiles`. None: maps in tiles of the side of the model's pictures (every pixel is
                seen as it is), masks and boxes of the whole picture resized; 0: maps likewise; -1: no maps.
            opened: the pictures of every request, if `open` has read them already.
            knowledge: a store, whose notes on the (last) picture are put before every question; if it cannot be reached
                or has none, or the model cannot read them (`OpenRun.dialogues`), `Reply.notes` says so and the question
                is answered without.

        Raises:
            UserError: see `open`, `rsmoe.generation.decoding.Decoding` and `AskedOptions`; no request, or several beams
                with a temperature.
        """
        AskedOptions(beams=beams, tile=tile)
        if isinstance(knowledge, str | Path):
            raise UserError(f"knowledge={knowledge}: expected an opened store, Knowledge.open({str(knowledge)!r})")
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
        samples = self._samples(requests, opened, shown, convention=boxes)
        known = [Known()] * len(samples)
        if not run.dialogues:  # what it was never trained to read ends the answer, or makes another of it
            known = [Known(said=_UNREAD if knowledge is not None or sample.history else "") for sample in samples]
            samples = [replace(sample, history=()) for sample in samples]
        elif knowledge is not None:
            pairs = [informed(s, _known(knowledge, s), run.collate) for s in samples]
            samples, known = [sample for sample, _ in pairs], [own for _, own in pairs]
        batch = self._collated(samples)
        perception = self._forced(model.perceive(batch), requests)
        found = answer_batch(model, codec, batch, beams=beams, perception=perception, each=each, on_token=on_token)
        read = (batch.prompt_mask.sum(1) + perception.prefix.mask.sum(1)).tolist()
        sure: Sequence[float | None] = [None] * len(found)
        if confidence:
            sure = confidences(model, codec, batch, perception, [prediction.text for prediction in found])
        found = [with_sources(prediction, own) for prediction, own in zip(found, known, strict=True)]
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
            boxes_in: dict[str, Any] = {"convention": convention, "size_px": (width, height)}
            places = places_of(prediction, own, sure=sure[place], **boxes_in)
            large = tile is not None and 0 < tile < max(height, width) and len(request.pictures) == 1
            large &= request.region is None  # a tile does not show it
            answered: TiledAnswer | None = None
            if large and locates(model.experts, prediction, places["boxes"]):
                answered = AskedTiles(
                    run=run, asked=batch.samples[place], decoding=each[place], beams=beams, tile_px=tile or 0,
                    routing=perception.routing.repeated(place, 1), **boxes_in,
                ).draw(dates, console=console)  # fmt: skip
                dates, places = replace(dates, valid=answered.valid), answered.places(own.valid.shape)
            replies.append(
                Reply(
                    id=request.id,
                    text=prediction.text,
                    instruction=batch.samples[place].instruction,
                    about=request.about,
                    prompt_tokens=read[place],
                    tokens=prediction.tokens,
                    ended=prediction.ended,
                    routing=self._weights(prediction.weights),
                    dates=dates,
                    shown=own,
                    image_size=size,
                    notes=(
                        *reply_notes(dates, own, prediction, tiled, answered, places["mask"]),
                        *filter(None, [known[place].said]),
                    ),
                    expert=prediction.expert,
                    answered=answered,
                    sources=prediction.sources,
                    confidence=sure[place],
                    **places,
                    change_map=prediction.change_map,
                    change=tiled.get("change"),
                    cover=tiled.get("land_cover"),
                    land_cover=prediction.outputs.get("land_cover"),
                    prompts=prompt_words(model, codec, batch, perception, place) if prompts else None,
                )
            )
        return replies

    @torch.no_grad()
    def embed_requests(
        self,
        requests: Sequence[Request],
        *,
        raster: Mapping[str, Any] | None = None,
        opened: Sequence[Dates] | None = None,
    ) -> list[Embedding]:
        """Embeddings of the pictures of B requests, which are one batch, by the head of the retrieval expert.

        Raises:
            UserError: no retrieval expert; see `open`.
        """
        opened = self._open(requests, raster or {}) if opened is None else opened
        batch = self._batch(requests, opened)
        return embed_batch(self.run.model, batch, self._forced(self.run.model.perceive(batch), requests))

    def open(self, request: Request, *, raster: Mapping[str, Any] | None = None) -> Dates:
        """Reads the pictures of a request.

        Raises:
            UserError: see `rsmoe.evaluation.request.open_pictures`; one picture for a checkpoint that only knows pairs.
        """
        self.check(request)
        return open_pictures(request, bands=self.run.config["bands"], options=raster or {})

    def check(self, request: Request) -> None:
        """Refuses no picture, one picture for a checkpoint that only knows pairs, an expert that the model does not
        have, a region where it was trained without, and what was refused before."""
        if request.refused is not None:
            raise UserError(request.refused)
        if not request.pictures:
            raise UserError("a request is about a picture, or about several dates of it: got none")
        if request.expert is not None:
            require_known("expert", request.expert, known=self.experts)
        if request.region is not None and self.run.model.regions is None:
            raise UserError(
                "region=: this model was trained without regions. Leave it out, or train one that has them: "
                "python -m rsmoe.train experiment=skyeye_moe"
            )
        if len(request.pictures) == 1 and "two" in self.dates and "one" not in self.dates:
            raise UserError(
                f"this checkpoint compares two dates, got one ({request.names[0]}): image=[before.tif,after.tif]"
            )

    def _open(self, requests: Sequence[Request], raster: Mapping[str, Any]) -> list[Dates]:
        if not requests:
            raise UserError("a batch holds a request or more: got an empty list")
        for request in requests:
            self.check(request)
        return [self.open(request, raster=raster) for request in requests]

    def _forced(self, perception: Perception, requests: Sequence[Request]) -> Perception:
        """Routing with all weight on the expert that a request names; other requests keep theirs."""
        if all(request.expert is None for request in requests):
            return perception
        weights, logits = perception.routing.weights.clone(), perception.routing.logits.clone()
        for row, request in enumerate(requests):
            if request.expert is not None:
                weights[row] = 0.0
                weights[row, self.experts.index(request.expert)] = 1.0
                logits[row] = weights[row]
        return replace(perception, routing=Routing(logits=logits, weights=weights, chosen=weights > 0))

    def _batch(self, requests: Sequence[Request], opened: Sequence[Dates]) -> Batch:
        return self._collated(self._samples(requests, opened, [dates.overview() for dates in opened]))

    def _samples(
        self,
        requests: Sequence[Request],
        opened: Sequence[Dates],
        shown: Sequence[Dates],
        *,
        convention: str | None = None,
    ) -> list[Sample]:
        """The requests on the pictures as they are shown; regions are of those that were opened."""
        convention = convention or self.run.box_convention
        return [
            replace(
                Sample(
                    id=request.id,
                    images=dates.images,
                    instruction=request.asked,
                    history=request.history,
                    responses=("",),
                    task="caption",  # a label of training data: at inference nothing reads it
                    source="request",
                    georeference=dates.georeference,
                ),
                **asked_region(request, whole, convention=convention),
            )
            for request, whole, dates in zip(requests, opened, shown, strict=True)
        ]

    def _collated(self, samples: Sequence[Sample]) -> Batch:
        batch: Batch = self.run.collate([(sample, 0) for sample in samples])
        return batch.to(self.run.model.to_lm.weight.device)

    def _weights(self, row: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.run.model.names, row, strict=True))


def _known(knowledge: Knowledge, sample: Sample) -> Known:
    """What is known of the last picture; if the store cannot be read, the question is answered without it."""
    try:
        return known_of(knowledge, sample)
    except UserError as error:
        return Known(said=f"answered without knowledge: {error}")
